"""Convolutions, pools and norms of images channels first, as PyTorch computes them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
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
    space = "DHW"[-(x.ndim - 2) :]
    forms = (f"NC{space}", f"OI{space}", f"NC{space}")
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
        window = weight.shape[2:]
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


def max_pool(
    x: Array,
    window: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Array, ...]:
    """The largest of every window of [b, c, h, w]."""
    window, stride, padding, dilation = map(_pair, (window, stride or window, padding, dilation))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, window, strict=True)]
    pads = _pads(x.shape[2:], reach, stride, padding, ceil_mode)
    return (
        lax.reduce_window(
            x,
            -jnp.inf,
            lax.max,
            (1, 1, *window),
            (1, 1, *stride),
            ((0, 0), (0, 0), *pads),
            window_dilation=(1, 1, *dilation),
        ),
    )


def average_pool(
    x: Array,
    window: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_padding: bool = True,
    divisor: int | None = None,
) -> Array:
    """The mean of every window of [b, c, h, w]; what `ceil_mode` adds is never counted."""
    window, stride, padding = map(_pair, (window, stride or window, padding))
    pads = _pads(x.shape[2:], window, stride, padding, ceil_mode)

    def summed(values: Array, around: Sequence[tuple[int, int]]) -> Array:
        sizes, steps = (1, 1, *window), (1, 1, *stride)
        return lax.reduce_window(values, 0.0, lax.add, sizes, steps, ((0, 0), (0, 0), *around))

    total = summed(x, pads)
    if divisor is not None:
        return total / divisor
    ones = jnp.ones((1, 1, *x.shape[2:]), x.dtype)
    if count_padding:
        inside = [(0, 0), (0, 0), *((p, p) for p in padding)]
        ones = jnp.pad(ones, inside, constant_values=1)
        pads = [(0, high - p) for (_, high), p in zip(pads, padding, strict=True)]
    return total / summed(ones, pads)


def adaptive_average_pool(x: Array, size: Sequence[int]) -> Array:
    """[b, c, h, w] to [b, c, *size]: cell i of n is the mean from floor(i h / n) to ceil."""
    rows, columns = (_cells(old, new) for old, new in zip(x.shape[2:], size, strict=True))
    return jnp.einsum("bchw,ih,jw->bcij", x, rows.astype(x.dtype), columns.astype(x.dtype))


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


def _pair(values: Sequence[int]) -> tuple[int, int]:
    down, right = values if len(values) == 2 else (values[0], values[0])
    return down, right


def _pads(
    size: Sequence[int],
    reach: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
) -> list[tuple[int, int]]:
    """Padding on both sides; `ceil_mode` adds a window that begins inside and ends outside."""
    found = []
    for n, k, s, p in zip(size, reach, stride, padding, strict=True):
        steps = (n + 2 * p - k) // s
        if ceil_mode:
            steps = -(-(n + 2 * p - k) // s)
            steps -= (steps * s) >= n + p
        found.append((p, max(p, steps * s + k - n - p)))
    return found


def _cells(old: int, new: int) -> np.ndarray:
    """A matrix [new, old] that averages each cell."""
    starts = np.arange(new) * old // new
    stops = -(-np.arange(1, new + 1) * old // new)
    place = np.arange(old)
    inside = (place >= starts[:, None]) & (place < stops[:, None])
    return inside / inside.sum(1, keepdims=True)
