"""Operations of exported networks on images [b, c, h, w] that lie channels last in memory.

So convolutions need no transposition on any device, nor do the permutations around channels-last
layers copy anything. What is not here gets its images channels first.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rival_jax.models import depthwise
from rival_jax.models.aten import ELEMENTWISE, OPERATIONS
from rival_jax.types import Array

AXES = (0, 3, 1, 2)  # where the axes of [b, c, h, w] lie in the array
_BACK = (0, 2, 3, 1)
MOST_SHIFTS = 49  # of a window whose convolution is a sum on CPUs, where XLA's own is slow


@dataclasses.dataclass(frozen=True)
class Last:
    """A value [b, c, h, w] of which the array is [b, h, w, c]."""

    array: Array

    @classmethod
    def of(cls, value: Any) -> Last:
        """Of any array that broadcasts to [b, c, h, w], or of what is one already."""
        if isinstance(value, Last):
            return value
        value = jnp.asarray(value)
        return cls(value.reshape((1,) * (4 - value.ndim) + value.shape).transpose(_BACK))

    @property
    def shape(self) -> tuple[int, ...]:
        """[b, c, h, w]."""
        return tuple(self.array.shape[axis] for axis in AXES)

    @property
    def size(self) -> int:
        """The number of its elements."""
        return self.array.size


def plain(said: Any) -> Any:
    """An array, also in lists, channels first."""
    if isinstance(said, Last):
        return said.array.transpose(AXES)
    return [plain(part) for part in said] if isinstance(said, list) else said


def computed(op: str, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    """The result of an operation of `aten.OPERATIONS`; arguments may be channels last."""
    function = KNOWN.get(op)
    if op in ELEMENTWISE and any(isinstance(arg, Last) for arg in args):
        function = _elementwise(ELEMENTWISE[op])
    if function is not None and (found := function(*args, **kwargs)) is not None:
        return found
    return OPERATIONS[op](*plain(args), **{key: plain(value) for key, value in kwargs.items()})


def _elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
    def compute(*args: Any, **kwargs: Any) -> Any:
        if any(isinstance(arg, jax.Array) and arg.ndim > 4 for arg in args):
            return None
        arrays = [Last.of(a).array if isinstance(a, Last | jax.Array) else a for a in args]
        return Last(function(*arrays, **kwargs))

    return compute


def _convolution(
    x: Any,
    weight: Any,
    bias: Array | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    if transposed or len(x.shape) != 4:
        return None
    x, weight = Last.of(x).array, plain(weight)
    stride, padding, dilation = (
        [*given] * 2 if len(given) == 1 else [*given] for given in (stride, padding, dilation)
    )
    convolved = functools.partial(
        lax.conv_general_dilated,
        window_strides=stride,
        padding=[(p, p) for p in padding],
        rhs_dilation=dilation,
        feature_group_count=groups,
        dimension_numbers=("NHWC", "OIHW", "NHWC"),
    )
    if groups == 1 and _are_tiles(x.shape[1:3], weight.shape[2:], stride, padding, dilation):
        y = _of_tiles(x, weight)
    elif groups == x.shape[-1] == weight.shape[0] and weight[0].size <= MOST_SHIFTS:
        pads = tuple((p, p) for p in padding)
        shifted = functools.partial(
            depthwise.shifted, stride=tuple(stride), padding=pads, dilation=tuple(dilation)
        )
        y = lax.platform_dependent(x, weight, cpu=shifted, default=convolved)
    else:
        y = convolved(x, weight)
    return Last(y if bias is None else y + bias)


def _are_tiles(
    size: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> bool:
    """Whether windows lie side by side and fill an image, as a transformer's patches do."""
    fits = all(n % k == 0 for n, k in zip(size, window, strict=True))
    return fits and tuple(stride) == tuple(window) and not any(padding) and set(dilation) == {1}


def _of_tiles(x: Array, weight: Array) -> Array:
    """Their convolution as one product, whose gradient to the image is fast on every device."""
    (b, h, w, c), (_, _, rows, columns) = x.shape, weight.shape
    tiles = x.reshape(b, h // rows, rows, w // columns, columns, c)
    return jnp.einsum("bhiwjc,ocij->bhwo", tiles, weight)


def _permuted(x: Any, dims: Sequence[int]) -> Any:
    places = tuple(dim % len(x.shape) for dim in dims)
    if isinstance(x, Last):
        return x.array.transpose([AXES[place] for place in places])
    return Last(x) if places == AXES else None


def _reduced(op: str) -> Callable[..., Any]:
    def reduce(x: Any, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Any:
        axes = sorted(axis % 4 for axis in dim or ()) if isinstance(dim, list | None) else []
        if not isinstance(x, Last) or not axes or not (keepdim or axes == [2, 3]):
            return None
        found = OPERATIONS[op](x.array, [AXES[axis] for axis in axes], keepdim, **kwargs)
        return Last(found) if keepdim else found

    return reduce


def _joined(arrays: Sequence[Any], dim: int = 0) -> Any:
    if not any(isinstance(part, Last) for part in arrays):
        return None
    if any(len(part.shape) != 4 for part in arrays):
        return None
    return Last(jnp.concatenate([Last.of(part).array for part in arrays], AXES[dim % 4]))


KNOWN: Mapping[str, Callable[..., Any]] = {
    "convolution.default": _convolution,
    "permute.default": _permuted,
    "cat.default": _joined,
    **{op: _reduced(op) for op in ("mean.dim", "sum.dim_IntList", "amax.default")},
}
