"""Convolutions and the max pool of residual networks, in forms that are fast on CPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from rival_jax.types import Array

_HE = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
_FEW = 64  # output positions up to which a matrix product is faster on CPUs
_MANY = 128  # input channels
_COLOURS = 4  # with at most so many input channels, columns are taken in pairs


def convolution(features: int, size: int, stride: int, name: str, groups: int = 1) -> nn.Conv:
    """A convolution with PyTorch's padding, which is symmetric even for stride 2."""
    pad = (size // 2, size // 2)
    return nn.Conv(
        features,
        (size, size),
        strides=stride,
        padding=(pad, pad),
        use_bias=False,
        kernel_init=_HE,
        name=name,
        feature_group_count=groups,
        conv_general_dilated=convolved if groups == 1 else None,
    )


def convolved(
    x: Array, kernel: Array, strides: Sequence[int], padding: Sequence[Any], **rest: Any
) -> Array:
    """`lax.conv_general_dilated` of [b, h, w, c], without dilation and groups.

    On CPUs a few positions with many channels (say 7 x 7 with 512) are computed as one matrix
    product of the neighbourhoods, in a third to half of the time. Images under a kernel of stride 2
    are taken as pairs of columns with twice the channels, in three quarters of it.
    """

    def plain(x: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(x, kernel, strides, padding, **rest)

    def product(x: Array, kernel: Array) -> Array:
        (down, right), (high, wide) = strides, kernel.shape[:2]
        x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
        rows, columns = x.shape[1] - high + 1, x.shape[2] - wide + 1
        shifted = [
            x[:, i : i + rows : down, j : j + columns : right]
            for i in range(high)
            for j in range(wide)
        ]
        return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])

    def paired(x: Array, kernel: Array) -> Array:
        (b, h, w, c), (high, wide) = x.shape, kernel.shape[:2]
        pad = padding[1][0]  # odd: the pairs begin one column before the kernel
        kernel = jnp.pad(kernel, ((0, 0), (1, 0), (0, 0), (0, 0)))
        kernel = kernel.reshape(high, (wide + 1) // 2, 2 * c, -1)
        pads = (padding[0], ((pad + 1) // 2, (pad - 1) // 2))
        x = x.reshape(b, h, w // 2, 2 * c)
        return lax.conv_general_dilated(x, kernel, (strides[0], 1), pads, **rest)

    wide, pad = kernel.shape[1], padding[1][0]
    fits = wide == 2 * pad + 1 and pad % 2 == 1 and x.shape[2] % 2 == 0 and strides[1] == 2
    if fits and x.shape[-1] <= _COLOURS:
        return lax.platform_dependent(x, kernel, cpu=paired, default=plain)
    _, rows, columns, _ = jax.eval_shape(plain, x, kernel).shape
    if kernel.shape[:2] == (1, 1) or rows * columns > _FEW or x.shape[-1] < _MANY:
        return plain(x, kernel)
    return lax.platform_dependent(x, kernel, cpu=product, default=plain)


def max_pool(x: Array) -> Array:
    """The largest of every 3 x 3 neighbourhood, at every second position: [b, h, w, c].

    Padded by one on every side, as in PyTorch. Works on pairs of rows, then of columns, which XLA
    fuses with earlier operations; its window reduction takes three times as long on CPUs.
    """
    b, h, w, c = x.shape
    x = jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), constant_values=-jnp.inf)
    x = x.reshape(b, -1, 2, (w + 1) // 2, 2, c)
    above = jnp.pad(x[:, :-1, 1], ((0, 0), (1, 0), *[(0, 0)] * 3), constant_values=-jnp.inf)
    x = jnp.maximum(jnp.maximum(x[:, :, 0], x[:, :, 1]), above)
    left = jnp.pad(x[:, :, :-1, 1], ((0, 0), (0, 0), (1, 0), (0, 0)), constant_values=-jnp.inf)
    return jnp.maximum(jnp.maximum(x[..., 0, :], x[..., 1, :]), left)
