"""The class token's attention in one block, averaged over heads; uses no score."""

from __future__ import annotations

from rival_jax.saliency._layers import on_grid
from rival_jax.types import Array, Model, Score, Variables


def maps(
    model: Model,
    variables: Variables,
    images: Array,
    score: Score,
    *,
    block: int = -1,
    through_grads: bool = True,
) -> Array:
    """[b, h, w] >= 0, on the grid of patches; there are no gradients in it."""
    return on_grid(model, probabilities(model, variables, images)[block].mean(1)[:, 0, 1:])


def probabilities(model: Model, variables: Variables, images: Array) -> list[Array]:
    """[b, heads, n, n] of all blocks. Raises ValueError for a network without attention."""
    if not model.attention_taps:
        raise ValueError(f"{model.name} has no attention to explain it with; use gradcam")
    _, values = model.forward(variables, images, {})
    return [values[name] for name in model.attention_taps]
