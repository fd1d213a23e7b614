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
    return attention_and_logits(model, variables, images, score)[:2]


def attention_and_logits(
    model: Model, variables: Variables, images: Array, score: Score
) -> tuple[list[Array], list[Array], Array]:
    """What `attention` returns, and the logits [b, c] of the same forward pass."""
    names = model.attention_taps
    if not names:
        raise ValueError(f"{model.name} has no attention to explain it with; use gradcam")
    given = (model.forward, variables, images, score, names)
    logits, _, values, gradients = taps.logits_and_grads(*given)
    return [values[name] for name in names], [gradients[name] for name in names], logits


def on_grid(model: Model, row: Array) -> Array:
    """The values of all tokens but the class token, [b, n-1], as a map of the patches [b, h, w]."""
    tokens = jnp.pad(row, ((0, 0), (1, 0)))[..., None]
    return model.to_grid(tokens)[..., 0]


def input_gradient(model: Model, variables: Variables, images: Array, score: Score) -> Array:
    """d score / d pixel, [b, h, w, 3]."""
    _, _, gradients = taps.tap_grads(model.forward, variables, images, score, ["image"])
    return gradients["image"]
