"""A subset of a source's examples, as a source of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rival_jax.data.source import Item, Source

HELD_IN_MEMORY = 512 * 2**20  # bytes of decoded photos; larger sets are decoded again in each pass


class Chosen:
    """Some examples of a source. Decoded photos are kept while memory allows.

    Args:
      positions: in the source.
      classes: the source's and perhaps more, in any order; default: the source's.
    """

    def __init__(self, source: Source, positions: Sequence[int], classes: tuple[str, ...] = ()):
        self._source, self._positions = source, positions
        self.classes = classes or source.classes
        self.class_wnids = None if classes else source.class_wnids
        self.notices: tuple[str, ...] = getattr(source, "notices", ())
        self.names = [source.names[position] for position in positions]
        place = np.array([self.classes.index(name) for name in source.classes], np.int32)
        self.labels = place[np.asarray(source.labels)[list(positions)]]
        self._kept: dict[int, Item] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, position: int) -> Item:
        if position in self._kept:
            return self._kept[position]
        item = self._source[self._positions[position]]
        self._bytes += 4 * item["image"].width * item["image"].height
        if self._bytes <= HELD_IN_MEMORY:
            self._kept[position] = item
        return item
