"""GradCAM of one block's attention: heads weighted by their mean gradient (Chefer et al. 2021)."""

from __future__ import annotations

import jax

from rival_jax.saliency._layers import attention, on_grid
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
    """[b, h, w] >= 0, on the grid of patches: the class token's row.

    `through_grads`: whether derivatives of the map flow through the gradients in it, too.
    """
    probabilities, gradients = attention(model, variables, images, score)
    row, gradient = probabilities[block][:, :, 0, 1:], gradients[block][:, :, 0, 1:]
    gradient = gradient if through_grads else jax.lax.stop_gradient(gradient)
    weights = gradient.mean(-1, keepdims=True)  # of each head, over the patches
    return on_grid(model, jax.nn.relu((row * weights).mean(1)))
