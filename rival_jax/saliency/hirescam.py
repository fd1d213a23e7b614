"""HiResCAM: gradients weigh every position, not every channel (Draelos and Carin 2020)."""

from __future__ import annotations

import jax

from rival_jax.saliency._layers import cam_layer
from rival_jax.types import Array, Model, Score, Variables


def maps(model: Model, variables: Variables, images: Array, score: Score) -> Array:
    """[b, h, w] >= 0, on the grid of `model.cam_tap`."""
    activations, gradients = cam_layer(model, variables, images, score)
    return jax.nn.relu((activations * gradients).sum(-1))
