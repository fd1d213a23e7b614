"""Right for the Right Reasons: no class depends on the background's pixels (Ross et al. 2017)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rival_jax.objectives._terms import input_gradient_terms
from rival_jax.types import Array, Batch, Model, Taps, Variables

_SMALLEST = 1e-11  # added to probabilities, as released, so that their logarithm is finite


def log_probabilities(logits: Array, taps: Taps) -> Array:
    """The score that is explained: the logarithm of the probability, summed over all classes."""
    return jnp.log(jax.nn.softmax(logits) + _SMALLEST).sum(-1)


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

    "relevance" is the sum, over pixels and colours, of the squared gradient of `log_probabilities`
    with respect to the normalised image, on the background; "classification" is the cross-entropy
    with the label.

    Args:
      through_grads: differentiate the gradient again (double back-propagation). If not, as in
        RobustViT's release of this baseline, "relevance" is a constant, and training is plain
        cross-entropy.
      border: of the mask, see `losses.regions`; the release uses "released".
      relevance_weight, classification_weight: weights in "total". The release sums "relevance" over
        the batch but averages "classification"; with both averaged, its weight is 0.8 times the
        batch size.
      temperature: divides the logits in "classification".
    """
    options = {"through_grads": through_grads, "border": border, "temperature": temperature}
    found = input_gradient_terms(model, variables, batch, log_probabilities, **options)
    relevance = found.pop("squares").sum((1, 2, 3))
    total = relevance_weight * relevance + classification_weight * found["classification"]
    return {"relevance": relevance, **found, "total": total}
