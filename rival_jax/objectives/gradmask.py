"""GradMask: makes the label's logit ignore the background's pixels (Simpson et al. 2019)."""

from __future__ import annotations

from typing import Any

from rival_jax import taps
from rival_jax.objectives._terms import arrays, input_gradient_terms
from rival_jax.types import Array, Batch, Model, Variables


def terms(
    model: Model,
    variables: Variables,
    batch: Batch,
    *,
    through_grads: bool = True,
    border: str = "complement",
    relevance_weight: Any = 0.8,
    classification_weight: Any = 0.2,
    temperature: Any = 1.0,
) -> dict[str, Array]:
    """Per-example losses [b]: "relevance", "classification", "total" and "correct".

    "relevance" is the mean, over pixels and colours, of the squared gradient of the label's logit
    with respect to the normalised image, on the background; "classification" is the cross-entropy
    with the label.

    Args:
      through_grads: differentiate the gradient again (double back-propagation). If not, as in
        RobustViT's release of this baseline, "relevance" is a constant, and training is plain
        cross-entropy.
      border: of the mask, see `losses.regions`; the release uses "released".
      relevance_weight, classification_weight: weights in "total".
      temperature: divides the logits in "classification".
    """
    (label,) = arrays(batch, "label")
    score = taps.class_score(label)
    options = {"through_grads": through_grads, "border": border, "temperature": temperature}
    found = input_gradient_terms(model, variables, batch, score, **options)
    relevance = found.pop("squares").mean((1, 2, 3))
    total = relevance_weight * relevance + classification_weight * found["classification"]
    return {"relevance": relevance, **found, "total": total}
