"""A saliency method: GradCAM++, whose weights favour few strong places (Chattopadhay et al. 2018).

  python -m rival_jax.main --config=configs/saliency.py \
      --config.saliency.methods="('examples.gradcam_pp',)"

It serves as the map of a finetuning objective too, because it returns the logits of the same
forward pass (`maps_and_logits`) and says whether its gradients are differentiated again
(`through_grads`):

  python -m rival_jax.main --config=configs/finetune.py --config.variants="('robustvit',)" \
      --config.loss.method=examples.gradcam_pp
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rival_jax import taps
from rival_jax.types import Array, Model, Score, Variables


def maps(model: Model, variables: Variables, images: Array, score: Score, **options: Any) -> Array:
    """[b, h, w] >= 0, on the grid of `model.cam_tap`; options as those of `maps_and_logits`."""
    return maps_and_logits(model, variables, images, score, **options)[0]


def maps_and_logits(
    model: Model,
    variables: Variables,
    images: Array,
    score: Score,
    *,
    through_grads: bool = True,
) -> tuple[Array, Array]:
    """[b, h, w] >= 0, and the logits [b, c] of the same forward pass.

    Args:
      through_grads: whether who differentiates the maps differentiates their gradients too.
    """
    tap = model.cam_tap
    logits, _, values, gradients = taps.logits_and_grads(
        model.forward, variables, images, score, [tap]
    )
    gradient = gradients[tap] if through_grads else jax.lax.stop_gradient(gradients[tap])
    return gradcam_pp(model.to_grid(values[tap]), model.to_grid(gradient)), logits


def gradcam_pp(activations: Array, gradients: Array) -> Array:
    """Channels weighted by sum(alpha relu(g)), alpha = 1 / (2 + g sum(A)), summed, >= 0.

    That is the paper's g^2 / (2 g^2 + g^3 sum(A)), of the exponential of the score, whose own
    factor scales a map and is left out. Activations are those after a ReLU; where others make
    the denominator 0 or less, a place has no weight.

    Args:
      activations, gradients: A and g, [b, h, w, c].

    Source: Chattopadhay et al., WACV 2018, equations 1, 5 and 19.
    """
    below = 2 + gradients * activations.sum((1, 2), keepdims=True)
    alpha = jnp.where(below > 0, 1 / jnp.where(below > 0, below, 1), 0)
    weights = (alpha * jax.nn.relu(gradients)).sum((1, 2))
    return jax.nn.relu(jnp.einsum("bhwc,bc->bhw", activations, weights))
