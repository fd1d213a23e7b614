"""Convolutions of each channel by itself, and their derivatives of every order, for CPUs.

XLA's own take seven to fifteen times as long there. These are sums of shifted images in which
columns and channels are one axis, so that they are added up as long vectors. Derivatives are
written out: those that JAX finds of so many slices compile for minutes where they are
differentiated again.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rival_jax.types import Array

_Pair: TypeAlias = tuple[int, int]  # of rows, of columns
_Pads: TypeAlias = tuple[_Pair, _Pair]  # before and after


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def shifted(x: Array, weight: Array, stride: _Pair, padding: _Pads, dilation: _Pair) -> Array:
    """[b, h, w, c] by [c, 1, *window], as `lax.conv_general_dilated` computes it."""
    b, c = len(x), x.shape[-1]
    images, places, (rows, columns) = _images(x, weight.shape[2:], stride, padding, dilation)
    vectors = jnp.tile(weight.reshape(c, -1).T, (1, columns))
    height = max(n for n in range(1, rows + 1) if rows % n == 0 and (n < rows or n == 1))

    def some_rows(k: Array, found: Array) -> Array:
        band = lax.dynamic_slice_in_dim(images, k * height, height + images.shape[3] - rows, 3)
        total = jnp.zeros((), x.dtype)
        for (p, q, i, j), vector in zip(places, vectors, strict=True):
            part = band[p, q, :, i : i + height, j * c : (j + columns) * c]
            total = total + part * vector
        return lax.dynamic_update_slice_in_dim(found, total, k * height, 1)

    # In a loop, since XLA computes the sum again wherever it is read: a norm's three times.
    found = jnp.zeros((b, rows, columns * c), x.dtype)
    found = lax.fori_loop(0, rows // height, some_rows, found)
    return found.reshape(b, rows, columns, c)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _to_weight(
    x: Array, gradient: Array, window: _Pair, stride: _Pair, padding: _Pads, dilation: _Pair
) -> Array:
    """The gradient to the weight, [c, 1, *window], from that to the result."""
    b, c = len(x), x.shape[-1]
    images, places, (rows, columns) = _images(x, window, stride, padding, dilation)
    gradient = gradient.reshape(b, rows, -1)

    def of_one(place: Array) -> Array:
        begin = (place[0], place[1], 0, place[2], place[3] * c)
        part = lax.dynamic_slice(images, begin, (1, 1, *gradient.shape))[0, 0]
        return (part * gradient).sum((0, 1)).reshape(columns, c).sum(0)

    return lax.map(of_one, np.array(places)).T.reshape(c, 1, *window)  # a loop: compiles once


def _to_image(
    gradient: Array,
    weight: Array,
    size: Sequence[int],
    stride: _Pair,
    padding: _Pads,
    dilation: _Pair,
) -> Array:
    """The gradient to the images, [b, *size, c], from that to the result."""
    between = [(0, 0, s - 1) for s in stride]
    spread = lax.pad(gradient, jnp.zeros((), gradient.dtype), [(0, 0, 0), *between, (0, 0, 0)])
    pads: Any = []
    for axis in (0, 1):
        reach = dilation[axis] * (weight.shape[2 + axis] - 1)
        before = reach - padding[axis][0]
        pads.append((before, size[axis] + reach - spread.shape[1 + axis] - before))
    return shifted(spread, weight[:, :, ::-1, ::-1], (1, 1), tuple(pads), dilation)


def _images(
    x: Array, window: Sequence[int], stride: _Pair, padding: _Pads, dilation: _Pair
) -> tuple[Array, list[tuple[int, ...]], _Pair]:
    """Images [*stride, b, rows, columns c] of every stride-th row and column; which of these, and
    from which row and column on, each weight of the window reads; and how many it reads."""
    pads, counts, begins = [(0, 0, 0)], [], []
    for axis, (before, after) in enumerate(padding):
        size, step = x.shape[1 + axis], stride[axis]
        reach = dilation[axis] * (window[axis] - 1)
        counts.append((size + before + after - reach - 1) // step + 1)
        whole = step * (reach // step + counts[-1])
        pads.append((before, whole - size - before, 0))
        begins.append([divmod(dilation[axis] * i, step) for i in range(window[axis])])
    x = lax.pad(x, jnp.zeros((), x.dtype), [*pads, (0, 0, 0)])
    b, h, w, c = x.shape
    x = x.reshape(b, h // stride[0], stride[0], w // stride[1], stride[1], c)
    x = x.transpose(2, 4, 0, 1, 3, 5).reshape(*stride, b, h // stride[0], -1)
    places = [(p, q, i, j) for (i, p), (j, q) in itertools.product(*begins)]
    return x, places, (counts[0], counts[1])


def _forward(x: Array, weight: Array, *settings: Any) -> tuple[Array, tuple[Array, Array]]:
    return shifted(x, weight, *settings), (x, weight)


def _backward(
    stride: _Pair, padding: _Pads, dilation: _Pair, kept: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    (x, weight), settings = kept, (stride, padding, dilation)
    window = (weight.shape[2], weight.shape[3])
    to_image = _to_image(gradient, weight, x.shape[1:3], *settings)
    return to_image, _to_weight(x, gradient, window, *settings)


def _weight_forward(x: Array, gradient: Array, *settings: Any) -> tuple[Array, Any]:
    return _to_weight(x, gradient, *settings), (x, gradient)


def _weight_backward(
    window: _Pair,
    stride: _Pair,
    padding: _Pads,
    dilation: _Pair,
    kept: tuple[Array, Array],
    change: Array,
) -> tuple[Array, Array]:
    (x, gradient), settings = kept, (stride, padding, dilation)
    to_image = _to_image(gradient, change, x.shape[1:3], *settings)
    return to_image, shifted(x, change, *settings)


shifted.defvjp(_forward, _backward)
_to_weight.defvjp(_weight_forward, _weight_backward)
