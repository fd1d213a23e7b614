"""ScoreCAM: each channel weighted by the score of the image seen through it (Wang et al. 2020)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from rival_jax.maps import upsample_corners
from rival_jax.types import Array, Model, Score, Variables

_FLAT = 1e-8  # keeps a constant channel finite


def maps(model: Model, variables: Variables, images: Array, score: Score) -> Array:
    """[b, h, w] >= 0, on the grid of `model.cam_tap`; one forward pass per channel.

    Hidden pixels become the network's mean colour.
    """
    _, values = model.forward(variables, images, {})
    activations = model.to_grid(values[model.cam_tap])  # [b, h, w, c]
    mean = jnp.asarray(model.mean)

    def seen_through(channel: Array) -> Array:
        mask = upsample_corners(channel, (images.shape[1], images.shape[2]))
        low, high = (f(mask, axis=(1, 2), keepdims=True) for f in (jnp.min, jnp.max))
        mask = ((mask - low) / (high - low + _FLAT))[..., None]
        return score(*model.forward(variables, mean + (images - mean) * mask, {}))

    scores = lax.map(seen_through, jnp.moveaxis(activations, -1, 0))  # [c, b]
    return jax.nn.relu(jnp.einsum("bhwc,cb->bhw", activations, jax.nn.softmax(scores, axis=0)))
