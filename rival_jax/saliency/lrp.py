"""Transformer attribution: `relevance` with the attention's LRP relevance (Chefer et al. 2021)."""

from __future__ import annotations

from typing import Any

from rival_jax.maps import relevance
from rival_jax.saliency._layers import on_grid
from rival_jax.saliency._propagate import propagate
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
      first_block: blocks before it are left out; the release's scripts leave out the first.
      through_grads: whether derivatives of the map flow through the gradients in it, too.

    Raises:
      ValueError: see `_propagate.propagate`.

    Source: Chefer et al., CVPR 2021, equations 13 and 14.
    """
    found = propagate(model, variables, images, score, through_grads=through_grads)
    parts = found.attentions[first_block:], found.gradients[first_block:]
    row = relevance(*parts, through_grads=through_grads)
    return on_grid(model, row), found.logits
