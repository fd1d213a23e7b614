"""Images' values, class by class, made when they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

HELD = 1 << 19  # numbers made and held at once, or those of one class if that has more


class Pools:
    """The values of each class's images, float64 [n, v]; only those of a few classes are held.

    Attributes:
      sizes: images of each class [c].
      width: v.
    """

    def __init__(self, sizes: np.ndarray, width: int, make: Callable[[slice], np.ndarray]):
        """Makes nothing yet.

        Args:
          sizes: int [c], at least 1 each.
          width: numbers of an image.
          make: values float64 [rows, width] of some images, which are in the order of classes.
        """
        self.sizes, self.width, self._make = sizes, width, make
        self._ends = np.cumsum(sizes)
        self._first, self._values = 0, np.empty((0, width))

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, c: int) -> np.ndarray:
        """The values of class `c`, to be read only."""
        start, end = int(self._ends[c] - self.sizes[c]), int(self._ends[c])
        if not self._first <= start < end <= self._first + len(self._values):
            self._values = self._values[:0]  # before others are made
            most = max(end, start + HELD // max(self.width, 1))
            last = int(self._ends[np.searchsorted(self._ends, most, side="right") - 1])
            self._first, self._values = start, self._make(slice(start, last))
        return self._values[start - self._first : end - self._first]
