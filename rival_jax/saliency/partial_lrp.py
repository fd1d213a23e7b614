"""Partial LRP: the LRP relevance of one block's attention (Voita et al. 2019)."""

from __future__ import annotations

import jax

from rival_jax.saliency._layers import on_grid
from rival_jax.saliency._propagate import propagate
from rival_jax.types import Array, Model, Score, Variables


def maps(
    model: Model,
    variables: Variables,
    images: Array,
    score: Score,
    *,
    block: int = -1,
    through_grads: bool = True,
) -> Array:
    """[b, h, w] >= 0, on the grid of patches: the class token's row, averaged over heads.

    `through_grads`: whether derivatives of the map flow through the gradient in it, too.
    """
    options = {"older": True, "through_grads": through_grads}
    found = propagate(model, variables, images, score, **options)
    return on_grid(model, jax.nn.relu(found.attentions[block]).mean(1)[:, 0, 1:])
