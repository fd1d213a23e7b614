"""Activations and gradients on a network's grid, and rows of attention as maps."""

from __future__ import annotations

import jax.numpy as jnp

from rival_jax import taps
from rival_jax.types import Array, Model, Score, Variables


def cam_layer(
    model: Model, variables: Variables, images: Array, score: Score
) -> tuple[Array, Array]:
    """Activations and gradients [b, h, w, c] at the tap that class maps read."""
    tap = model.cam_tap
    _, values, gradients = taps.tap_grads(model.forward, variables, images, score, [tap])
    return model.to_grid(values[tap]), model.to_grid(gradients[tap])


def attention(
    model: Model, variables: Variables, images: Array, score: Score
) -> tuple[list[Array], list[Array]]:
    """Probabilities and gradients [b, heads, n, n] of all blocks, first to last.

    Raises:
      ValueError: the network has no attention.
    """
    names = model.attention_taps
    if not names:
        raise ValueError(f"{model.name} has no attention to explain it by; use gradcam")
    _, values, gradients = taps.tap_grads(model.forward, variables, images, score, names)
    return [values[name] for name in names], [gradients[name] for name in names]


def on_grid(model: Model, row: Array) -> Array:
    """What every token but the class token got, [b, n-1], as a map [b, h, w] of the patches."""
    tokens = jnp.pad(row, ((0, 0), (1, 0)))[..., None]
    return model.to_grid(tokens)[..., 0]


def input_gradient(model: Model, variables: Variables, images: Array, score: Score) -> Array:
    """d score / d pixel, [b, h, w, 3]."""
    _, _, gradients = taps.tap_grads(model.forward, variables, images, score, ["image"])
    return gradients["image"]
