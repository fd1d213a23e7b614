"""The stem and the blocks of residual networks, in all their published variants."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rival_jax.models.convolution import convolution, max_pool
from rival_jax.types import Array

GROUPS = 32  # of a group norm, in every published network that has them


def batch_norm(name: str) -> nn.BatchNorm:
    """A batch norm that uses its running averages."""
    return nn.BatchNorm(use_running_average=True, epsilon=1e-5, name=name)


def group_norm(name: str) -> nn.GroupNorm:
    """A norm over the image and a group of channels."""
    return nn.GroupNorm(GROUPS, epsilon=1e-5, name=name)


NORMS = {"batch": batch_norm, "group": group_norm}


def halved(x: Array) -> Array:
    """Means of 2 x 2 pixels; a last odd row or column is left out."""
    return nn.avg_pool(x, (2, 2), strides=(2, 2))


def halved_whole(x: Array) -> Array:
    """Means of 2 x 2 pixels; of fewer at the end of an odd row or column."""
    odd: Any = [(0, size % 2) for size in x.shape[1:3]]
    return nn.avg_pool(x, (2, 2), strides=(2, 2), padding=odd, count_include_pad=False)


def blurred(x: Array) -> Array:
    """Every second pixel of a 1 2 1 blur along both axes, edges reflected (Zhang 2019)."""
    for axis in (1, 2):
        pads = [(int(a == axis),) * 2 for a in range(4)]
        x = jnp.pad(x, pads, mode="reflect")
        first, middle, last = (
            jax.lax.slice_in_dim(x, at, x.shape[axis] - 2 + at, 2, axis) for at in range(3)
        )
        x = (first + 2 * middle + last) / 4
    return x


ANTI_ALIASING = {"avg": halved, "blur": blurred}
"""What takes the place of a stride, and follows the ReLU."""


def stem(
    x: Array, width: int, deep: tuple[int, ...], replace_pool: bool, anti_aliasing: str, norm: str
) -> Array:
    """The image to a quarter of its size, by layers of the module that calls it.

    One 7x7 convolution to `width`, or three 3x3 to the widths `deep`; then a max pool, or a
    convolution (`replace_pool`).
    """
    normed = NORMS[norm]
    for i, features in enumerate(deep):
        x = convolution(features, 3, 1 if i else 2, f"conv1_{3 * i}")(x)
        x = nn.relu(normed("bn1" if i == len(deep) - 1 else f"conv1_{3 * i + 1}")(x))
    if not deep:
        x = nn.relu(normed("bn1")(convolution(width, 7, 2, "conv1")(x)))
    if replace_pool:
        return nn.relu(normed("maxpool_1")(convolution(x.shape[-1], 3, 2, "maxpool_0")(x)))
    if anti_aliasing == "avg":
        return halved(x)
    if anti_aliasing == "blur":
        edge: Any = ((1, 1), (1, 1))
        return blurred(nn.max_pool(x, (3, 3), padding=edge))
    return max_pool(x)


class SqueezeExcite(nn.Module):
    """Channels times a gate, two dense layers of their means over the image (Hu et al. 2018)."""

    hidden: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        means = x.mean(axis=(1, 2), keepdims=True)
        y = nn.relu(nn.Conv(self.hidden, (1, 1), name="fc1")(means))
        return x * nn.sigmoid(nn.Conv(x.shape[-1], (1, 1), name="fc2")(y))


class _Neighbours(nn.Module):
    """A convolution along the channels [b, c], padded with zeros."""

    size: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        weight = self.param("weight", nn.initializers.lecun_normal(), (1, 1, self.size))[0, 0]
        return jax.vmap(lambda row: jnp.correlate(row, weight, mode="same"))(x)


class EfficientAttention(nn.Module):
    """Channels times a gate, a convolution of their means along the channels (Wang et al. 2020)."""

    size: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = _Neighbours(self.size, name="conv")(x.mean(axis=(1, 2)))
        return x * nn.sigmoid(y)[:, None, None]


GATES = {"se": SqueezeExcite, "eca": EfficientAttention}


class Block(nn.Module):
    """Two 3x3 convolutions, or 1x1, 3x3, 1x1 with the stride in the 3x3, and a shortcut."""

    widths: tuple[int, ...]  # of the outputs of two or three convolutions
    stride: int
    project: bool  # the shortcut, even if its shape equals the output's
    groups: int = 1  # of the second of three convolutions
    gate: str = ""  # | "se" | "eca": of the output's channels, before the sum
    gate_size: int = 0  # the hidden width | the length of the kernel
    anti_aliasing: str = "none"  # | "avg" | "blur"
    average_down: bool = False  # the shortcut has a mean in place of its stride
    down_size: int = 1  # of the kernel of a shortcut with a stride
    norm: str = "batch"  # | "group"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y, smooth = x, ANTI_ALIASING.get(self.anti_aliasing) if self.stride > 1 else None
        strided = len(self.widths) - 2  # the first 3x3
        for i, features in enumerate(self.widths):
            size = 1 if len(self.widths) == 3 and i != 1 else 3
            y = nn.relu(y) if i else y
            y = smooth(y) if smooth and i == strided + 1 else y
            stride = self.stride if i == strided and not smooth else 1
            groups = self.groups if len(self.widths) == 3 and i == 1 else 1
            y = convolution(features, size, stride, f"conv{i + 1}", groups)(y)
            y = NORMS[self.norm](f"bn{i + 1}")(y)
        if self.gate:
            y = GATES[self.gate](self.gate_size, name="se")(y)
        return nn.relu(self._shortcut(x, y.shape[-1]) + y)

    def _shortcut(self, x: Array, features: int) -> Array:
        if not (self.project or self.stride > 1 or x.shape[-1] != features):
            return x
        norm = NORMS[self.norm]
        if self.average_down:
            x = halved_whole(x) if self.stride > 1 else x
            return norm("downsample_2")(convolution(features, 1, 1, "downsample_1")(x))
        size = self.down_size if self.stride > 1 else 1
        return norm("downsample_1")(convolution(features, size, self.stride, "downsample_0")(x))
