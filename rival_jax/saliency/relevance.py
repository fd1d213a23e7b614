"""GAE relevance: attention times its gradient, carried from block to block (Chefer et al. 2021)."""

from __future__ import annotations

from rival_jax.maps import relevance
from rival_jax.saliency._layers import attention, on_grid
from rival_jax.types import Array, Model, Score, Variables


def maps(
    model: Model,
    variables: Variables,
    images: Array,
    score: Score,
    *,
    first_block: int = 0,
    through_grads: bool = False,
) -> Array:
    """[b, h, w] >= 0, on the grid of patches.

    Args:
      first_block: blocks before it are left out.
      through_grads: see `rival_jax.relevance`; matters only to who differentiates the maps.
    """
    probabilities, gradients = attention(model, variables, images, score)
    row = relevance(
        probabilities[first_block:], gradients[first_block:], through_grads=through_grads
    )
    return on_grid(model, row)
