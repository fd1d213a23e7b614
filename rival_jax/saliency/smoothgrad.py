"""Input gradients averaged over noise (Smilkov et al. 2017)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from rival_jax import noise
from rival_jax.saliency import _layers
from rival_jax.types import Array, Model, Score, Variables


def maps(
    model: Model,
    variables: Variables,
    images: Array,
    score: Score,
    *,
    samples: int = 16,
    sigma: float = 0.15,
    seed: int = 0,
) -> Array:
    """[b, h, w]: the largest magnitude over the colours of the mean gradient.

    Args:
      samples: forward and backward passes; every image gets the same draws.
      sigma: standard deviation of the noise, of pixels in [0, 1].
      seed: for the draws.
    """

    def add(total: Array, key: Array) -> tuple[Array, None]:
        noisy = images + sigma * jax.random.normal(key, images.shape[1:])
        return total + _layers.input_gradient(model, variables, noisy, score), None

    keys = jax.random.split(noise.key(seed), samples)
    return jnp.abs(lax.scan(add, jnp.zeros_like(images), keys)[0] / samples).max(-1)
