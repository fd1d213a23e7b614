"""Gradients averaged along the path from a plain image, times the path (Sundararajan 2017)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from rival_jax.saliency import _layers
from rival_jax.types import Array, Model, Score, Variables


def maps(
    model: Model,
    variables: Variables,
    images: Array,
    score: Score,
    *,
    steps: int = 32,
    baseline: float = 0.0,
) -> Array:
    """[b, h, w]: the magnitude of the sum over the colours of `attributions`."""
    options = {"steps": steps, "baseline": baseline}
    return jnp.abs(attributions(model, variables, images, score, **options).sum(-1))


def attributions(
    model: Model,
    variables: Variables,
    images: Array,
    score: Score,
    *,
    steps: int = 32,
    baseline: float = 0.0,
) -> Array:
    """[b, h, w, 3], whose sum is the score minus that of the baseline, up to `steps`.

    Args:
      steps: forward and backward passes, at the midpoints of equal parts of the path.
      baseline: the grey level at the start of the path.
    """
    way = images - baseline

    def add(total: Array, at: Array) -> tuple[Array, None]:
        here = baseline + at * way
        return total + _layers.input_gradient(model, variables, here, score), None

    places = (jnp.arange(steps) + 0.5) / steps
    return lax.scan(add, jnp.zeros_like(images), places)[0] / steps * way
