"""GAE relevance: attention times its gradient, carried from block to block (Chefer et al. 2021)."""

from __future__ import annotations

from typing import Any

from rival_jax.maps import relevance
from rival_jax.saliency._layers import attention_and_logits, on_grid
from rival_jax.types import Array, Model, Score, Variables


def maps(model: Model, variables: Variables, images: Array, score: Score, **options: Any) -> Array:
    """[b, h, w] >= 0, on the grid of patches; options as for `maps_and_logits`."""
    return maps_and_logits(model, variables, images, score, **options)[0]


def maps_and_logits(
    model: Model,
    variables: Variables,
    images: Array,
    score: Score,
    *,
    first_block: int = 0,
    through_grads: bool = False,
) -> tuple[Array, Array]:
    """[b, h, w] >= 0, on the grid of patches, and the logits [b, c] of the same forward pass.

    Args:
      first_block: blocks before it are left out.
      through_grads: see `rival_jax.relevance`; matters only if the maps are differentiated.
    """
    probabilities, gradients, logits = attention_and_logits(model, variables, images, score)
    row = relevance(
        probabilities[first_block:], gradients[first_block:], through_grads=through_grads
    )
    return on_grid(model, row), logits
