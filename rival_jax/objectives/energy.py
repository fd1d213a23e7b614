"""Energy: minimises the saliency map's share off the object (Rao et al. 2023)."""

from __future__ import annotations

from typing import Any

from rival_jax import losses
from rival_jax.objectives._terms import arrays, correct, energy_and_logits
from rival_jax.types import Array, Batch, Model, Variables


def terms(
    model: Model,
    variables: Variables,
    batch: Batch,
    *,
    method: str = "gradient_x_input",
    through_grads: bool = True,
    border: str = "complement",
    relevance_weight: Any = 4.0,
    classification_weight: Any = 0.2,
    temperature: Any = 1.0,
) -> dict[str, Array]:
    """Per-example losses [b]: "energy", "classification", "total" and "correct".

    "energy" is `losses.energy_loss` of the label's map; "classification" is the cross-entropy with
    the label.

    Args:
      method: what makes the map, a module of `saliency`; negative values count as 0. Attention maps
        do not show all information that patches exchange; the gradient to the pixels does.
      through_grads: differentiate the gradients inside the map too; not every method can hold
        them constant.
      border: of the mask, see `losses.regions`.
      relevance_weight, classification_weight: weights in "total".
      temperature: divides the logits in "classification".

    Raises:
      ValueError: an unknown name, or a method that cannot hold its gradients constant.
    """
    options: Any = {"method": method, "through_grads": through_grads, "border": border}
    energy, logits = energy_and_logits(model, variables, batch, **options)
    (label,) = arrays(batch, "label")
    classification = losses.label_loss(logits, label, temperature=temperature)
    return {
        "energy": energy,
        "classification": classification,
        "total": relevance_weight * energy + classification_weight * classification,
        "correct": correct(logits, label),
    }
