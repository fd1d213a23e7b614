"""The gradient to the pixels times their distance from the network's mean colour."""

from __future__ import annotations

import jax.numpy as jnp

from rival_jax.saliency import _layers
from rival_jax.types import Array, Model, Score, Variables


def maps(model: Model, variables: Variables, images: Array, score: Score) -> Array:
    """[b, h, w]: the magnitude of the sum over the colours."""
    gradient = _layers.input_gradient(model, variables, images, score)
    return jnp.abs((gradient * (images - jnp.asarray(model.mean))).sum(-1))
