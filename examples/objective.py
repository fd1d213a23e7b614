"""A finetuning objective: the object is named right before another photo's background too.

  python -m rival_jax.main --config=configs/finetune.py \
      --config.variants="('examples.objective',)" \
      --config.settings="('', 'swapped_weight=0 learning_rate=1e-3')"

Every setting is a row of the tables, so that is also how a term is taken out (`ABLATIONS` of
rival_jax/objectives/robustvit.py are the published ones, no name that is looked for elsewhere).
Values for all settings stand in a block of the config, named as the module with "_" for ".": in a
config file of yours `config.examples_objective = {"temperature": 2.0, "learning_rate": 1e-4}`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from rival_jax import ablation, losses
from rival_jax.types import Array, Batch, Model, Variables

# What is given beside image, mask and label: "other", here, is batch["other_image"] and
# batch["other_mask"]; "original" and "outputs" are told of in rival_jax/objectives/__init__.py.
NEEDS = ("other",)


def terms(
    model: Model,
    variables: Variables,
    batch: Batch,
    *,
    swapped_weight: Any = 1.0,
    temperature: Any = 1.0,
) -> dict[str, Array]:
    """Losses of every example, [b]: "classification", "swapped", "total" and "correct".

    Args:
      swapped_weight: of "swapped" in "total", the cross-entropy of the swapped photo.
      temperature: divides the logits in both.
    """
    image, mask, label, other = (
        jnp.asarray(batch[key]) for key in ("image", "mask", "label", "other_image")
    )
    swapped = ablation.composite(image, 1 - mask, other)
    both = jnp.stack([image, swapped], 1).reshape(-1, *image.shape[1:])  # each beside its own
    logits, _ = model.forward(variables, both, {})
    loss = losses.label_loss(logits, jnp.repeat(label, 2), temperature=temperature)
    classification, moved = loss[::2], loss[1::2]
    return {
        "classification": classification,
        "swapped": moved,
        "total": classification + swapped_weight * moved,  # what is trained
        "correct": (logits[::2].argmax(-1) == label).astype(logits.dtype),
    }
