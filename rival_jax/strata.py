"""Images in their classes, for bootstrap resampling and the jackknife."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax.blocks import blocks_of, parts
from rival_jax.pools import Pools
from rival_jax.types import Array

Statistic = Callable[[Array], Array]
Change = tuple[list[int], np.ndarray]  # classes, and new values [r, v] of all their means
Bounds = tuple[float | np.ndarray, float | np.ndarray]  # for all values, or [*v] each
Averages = Callable[[np.ndarray, Any], np.ndarray]
"""Of means [r, k, v] of some classes, and their positions: what they add to averages [r, a, w]."""
WAYS = 64  # ways to put columns at their bounds
SLACK = 1e-5  # how far rounding may take a value beyond its bounds
SIZE = 256  # sets of class means evaluated at once, at most
CHUNK = 1 << 23  # numbers held at once as class means
_MOVED = 1 << 12  # class means moved at once


class Strata:
    """A study's images by class, and a statistic of the class means.

    Attributes:
      blocks: see `blocks.Block`, by their place among all; together they have every class once.
      freedom: images of each block's pool, minus one [all blocks].
      sizes: images of each class [c].
      count: all images.
      means: float64 [c, v], one per class.
      centre: the same, with collapsed classes replaced by the mean of their pool: the centre of the
        resamples.
      shape: the statistic's.
      low, high: [v], between which an image's values must lie: the given bounds, else 0 and 1, or
        -1 and 1, for columns within them, else a column's minimum and maximum.
      bounded: whether all columns have bounds.
      constant: bool [v], columns that do not depend on the images; none at first.
      averages: if the statistic takes averages over classes [a, w] in place of class means, which
        is much faster with many classes.
      states: with averages, the generator's before the draws of every block in the last
        `resampled`.
    """

    def __init__(
        self,
        statistic: Statistic,
        images: Pools,
        bounds: Bounds | None = None,
        averages: Averages | None = None,
        columns: tuple[int, ...] | None = None,
    ):
        self.images, self.sizes = images, images.sizes
        self._columns = (images.width,) if columns is None else columns
        least, most = np.full(images.width, np.inf), np.full(images.width, -np.inf)
        means = []
        for some in images:
            if not np.isfinite(some).all():
                raise ValueError("values: got NaN or infinity; drop those images first")
            least, most = np.minimum(least, some.min(0)), np.maximum(most, some.max(0))
            means.append(some.mean(0))
        self.means = np.stack(means)
        self.low, self.high, self.bounded = _bounds(least, most, bounds)
        self.constant = np.zeros(images.width, bool)
        self.blocks = dict(enumerate(blocks_of(images)))
        self.freedom = np.array([block.size - 1 for block in self.blocks.values()])
        self.count = int(self.sizes.sum())
        self.centre = self.means.copy()
        for block in self.blocks.values():
            if block.collapsed:
                self.centre[list(block.classes)] = block.images().mean(0)
        self._mapped = jax.jit(jax.vmap(statistic))
        self.averages, shape = averages, (len(self.images), *self._columns)
        if averages is not None:
            shape = averages(self.means[None], slice(None)).shape[1:]
            self._columns = shape[1:]
        self._rows = shape[0]
        self.shape = jax.eval_shape(statistic, jax.ShapeDtypeStruct(shape, jnp.float32)).shape
        self.step = max(1, CHUNK // math.prod(shape))  # inputs of the statistic held at once
        self.size = min(SIZE, self.step)  # evaluated at once: fixed, for a single program

    @classmethod
    def of(
        cls,
        statistic: Statistic,
        values: np.ndarray,
        labels: np.ndarray,
        bounds: Bounds | None = None,
    ) -> Strata:
        """Of values [n, *v] that are held, and each image's class [n]."""
        values, labels = np.asarray(values), np.asarray(labels)
        if len(values) != len(labels):
            raise ValueError(f"labels: got {labels.shape}, expected ({len(values)},)")
        if not len(values):
            raise ValueError("values: got no image, expected at least one")
        flat = values.reshape(len(values), -1).astype(np.float64, copy=False)
        flat = flat[np.argsort(labels, kind="stable")]
        sizes = np.unique(labels, return_counts=True)[1]
        pools = Pools(sizes, flat.shape[1], flat.__getitem__)
        return cls(statistic, pools, bounds, columns=values.shape[1:])

    def evaluate(self, means: np.ndarray) -> np.ndarray:
        """The statistic of several sets of class means: [r, c, v] -> [r, k]."""
        return self._evaluated(self.averages(means, slice(None)) if self.averages else means)

    def _evaluated(self, means: np.ndarray) -> np.ndarray:
        """The same for the statistic's own input, [r, c, v] or [r, a, w]."""
        found = []
        for start in range(0, len(means), self.size):
            some = means[start : start + self.size]
            padded = np.empty((self.size, *means.shape[1:]), np.float32)
            padded[: len(some)], padded[len(some) :] = some, some[0]
            found.append(self._values(padded)[: len(some)])
        return np.concatenate(found)

    def _values(self, means: np.ndarray) -> np.ndarray:
        """The statistic for `size` inputs, float32."""
        shaped = means.reshape(*means.shape[:2], *self._columns)
        return np.asarray(self._mapped(shaped), np.float64).reshape(self.size, -1)

    def moved(self, base: np.ndarray, changes: Iterable[Change]) -> Iterator[np.ndarray]:
        """The statistic with some class means moved: [places, k] for every change in turn."""
        waiting: list[Change] = []
        count = 0
        for change in changes:
            waiting.append(change)
            count += len(change[1])
            if count >= min(self.step, _MOVED):
                yield from self._moved(base, waiting)
                waiting, count = [], 0
        if waiting:
            yield from self._moved(base, waiting)

    def _moved(self, base: np.ndarray, changes: Sequence[Change]) -> list[np.ndarray]:
        ends = np.cumsum([len(places) for _, places in changes])[:-1]
        if self.averages is not None:
            whole, found = self.averages(base[None], slice(None)), []
            for classes, places in changes:
                rest = whole - self.averages(base[None, classes], classes)
                for part in parts(len(places), CHUNK // base[classes].size):
                    moved = np.repeat(places[part, None], len(classes), 1)
                    found.append(rest + self.averages(moved, classes))
            return np.split(self._evaluated(np.concatenate(found)), ends)
        rows = [(classes, place) for classes, places in changes for place in places]
        here, found = base.astype(np.float32), []
        for start in range(0, len(rows), self.size):
            some = rows[start : start + self.size]
            means = np.empty((self.size, *base.shape), np.float32)
            means[:] = here
            for row, (classes, place) in enumerate(some):
                means[row, classes] = place
            found.append(self._values(means)[: len(some)])
        return np.split(np.concatenate(found), ends)

    def resampled(self, resamples: int, seed: int) -> np.ndarray:
        """The statistic on resamples [resamples, k]."""
        rng, found = np.random.Generator(np.random.PCG64(seed)), []
        if self.averages is not None:  # of all resamples: they take little room
            return self._evaluated(self._averaged(self.averages, resamples, rng))
        for some in parts(resamples, self.step):
            count = some.stop - some.start
            means = np.empty((count, *self.means.shape))
            for block in self.blocks.values():
                for part, drawn in block.drawn(count, rng):
                    means[part, list(block.classes)] = drawn
            found.append(self._evaluated(means))
        return np.concatenate(found)

    def _averaged(self, averages: Averages, resamples: int, rng: np.random.Generator) -> np.ndarray:
        """Averages of every resample, block by block, [resamples, a, w]."""
        means = np.zeros((resamples, self._rows, math.prod(self._columns)))
        self.states: list[Mapping[str, Any]] = []
        for block in self.blocks.values():
            self.states.append(rng.bit_generator.state)
            for part, drawn in block.drawn(resamples, rng):
                means[part] += averages(drawn, list(block.classes))
        return means

    def influences(self) -> Iterator[tuple[int, np.ndarray]]:
        """The jackknife's influences [p, k] for every block with a pool of two images or more.

        Before them, the block's place.
        """
        several = {place: block for place, block in self.blocks.items() if block.size > 1}
        pools = ((list(block.classes), block.images()) for block in several.values())
        without = ((classes, (p.sum(0) - p) / (len(p) - 1)) for classes, p in pools)
        for place, values in zip(several, self.moved(self.centre, without), strict=True):
            yield place, (len(values) - 1) * (values.mean(0) - values)

    def pools(self) -> Iterator[np.ndarray]:
        """The values of each class's images in turn."""
        return iter(self.images)

    @functools.cached_property
    def weights(self) -> np.ndarray:
        """Each class's weight in each output: [c, k], summing to 1 over classes, or 0.

        Found by moving the means of each class in turn by the same steps, one per column, up and
        down: the outputs need not vary.
        """
        share = 0.25 + 0.5 * np.random.Generator(np.random.PCG64(0)).random(len(self.low))
        step = share * np.maximum(self.high - self.low, 1) / 8
        step[self.constant] = 0
        here = self.evaluate(self.means[None])[0]
        ways = [([c], mean + np.stack([step, -step])) for c, mean in enumerate(self.means)]
        moved = self.moved(self.means, ways)
        response = np.stack([np.abs(values - here).max(0) for values in moved])
        response[response < 1e-6] = 0
        total = response.sum(0)
        return response / np.where(total > 0, total, 1)

    def extremes(self, share: float) -> np.ndarray:
        """The statistic [w, k] with a share of every class's images at their bounds.

        Every column of values is at its low bound, at its high bound or unchanged, in `WAYS` ways.
        """
        columns = np.arange(self.means.shape[1])
        ways = np.random.Generator(np.random.PCG64(0)).integers(3, size=(WAYS, len(columns)))
        ways[:2] = [[0], [1]]
        ends = [np.broadcast_to(end, self.means.shape) for end in (self.low, self.high)]
        places = np.stack([*ends, self.means])
        found = []
        for some in parts(WAYS, CHUNK // self.means.size):
            chosen = np.stack([places[way, :, columns].T for way in ways[some]])
            found.append(self.evaluate(self.means + share * (chosen - self.means)))
        return np.concatenate(found)


def _bounds(
    least: np.ndarray, most: np.ndarray, given: Bounds | None
) -> tuple[np.ndarray, np.ndarray, bool]:
    if given is not None:
        low, high = (np.broadcast_to(np.ravel(end), least.shape) for end in given)
        if (least < low - SLACK).any() or (most > high + SLACK).any():
            raise ValueError(
                f"values: got {least.min():g} to {most.max():g}, expected {low.min():g} to "
                f"{high.max():g}"
            )
        return low, high, True
    inside = (least >= -1 - SLACK) & (most <= 1 + SLACK)
    low = np.where(inside, np.where(least < -SLACK, -1.0, 0.0), least)
    return low, np.where(inside, 1.0, most), bool(inside.all())
