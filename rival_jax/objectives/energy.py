"""Energy: the share of the saliency map off the object shall be small (Rao et al. 2023)."""

from __future__ import annotations

from typing import Any

import jax

from rival_jax import losses, saliency, taps
from rival_jax.objectives._terms import arrays, correct, gradient_option
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
    """Losses of every example, [b]: "energy", "classification", "total" and "correct".

    "energy" is `losses.energy_loss` of the label's map; "classification" is the cross-entropy with
    the label.

    Args:
      method: what makes the map, a module of `saliency`; negative values count as 0. Attention
        maps do not show all that patches tell each other; the gradient to the pixels does.
      through_grads: differentiate the gradients inside the map too; not every method can hold
        them constant.
      border: of the mask, see `losses.regions`.
      relevance_weight, classification_weight: in "total".
      temperature: divides the logits in "classification".

    Raises:
      ValueError: an unknown name, or a method that cannot hold its gradients constant.
    """
    image, mask, label = arrays(batch, "image", "mask", "label")
    given = (method, model, variables, image, taps.class_score(label))
    options = gradient_option(method, through_grads)
    found, logits = saliency.explain_with_logits(*given, scaling="none", **options)
    energy = losses.energy_loss(jax.nn.relu(found), mask, border=border)
    classification = losses.label_loss(logits, label, temperature=temperature)
    return {
        "energy": energy,
        "classification": classification,
        "total": relevance_weight * energy + classification_weight * classification,
        "correct": correct(logits, label),
    }
