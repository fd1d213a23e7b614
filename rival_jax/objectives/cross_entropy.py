"""The control: finetuning on the same images with their labels and nothing else."""

from __future__ import annotations

from typing import Any

from rival_jax import losses
from rival_jax.objectives._terms import arrays, correct
from rival_jax.types import Array, Batch, Model, Variables


def terms(
    model: Model, variables: Variables, batch: Batch, *, temperature: Any = 1.0
) -> dict[str, Array]:
    """ "total" [b], the cross-entropy of logits / temperature with the label, and "correct"."""
    image, label = arrays(batch, "image", "label")
    logits, _ = model.forward(variables, image, {})
    total = losses.label_loss(logits, label, temperature=temperature)
    return {"total": total, "correct": correct(logits, label)}
