"""Attention rollout: attention and residual by block; uses no score (Abnar, Zuidema 2020)."""

from __future__ import annotations

from rival_jax.maps import attention_rollout
from rival_jax.saliency._layers import on_grid
from rival_jax.saliency.raw_attention import probabilities
from rival_jax.types import Array, Model, Score, Variables


def maps(
    model: Model,
    variables: Variables,
    images: Array,
    score: Score,
    *,
    first_block: int = 0,
    through_grads: bool = True,
) -> Array:
    """[b, h, w] >= 0, on the grid of patches; blocks before `first_block` are left out.

    There are no gradients in it.
    """
    return on_grid(model, attention_rollout(probabilities(model, variables, images)[first_block:]))
