"""Saliency maps: how activations and gradients make them, and how they are scaled."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def gradcam(
    activations: Float[Array, "b h w c"], gradients: Float[Array, "b h w c"]
) -> Float[Array, "b h w"]:
    """GradCAM: channels weighted by the spatial mean of their gradient, summed, >= 0.

    Args:
      activations: a layer's output; gradients: of the explained score with respect to it
        (`taps.tap_grads`).

    Raises:
      ValueError: for shapes that differ.

    Source: Selvaraju et al., ICCV 2017, equations 1 and 2.

    >>> activations, gradients = jnp.array([[[[2.0, 1.0]]]]), jnp.array([[[[1.0, -1.0]]]])
    >>> gradcam(activations, gradients)
    Array([[[1.]]], dtype=float32)
    """
    if activations.shape != gradients.shape:
        raise ValueError(f"gradients: got {gradients.shape}, expected {activations.shape}")
    weights = gradients.mean((1, 2))
    return jax.nn.relu(jnp.einsum("bhwc,bc->bhw", activations, weights))


def relevance(
    attentions: Sequence[Float[Array, "b heads n n"]],
    gradients: Sequence[Float[Array, "b heads n n"]],
    *,
    through_grads: bool = False,
) -> Float[Array, "b n-1"]:
    """GAE relevance of every token to the class token: its row of prod(I + mean_h(dA * A)+).

    Only the class token's row is carried, from the last block to the first, as vector-matrix
    products; it has no entry for the class token itself.

    Args:
      attentions: post-softmax, first block to last; token 0 is the class token.
      gradients: of the explained score with respect to them.
      through_grads: whether derivatives of the relevance flow through `gradients` too (the exact
        second-order gradient), or only through `attentions` (as RobustViT was released).

    Raises:
      ValueError: for lists of different lengths.

    Source: Chefer et al., ICCV 2021, equations 5 and 6; RobustViT, section 3.

    >>> attention = jnp.full((1, 1, 3, 3), 1 / 4)
    >>> relevance([attention], [jnp.ones((1, 1, 3, 3))])
    Array([[0.25, 0.25]], dtype=float32)
    """
    if len(attentions) != len(gradients):
        raise ValueError(f"gradients: got {len(gradients)} blocks, expected {len(attentions)}")
    # Even for bfloat16 attention, the small shares of single tokens are summed in float32.
    precision = jnp.promote_types(attentions[0].dtype, jnp.float32)
    row = jax.nn.one_hot(0, attentions[0].shape[-1], dtype=precision)
    row = jnp.broadcast_to(row, attentions[0].shape[::3])
    for attention, gradient in zip(reversed(attentions), reversed(gradients), strict=True):
        gradient = gradient if through_grads else jax.lax.stop_gradient(gradient)
        cam = jax.nn.relu(gradient.astype(precision) * attention).mean(1)
        row = row + jnp.einsum("bn,bnm->bm", row, cam)
    return row[:, 1:]


def attention_rollout(attentions: Sequence[Float[Array, "b heads n n"]]) -> Float[Array, "b n-1"]:
    """Attention rollout: the class token's row of prod((mean_h(A) + I) / 2), without itself.

    Source: Abnar and Zuidema, ACL 2020.

    >>> attention_rollout([jnp.full((1, 1, 2, 2), 0.5)])
    Array([[0.25]], dtype=float32)
    """
    row = jax.nn.one_hot(0, attentions[0].shape[-1], dtype=attentions[0].dtype)
    row = jnp.broadcast_to(row, attentions[0].shape[::3])
    for attention in reversed(attentions):
        row = (row + jnp.einsum("bn,bnm->bm", row, attention.mean(1))) / 2
    return row[:, 1:]


def upsample(maps: Float[Array, "*b h w"], size: tuple[int, int]) -> Float[Array, "*b H W"]:
    """Bilinear resize to `size`: half-pixel centres, edges clamped, no antialiasing.

    >>> upsample(jnp.array([[0.0, 1.0]]), (1, 4))
    Array([[0.  , 0.25, 0.75, 1.  ]], dtype=float32)
    """
    return jax.image.resize(maps, (*maps.shape[:-2], *size), "bilinear", antialias=False)


def minmax_normalise(maps: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    """Each map scaled to [0, 1] by its minimum and maximum; a flat map becomes 0.

    A map is flat if it varies no more than a resized constant does by rounding; its gradient is 0.
    Other gradients are finite, however small the map's values are.

    >>> minmax_normalise(jnp.array([[1.0, 2.0, 3.0]]))
    Array([[0. , 0.5, 1. ]], dtype=float32)
    """
    low, high = maps.min((-2, -1), keepdims=True), maps.max((-2, -1), keepdims=True)
    largest = jax.lax.stop_gradient(jnp.maximum(jnp.abs(low), jnp.abs(high)))
    flat = high - low <= 8 * jnp.finfo(maps.dtype).eps * largest
    # Scaled by a power of two, only so that no square in the gradient underflows.
    unit = jnp.ldexp(jnp.ones_like(largest), jnp.clip(-jnp.frexp(largest)[1], -100, 100))
    return jnp.where(flat, 0, (maps - low) * unit) / jnp.where(flat, 1, (high - low) * unit)


def max_normalise(maps: Float[Array, "*b h w"]) -> Float[Array, "*b h w"]:
    """Each map divided by its maximum; a map without a positive value is left as it is.

    >>> max_normalise(jnp.array([[1.0, 2.0, 4.0]]))
    Array([[0.25, 0.5 , 1.  ]], dtype=float32)
    """
    peak = maps.max((-2, -1), keepdims=True)
    return maps / jnp.where(peak > 0, peak, 1)


def upsample_corners(maps: Float[Array, "*b h w"], size: tuple[int, int]) -> Float[Array, "*b H W"]:
    """Bilinear resize to `size` in which the corners stay corners (`align_corners` in PyTorch).

    >>> upsample_corners(jnp.array([[0.0, 1.0], [0.0, 1.0]]), (2, 3))[0]
    Array([0. , 0.5, 1. ], dtype=float32)
    """
    axes = (maps.ndim - 2, maps.ndim - 1)
    old = maps.shape[-2:]
    scale = jnp.array([max(n - 1, 1) / max(o - 1, 1) for n, o in zip(size, old, strict=True)])
    shape = (*maps.shape[:-2], *size)
    return jax.image.scale_and_translate(
        maps, shape, axes, scale, 0.5 - 0.5 * scale, "bilinear", antialias=False
    )


def cam_scaled(maps: Float[Array, "*b h w"], size: tuple[int, int]) -> Float[Array, "*b H W"]:
    """Class maps as pytorch-grad-cam scales them: to [0, 1] before and after the resize.

    Negative values are cut off first; a flat map becomes 0.
    """
    return _cam_unit(upsample(_cam_unit(jax.nn.relu(maps)), size))


def cam_scaled_2021(maps: Float[Array, "*b h w"], size: tuple[int, int]) -> Float[Array, "*b H W"]:
    """Class maps as in pytorch-grad-cam's 2021 release, which the study used: a flat map is NaN."""
    maps = jax.nn.relu(maps)
    flat = (maps == maps[..., :1, :1]).all((-2, -1), keepdims=True)
    maps = upsample(maps, size)
    maps = maps - maps.min((-2, -1), keepdims=True)
    return jnp.where(flat, jnp.nan, maps / maps.max((-2, -1), keepdims=True))


def _cam_unit(maps: Array) -> Array:
    maps = maps - maps.min((-2, -1), keepdims=True)
    return maps / (1e-7 + maps.max((-2, -1), keepdims=True))
