"""Cross-entropy on objects before other photos' backgrounds, so that none tells the class."""

from __future__ import annotations

from typing import Any

from rival_jax import losses
from rival_jax.objectives._terms import arrays, correct
from rival_jax.objectives.energy_swap import on_background
from rival_jax.types import Array, Batch, Model, Variables

NEEDS = ("other", "outputs")


def terms(
    model: Model, variables: Variables, batch: Batch, *, temperature: Any = 1.0
) -> dict[str, Array]:
    """Per-example losses [b]: "total", the cross-entropy with the label, and "correct".

    Every object is seen before a random other photo's background (`energy_swap.on_background`):
    groups of class and background are balanced. Among the classes trained on alone, so that the
    others are not pushed down. If only the last layer is trained, this is deep feature reweighting
    (Kirichenko et al. 2023) on groups made from masks.

    Args:
      temperature: divides the logits.

    Raises:
      ValueError: for a missing item of `NEEDS`.
    """
    image, mask, label, outputs = arrays(batch, "image", "mask", "label", "outputs")
    image = on_background(image, mask, *arrays(batch, "other_image", "other_mask"))
    logits, _ = model.forward(variables, image, {})
    total = losses.label_loss(logits, label, temperature=temperature, outputs=outputs)
    return {"total": total, "correct": correct(logits, label)}
