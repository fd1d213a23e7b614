"""MaskTune: the label without the pixels that the network relied on (Asgari et al., 2022)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from rival_jax import losses, saliency, taps
from rival_jax.objectives._terms import arrays, correct, with_original
from rival_jax.types import Array, Batch, Model, Variables

NEEDS = ("original",)


def terms(
    model: Model,
    variables: Variables,
    batch: Batch,
    *,
    method: str = "gradcam",
    deviations: Any = 2.0,
    temperature: Any = 1.0,
) -> dict[str, Array]:
    """Per-example losses [b]: "total", the cross-entropy of masked photos, and "correct" on them.

    Masked are the pixels whose saliency for the label, by the network before the training, lies
    more than `deviations` standard deviations above the photo's mean; they become the network's
    mean colour. No masks of objects are used. The method's authors train for one epoch, at the last
    learning rate of the network's own training.

    Args:
      method: a module of `saliency`; the paper's is a variant of GradCAM.
      deviations: the threshold.
      temperature: divides the logits.

    Raises:
      ValueError: for variables without "original".
    """
    image, label = arrays(batch, "image", "label")
    network, before = with_original(variables)
    found = saliency.explain(method, model, before, image, taps.class_score(label))
    limit = found.mean((1, 2)) + deviations * found.std((1, 2))
    relied_on = (found > limit[:, None, None])[..., None]
    logits, _ = model.forward(network, jnp.where(relied_on, jnp.asarray(model.mean), image), {})
    total = losses.label_loss(logits, label, temperature=temperature)
    return {"total": total, "correct": correct(logits, label)}
