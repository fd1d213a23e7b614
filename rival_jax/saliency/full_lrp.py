"""Full LRP: relevance propagated to the pixels (Bach et al. 2015; rules of Chefer et al. 2021)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from rival_jax import propagation
from rival_jax.saliency._propagate import propagate
from rival_jax.types import Array, Model, Score, Variables


def maps(
    model: Model, variables: Variables, images: Array, score: Score, *, through_grads: bool = True
) -> Array:
    """[b, h, w], the sum over the colours; negative where a pixel speaks against the score.

    `through_grads`: whether derivatives of the map flow through the gradient in it, too.
    """
    options = {"older": True, "through_grads": through_grads}
    relevance = propagate(model, variables, images, score, **options).embedding
    params = variables["params"]
    kernel, bias = params["patch_embed"]["kernel"], params["patch_embed"].get("bias", 0)
    pixels = (images - jnp.asarray(model.mean)) / jnp.asarray(model.std)
    side, layout = kernel.shape[:2], ("NHWC", "HWIO", "NHWC")
    embedded = lax.conv_general_dilated(
        pixels.astype(kernel.dtype), kernel, side, "VALID", dimension_numbers=layout
    )
    embedded = embedded.reshape(len(images), -1, kernel.shape[-1]) + bias
    count = embedded.shape[1]  # after the class token
    positions = jnp.broadcast_to(params["pos_embed"][:, -count:], embedded.shape)
    relevance, _ = jax.vmap(lambda *one: propagation.added(*one, balanced=False))(
        embedded, positions, relevance[:, -count:]
    )
    return jax.vmap(propagation.patches, (0, None, 0))(pixels, kernel, relevance).sum(-1)
