"""Convolutions, pools and norms of images channels first, as PyTorch computes them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from rival_jax.types import Array


def convolution(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Array:
    """[b, c, *space] by [o, c / groups, *window], or transposed by [c, o / groups, *window]."""
    rank = x.ndim - 2
    stride, padding, dilation, output_padding = (
        [*given] * rank if len(given) == 1 else given
        for given in (stride, padding, dilation, output_padding)
    )
    space = "DHW"[-rank:]
    forms = (f"NC{space}", f"OI{space}", f"NC{space}")
    window = weight.shape[2:]
    if not transposed:
        pads = [(p, p) for p in padding]
        y = lax.conv_general_dilated(
            x,
            weight,
            stride,
            pads,
            rhs_dilation=dilation,
            feature_group_count=groups,
            dimension_numbers=forms,
        )
    else:
        weight = jnp.flip(weight, range(2, weight.ndim))
        parts = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        weight = parts.swapaxes(1, 2).reshape(-1, weight.shape[0] // groups, *window)
        reach = [d * (k - 1) for d, k in zip(dilation, window, strict=True)]
        sides = zip(reach, padding, output_padding, strict=True)
        y = lax.conv_general_dilated(
            x,
            weight,
            [1] * len(window),
            [(r - p, r - p + more) for r, p, more in sides],
            lhs_dilation=stride,
            rhs_dilation=dilation,
            feature_group_count=groups,
            dimension_numbers=forms,
        )
    return y if bias is None else y + _channels(bias, y)


def layer_norm(
    x: Array, shape: Sequence[int], weight: Array | None, bias: Array | None, epsilon: float
) -> tuple[Array, Array, Array]:
    """The norm over the last axes, and its mean and reciprocal deviation."""
    axes = tuple(range(-len(shape), 0))
    y, mean, scale = _normalised(x, axes, epsilon)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias), mean, scale


def group_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    batch: int,
    channels: int,
    space: int,
    groups: int,
    epsilon: float,
) -> tuple[Array, Array, Array]:
    """The norm over each group of channels with all positions."""
    del channels, space
    y, mean, scale = _normalised(x.reshape(batch, groups, -1), (-1,), epsilon)
    y = y.reshape(x.shape)
    y = y if weight is None else y * _channels(weight, y)
    y = y if bias is None else y + _channels(bias, y)
    return y, mean[..., 0], scale[..., 0]


def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    variance: Array,
    momentum: float,
    epsilon: float,
) -> tuple[Array, ...]:
    """With running statistics; exports have it as a product and a sum where these are constants."""
    del momentum
    y = (x - _channels(mean, x)) * lax.rsqrt(_channels(variance, x) + epsilon)
    y = y if weight is None else y * _channels(weight, y)
    return (y if bias is None else y + _channels(bias, y),)


def batch_norm_of_batch(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    training: bool,
    momentum: float,
    epsilon: float,
) -> tuple[Array, ...]:
    """With the array's own statistics: in evaluation mode, of weights that are standardised."""
    del training, momentum
    y, _, _ = _normalised(x, (0, *range(2, x.ndim)), epsilon)
    y = y if weight is None else y * _channels(weight, y)
    return (y if bias is None else y + _channels(bias, y),)


def patches(
    x: Array,
    window: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Array:
    """[b, c, h, w] to the windows of each position, [b, c window, positions]."""
    found = lax.conv_general_dilated_patches(
        x, window, stride, [(p, p) for p in padding], rhs_dilation=dilation
    )
    return found.reshape(*found.shape[:2], -1)


def from_patches(
    columns: Array,
    size: Sequence[int],
    window: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Array:
    """The sum of all windows, [b, c, *size]: the transpose of `patches`."""
    channels = columns.shape[1] // math.prod(window)
    cut = functools.partial(
        patches, window=window, dilation=dilation, padding=padding, stride=stride
    )
    image = jax.ShapeDtypeStruct((len(columns), channels, *size), columns.dtype)
    return jax.linear_transpose(cut, image)(columns)[0]


def _normalised(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    mean = x.mean(axes, keepdims=True)
    centred = x - mean
    scale = lax.rsqrt((centred * centred).mean(axes, keepdims=True) + epsilon)
    return centred * scale, mean, scale


def _channels(values: Array, x: Array) -> Array:
    """A value for each channel, to be broadcast over [b, c, *space]."""
    return values.reshape(-1, *(1,) * (x.ndim - 2))
