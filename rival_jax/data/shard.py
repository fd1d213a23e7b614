"""Photos decoded and resized on demand, a few at a time: a data set is never held whole."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import numpy as np

from rival_jax.data.checks import CURE, report
from rival_jax.data.source import Source
from rival_jax.data.transforms import resize_photo
from rival_jax.runtime import hosts
from rival_jax.types import Batch, Geometry

THREADS = min(16, os.cpu_count() or 1)
RED = (255, 0, 0)  # required by ObjectNet's terms


def threaded(
    read: Callable[[int], Any], rows: Sequence[int], threads: int = THREADS, ahead: int = 0
) -> Iterator[Any]:
    """`read` of every row, in order.

    Besides a few for each thread, `ahead` more are read in advance: with a whole batch, decoding
    goes on while a network computes the one before.
    """
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads + ahead)
    iterator = iter(grain.MapDataset.source(rows).map(read).to_iter_dataset(options))
    try:
        yield from iterator
    finally:
        iterator.close()


class Shard:
    """Some photos of a source, without masks, for several networks with one geometry.

    Decoded once, in threads, while the first network runs; the others find the pixels there. With
    several hosts each decodes its own part.
    """

    def __init__(
        self, source: Source, positions: np.ndarray, geometry: Geometry, *, on_bad: str = "error"
    ):
        """Reads nothing yet.

        Args:
          source: see `Source`; if it is `resized`, photos are taken as they are.
          positions: places in the source, int [n].
          geometry: the networks'.
          on_bad: "error", or "skip" to leave out photos that cannot be read.
        """
        self.source, self.positions, self.geometry = source, positions, geometry
        self.skip = on_bad == "skip"
        self.mine = hosts.shares(len(positions))[hosts.index()]
        self._read: list[np.ndarray | str] = []
        # Of the source alone: what knew this object would keep its pixels until a collection.
        self._pixels = functools.partial(_pixels, source, geometry)
        self._rest = threaded(self._pixels, positions[self.mine.start : self.mine.stop].tolist())

    def check(self) -> None:
        """Reads the first photo.

        Raises:
          ValueError: if it cannot be used.
        """
        first = self._pixels(int(self.positions[0]))
        if isinstance(first, str) and not self.skip:
            raise ValueError(report([first], 1, "photos", f"drop it or pass {CURE}"))

    @property
    def digest(self) -> str:
        """Hex digits of a hash of the photos' names and labels, and of the first one's pixels."""
        source, rows = self.source, self.positions.tolist()
        told = [(source.names[i], int(source.labels[i])) for i in rows]
        state = hashlib.blake2b(repr((told, self.geometry)).encode(), digest_size=8)
        first = self._pixels(rows[0])
        state.update(first.encode() if isinstance(first, str) else first.tobytes())
        return state.hexdigest()

    def batches(self, size: int) -> Iterator[Batch]:
        """`image` uint8 [b, h, w, 3] and `index` int32 [b], places in `positions`; padded with -1.

        Every host has equally many batches of equal size.

        Args:
          size: images per batch, over all hosts.

        Raises:
          ValueError: naming all photos of this host's part that cannot be read.
        """
        size = -(-size // hosts.count())
        longest = max(map(len, hosts.shares(len(self.positions))))
        for start in range(0, longest, size):
            image = np.zeros((size, *self.geometry.size, 3), np.uint8)
            index = np.full(size, -1, np.int32)
            for place, row in enumerate(self.mine[start : start + size]):
                pixels = self._row(row - self.mine.start)
                if not isinstance(pixels, str):
                    image[place], index[place] = pixels, row
            yield Batch(image=image, index=index)

    def _row(self, place: int) -> np.ndarray | str:
        while len(self._read) <= place:
            self._read.append(next(self._rest))
            if isinstance(self._read[-1], str) and not self.skip:
                every = [*self._read, *self._rest]
                faults = [pixels for pixels in every if isinstance(pixels, str)]
                cure = f"drop {'it' if len(faults) == 1 else 'them'} or pass {CURE}"
                raise ValueError(report(faults, len(every), "photos", cure))
        return self._read[place]


def _pixels(source: Source, geometry: Geometry, position: int) -> np.ndarray | str:
    """uint8 [h, w, 3] of a photo, or what is wrong with it.

    Raises ValueError for one that must not be resized and has another size.
    """
    try:
        photo = source[position]["image"]
    except (ValueError, OSError) as error:
        return str(error)
    if not getattr(source, "resized", False):
        return resize_photo(photo, geometry)
    if photo.size != geometry.size[::-1]:
        name, (height, width) = source.names[position], geometry.size
        raise ValueError(
            f"photo {name} is {photo.width} x {photo.height} pixels and must not be resized, "
            f"the network takes {width} x {height}: leave out this set or the network"
        )
    return np.asarray(photo)


def framed(source: Source, position: int, geometry: Geometry) -> np.ndarray:
    """A photo to be shown, uint8 [h, w, 3]; with a red border if its terms require one."""
    picture = resize_photo(source[position]["image"], geometry).copy()
    if getattr(source, "evaluation_only", False):
        for rim in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
            rim[:] = RED
    return picture
