"""What there is for each of many images, made when it is needed: numbers and names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from rival_jax.named import Axis, Counts, Key, Named

SOME = 4096  # names made at once

Rows = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Of some images, int [r]: values [r, ...], NaN for none, and how many images each is a mean of, in
the same shape or in one that broadcasts to it."""


@dataclasses.dataclass(frozen=True, init=False)
class Made(Named):
    """Values of images that are never all held, unless one asks for `values` or `counts`."""

    rows: Rows

    def __init__(self, axes: Sequence[Axis], rows: Rows):
        """The first axis is "example"; see `Rows`."""
        object.__setattr__(self, "axes", tuple(axes))
        object.__setattr__(self, "rows", rows)

    @property
    def values(self) -> np.ndarray:
        """Those of all images."""
        return rows_of(self, np.arange(len(self.axes[0].keys)))[0]

    @property
    def counts(self) -> Counts:
        """Those of all images."""
        weight = rows_of(self, np.arange(len(self.axes[0].keys)))[1]
        some = (weight > 0).astype(np.int8)
        return Counts(weight, np.broadcast_to(np.int8(1), some.shape), some, some)


def rows_of(one: Named, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values float64 [r, ...] of some images [r], and of how many each is a mean; 0 without one."""
    if isinstance(one, Made):
        values, many = one.rows(images)
    else:
        values, many = one.values[images], one.counts.images[images]
    values = np.asarray(values, np.float64)
    return values, np.where(np.isfinite(values), many, np.int8(0))


class Names(Sequence[Key]):
    """Keys of an axis of many images: each is (name,); all names are held in one array."""

    def __init__(self, names: pa.Array):
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, place):
        """One key, or those of a slice."""
        if isinstance(place, slice):
            return tuple((name,) for name in self.names[place].to_pylist())
        return (self.names[int(place)].as_py(),)

    def __iter__(self) -> Iterator[Key]:
        for start in range(0, len(self), SOME):
            yield from self[start : start + SOME]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Names):
            return self is other or self.names.equals(other.names)
        return isinstance(other, tuple) and tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))
