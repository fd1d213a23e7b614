"""Pools and resizing of images channels first, as PyTorch computes them."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from rival_jax.types import Array


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


def upsampled(
    x: Array,
    size: Sequence[int] | None,
    align_corners: bool,
    scales: Sequence[float] | None,
) -> Array:
    """[b, c, h, w] to [b, c, *size], linear along both axes, without antialiasing."""
    rows, columns = (
        _between(old, new, align_corners, ratio)
        for old, new, ratio in _resampled(x.shape[2:], size, scales)
    )
    return jnp.einsum("bchw,ih,jw->bcij", x, rows.astype(x.dtype), columns.astype(x.dtype))


def upsampled_nearest(
    x: Array, size: Sequence[int] | None, scales: Sequence[float] | None
) -> Array:
    """[b, c, h, w] to [b, c, *size]: position i is what lies at floor(i old / new)."""
    for axis, (old, new, ratio) in enumerate(_resampled(x.shape[2:], size, scales), 2):
        place = np.minimum(np.floor(np.arange(new) * np.float32(ratio)).astype(int), old - 1)
        x = jnp.take(x, place, axis=axis)
    return x


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


def _resampled(
    shape: Sequence[int], size: Sequence[int] | None, scales: Sequence[float] | None
) -> list[tuple[int, int, float]]:
    """Of both axes: the old and the new size, and how far apart new positions lie in the old."""
    if scales is None:
        return [(old, new, old / new) for old, new in zip(shape, size or (), strict=True)]
    return [(old, int(old * scale), 1 / scale) for old, scale in zip(shape, scales, strict=True)]


def _between(old: int, new: int, align_corners: bool, ratio: float) -> np.ndarray:
    """A matrix [new, old] that interpolates linearly."""
    if align_corners:
        place = np.arange(new) * ((old - 1) / max(new - 1, 1))
    else:
        place = np.clip((np.arange(new) + 0.5) * ratio - 0.5, 0, None)
    place = np.minimum(place, old - 1)
    return np.clip(1 - np.abs(place[:, None] - np.arange(old)), 0, None)


def _cells(old: int, new: int) -> np.ndarray:
    """A matrix [new, old] that averages each cell."""
    starts = np.arange(new) * old // new
    stops = -(-np.arange(1, new + 1) * old // new)
    place = np.arange(old)
    inside = (place >= starts[:, None]) & (place < stops[:, None])
    return inside / inside.sum(1, keepdims=True)
