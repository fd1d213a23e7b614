"""The gradient of the score to the pixels (Simonyan et al. 2014)."""

from __future__ import annotations

import jax.numpy as jnp

from rival_jax.saliency import _layers
from rival_jax.types import Array, Model, Score, Variables


def maps(model: Model, variables: Variables, images: Array, score: Score) -> Array:
    """[b, h, w]: the largest magnitude over the colours."""
    return jnp.abs(_layers.input_gradient(model, variables, images, score)).max(-1)
