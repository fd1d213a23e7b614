"""Operations on arrays that JAX has in another form; arguments are PyTorch's, in its order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rival_jax.types import Array

Number = int | float
END = 2**62  # an index beyond it means the end of an axis
MOST_COUNTED = 2**24  # numbers in a range


def reduced(function: Callable[..., Array]) -> Callable[..., Array]:
    """A reduction over the axes `dim`, or over all."""

    def reduce(a: Array, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
        return function(a if dtype is None else a.astype(dtype), _axes(a, dim), keepdims=keepdim)

    return reduce


def variance(a: Array, dim: Any = None, *, correction: Number = 1, keepdim: bool = False) -> Array:
    """The squared distances from the mean, summed, by their number less `correction`."""
    axes = _axes(a, dim)
    squares = (a - a.mean(axes, keepdims=True)) ** 2
    count = math.prod(a.shape[axis] for axis in axes)
    return squares.sum(axes, keepdims=keepdim) / (count - correction)


def norm(a: Array, order: Number = 2, dim: Any = None, keepdim: bool = False) -> Array:
    """The Euclidean length, or the sum of magnitudes."""
    if order not in (1, 2):
        raise ValueError(f"a norm of order {order}; 1 and 2 are known")
    sums = (jnp.abs(a) if order == 1 else a * a).sum(_axes(a, dim), keepdims=keepdim)
    return sums if order == 1 else jnp.sqrt(sums)


def largest(a: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    """The largest values of an axis, and where they are."""
    return a.max(dim, keepdims=keepdim), jnp.argmax(a, dim, keepdims=keepdim)


def power(a: Array, exponent: Number) -> Array:
    """A whole power by products, so that it has a derivative at 0 and below."""
    whole = float(exponent).is_integer() and abs(exponent) < 64
    return a ** (int(exponent) if whole else exponent)


def divided(a: Array, b: Array | Number, *, rounding_mode: str | None = None) -> Array:
    """a / b, perhaps rounded."""
    rounded = {None: lambda x: x, "floor": jnp.floor, "trunc": jnp.trunc}[rounding_mode]
    whole = jnp.result_type(a, b) if rounding_mode else None
    return rounded(a / b).astype(whole)


def sliced(a: Array, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Array:
    """a[start:end:step] of one axis."""
    return a[_part(a, dim, start, end, step)]


def slice_set(
    a: Array, values: Array, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Array:
    """`a` with other values where `sliced` takes them."""
    return a.at[_part(a, dim, start, end, step)].set(values)


def windows(a: Array, dim: int, size: int, step: int) -> Array:
    """Stretches of an axis, one every `step`: their places there, their length as a last axis."""
    starts = np.arange(0, a.shape[dim] - size + 1, step)
    axis = dim % a.ndim
    found = jnp.take(a, starts[:, None] + np.arange(size), axis=axis)
    return jnp.moveaxis(found, axis + 1, -1)


def expanded(a: Array, sizes: Sequence[int]) -> Array:
    """Repeated along axes of length 1 and new ones; -1 keeps an axis."""
    kept = [1] * (len(sizes) - a.ndim) + list(a.shape)
    pairs = zip(kept, sizes, strict=True)
    return jnp.broadcast_to(a, [old if new == -1 else new for old, new in pairs])


def strided(a: Array, size: Sequence[int], stride: Sequence[int], offset: int | None = 0) -> Array:
    """A view by strides of an array that lies in memory row by row."""
    start = offset or 0
    last = start + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= a.size or min([start, *size, *stride]) < 0:
        raise ValueError(f"a view up to element {last} of {a.size}")
    axes = [lax.iota(jnp.int32, n) * step for n, step in zip(size, stride, strict=True)]
    index = sum(jnp.meshgrid(*axes, indexing="ij"), jnp.int32(start))
    return a.reshape(-1)[index]


def indexed(a: Array, indices: Sequence[Array | None]) -> Array:
    """a[indices], where None is a whole axis."""
    return a[_places(indices)]


def index_set(
    a: Array, indices: Sequence[Array | None], values: Array, accumulate: bool = False
) -> Array:
    """`a` with other values, or more, at these places."""
    place = a.at[_places(indices)]
    return place.add(values) if accumulate else place.set(values)


def split(a: Array, sizes: Sequence[int], dim: int = 0) -> list[Array]:
    """Parts of these sizes along an axis."""
    if sum(sizes) != a.shape[dim]:
        raise ValueError(f"parts of {list(sizes)} of an axis of {a.shape[dim]}")
    return jnp.split(a, np.cumsum(sizes)[:-1], axis=dim)


def padded(a: Array, pad: Sequence[int], value: Number = 0) -> Array:
    """More on both sides, from the last axis to the first; negative numbers cut."""
    pairs = [(0, 0, 0)] * a.ndim
    for i in range(len(pad) // 2):
        pairs[a.ndim - 1 - i] = (pad[2 * i], pad[2 * i + 1], 0)
    return lax.pad(a, jnp.asarray(value, a.dtype), pairs)


def joined(arrays: Sequence[Array], dim: int = 0) -> Array:
    """Side by side along an axis; an empty list of numbers fits everything."""
    return jnp.concatenate([a for a in arrays if a.shape != (0,)], dim)


def clipped(a: Array, low: Any = None, high: Any = None) -> Array:
    """Not below `low`, then not above `high`."""
    return jnp.clip(a, low, high)


def filled(size: Sequence[int], value: Number, *, dtype: Any = None) -> Array:
    """One value everywhere."""
    return jnp.full(size, value, dtype)


def filled_like(a: Array, value: Number, *, dtype: Any = None) -> Array:
    """One value everywhere, in the shape of `a`."""
    return jnp.full(a.shape, value, a.dtype if dtype is None else dtype)


def counted(start: Number, end: Number, step: Number = 1, *, dtype: Any = None) -> Array:
    """start, start + step, ..., below `end`."""
    if not abs((end - start) / step) <= MOST_COUNTED:
        raise ValueError(f"a range from {start} to {end} by {step}")
    return jnp.arange(start, end, step, dtype)


def product_and_sum(c: Array, a: Array, b: Array, *, beta: Number = 1, alpha: Number = 1) -> Array:
    """beta c + alpha (a @ b)."""
    product = a @ b if alpha == 1 else alpha * (a @ b)
    return product + (c if beta == 1 else beta * c)


def cast(a: Array, *, dtype: Any = None) -> Array:
    """The same numbers, perhaps of another type."""
    return a if dtype is None else a.astype(dtype)


def elu(a: Array, alpha: Number = 1, scale: Number = 1, input_scale: Number = 1) -> Array:
    """Exponential below 0, and linear above."""
    below = alpha * jnp.expm1(jnp.where(a > 0, 0, a) * input_scale)
    return scale * jnp.where(a > 0, a, below)


def softplus(a: Array, beta: Number = 1, threshold: Number = 20) -> Array:
    """log(1 + exp(beta a)) / beta, linear where beta a is above the threshold."""
    return jnp.where(a * beta > threshold, a, jax.nn.softplus(a * beta) / beta)


def gelu(a: Array, *, approximate: str = "none") -> Array:
    """`a` times the normal distribution function, or its form by tanh."""
    if approximate == "tanh":
        return jax.nn.gelu(a, approximate=True)
    return a * 0.5 * (1 + lax.erf(a * 0.5**0.5))


def _axes(a: Array, dim: Any) -> tuple[int, ...]:
    """Axes as NumPy takes them; none, or an empty list, are all."""
    if dim is None or dim == []:
        return tuple(range(a.ndim))
    return tuple(dim) if isinstance(dim, Sequence) else (dim,)


def _part(a: Array, dim: int, start: Any, end: Any, step: int) -> tuple[slice, ...]:
    index = [slice(None)] * a.ndim
    index[dim] = slice(start, None if end is not None and end >= END else end, step)
    return tuple(index)


def _places(indices: Sequence[Array | None]) -> tuple[Any, ...]:
    return tuple(slice(None) if index is None else index for index in indices)
