"""Images in their classes, as a bootstrap draws them and a jackknife leaves them out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax.types import Array

Statistic = Callable[[Array], Array]
Bounds = tuple[float | np.ndarray, float | np.ndarray]  # for all values, or [*v] each
WAYS = 64  # to put columns at their bounds
SLACK = 1e-5  # that rounding may take a value beyond its bounds
POOL = 6  # images that classes of one are collapsed with, at least
SIZES = (16, 256, 2048)  # of sets evaluated at once, few since the statistic is compiled for each
_CHUNK = 1 << 23  # class means held at once, numbers


class Block(NamedTuple):
    """Classes whose means are drawn from one pool of images.

    A class of n images is its own pool, and its mean that of n - 1 images drawn from it: the mean
    of n would vary by too little, by (n - 1) / n (Rao and Wu, JASA 1988: their rescaling is 1 for
    n - 1 draws, and no mean leaves the range of the images).

    What varies within a class of one image cannot be seen. All k such classes are collapsed into
    one pool (Cochran, "Sampling Techniques", 1977, section 5A.12), with the images of the smallest
    other classes while it has fewer than `POOL`, and each gets the value of a drawn image. Where
    the pool has no other images there are k - 1 draws, so that two classes share one: their sum
    varies by (k + 2) / k of what is seen, k / (k - 1) being unbiased. Differences between collapsed
    classes count as variation: intervals err on the wide side.
    """

    classes: tuple[int, ...]
    pool: np.ndarray  # float64 [p, v]
    draws: int
    collapsed: bool  # whether these are classes of one image

    def drawn(self, resamples: int, rng: np.random.Generator) -> np.ndarray:
        """Means [resamples, len(classes), v] of one resample after another."""
        size = len(self.pool)
        if not self.collapsed:
            chosen = rng.integers(size, size=(resamples, self.draws))
            places = chosen + size * np.arange(resamples)[:, None]
            counts = np.bincount(places.ravel(), minlength=size * resamples)
            return (counts.reshape(resamples, size) @ self.pool / self.draws)[:, None]
        chosen = rng.integers(size, size=(resamples, self.draws))
        twice = rng.integers(len(self.classes), size=(resamples, 1))
        turn = (np.arange(len(self.classes)) + twice) % len(self.classes) % self.draws
        return self.pool[np.take_along_axis(chosen, turn, 1)]


class Strata:
    """The images of a study by class, and a statistic of the class means.

    Attributes:
      blocks: see `Block`; together they have every class once.
      sizes: images of each class [c].
      means: float64 [c, v], of every class.
      centre: the same with those of collapsed classes replaced by the mean of their pool, which is
        what resamples vary about.
      shape: of the statistic.
      low, high: [v], between which an image's values must lie: the bounds that are given, else
        0 and 1, or -1 and 1, for columns that are there, else a column's smallest and largest.
      bounded: whether there are bounds for all columns.
      constant: bool [v], columns that are the same whatever the images are; none are at first.
    """

    def __init__(
        self,
        statistic: Statistic,
        values: np.ndarray,
        labels: np.ndarray,
        bounds: Bounds | None = None,
    ):
        values, labels = np.asarray(values), np.asarray(labels)
        if len(values) != len(labels):
            raise ValueError(f"labels: got {labels.shape}, expected ({len(values)},)")
        if not len(values):
            raise ValueError("values: got no image, expected at least one")
        if not np.isfinite(values).all():
            raise ValueError("values: got NaN or infinity; drop those images first")
        flat = values.reshape(len(values), -1).astype(np.float64)
        self.low, self.high, self.bounded = _bounds(flat, bounds)
        self.constant = np.zeros(flat.shape[1], bool)
        self.images = [flat[labels == label] for label in np.unique(labels)]
        self.sizes = np.array([len(images) for images in self.images])
        self.means = np.stack([images.mean(0) for images in self.images])
        self.blocks = _blocks(self.images)
        self.centre = self.means.copy()
        for block in self.blocks:
            if block.collapsed:
                self.centre[list(block.classes)] = block.pool.mean(0)
        self._columns = values.shape[1:]
        self._mapped = jax.jit(jax.vmap(statistic))
        argument = jax.ShapeDtypeStruct((len(self.images), *self._columns), jnp.float32)
        self.shape = jax.eval_shape(statistic, argument).shape
        self.step = max(1, _CHUNK // self.means.size)  # evaluations at once

    def evaluate(self, means: np.ndarray) -> np.ndarray:
        """The statistic of several sets of class means: [r, c, v] -> [r, k]."""
        wanted = next((size for size in SIZES if size >= len(means)), len(means))
        padded = np.concatenate([means, np.repeat(means[:1], wanted - len(means), axis=0)])
        shaped = padded.reshape(wanted, means.shape[1], *self._columns)
        found = self._mapped(jnp.asarray(shaped, jnp.float32))
        return np.asarray(found, np.float64).reshape(wanted, -1)[: len(means)]

    def moved(self, base: np.ndarray, classes: list[int], places: np.ndarray) -> np.ndarray:
        """The statistic [r, k] with the means of `classes` at each of `places` [r, v] instead."""
        found = []
        for start in range(0, len(places), self.step):
            some = places[start : start + self.step]
            means = np.repeat(base[None], len(some), axis=0)
            means[:, classes] = some[:, None]
            found.append(self.evaluate(means))
        return np.concatenate(found)

    def resampled(self, resamples: int, seed: int) -> np.ndarray:
        """The statistic of resamples [resamples, k]."""
        rng = np.random.Generator(np.random.PCG64(seed))
        found = []
        for start in range(0, resamples, self.step):
            count = min(self.step, resamples - start)
            means = np.empty((count, *self.means.shape))
            for block in self.blocks:
                means[:, list(block.classes)] = block.drawn(count, rng)
            found.append(self.evaluate(means))
        return np.concatenate(found)

    def influences(self) -> Iterator[np.ndarray]:
        """Of every block whose pool has two images or more: the jackknife's influences [p, k]."""
        for block in self.blocks:
            size = len(block.pool)
            if size > 1:
                pool_mean = block.pool.mean(0)
                without = (pool_mean * size - block.pool) / (size - 1)
                values = self.moved(self.centre, list(block.classes), without)
                yield (size - 1) * (values.mean(0) - values)

    @functools.cached_property
    def weights(self) -> np.ndarray:
        """How much each class counts in each output: [c, k], summing to 1 over classes, or 0.

        Found by moving the means of one class after another by the same steps, one for each column,
        up and down: the outputs need not vary.
        """
        share = 0.25 + 0.5 * np.random.Generator(np.random.PCG64(0)).random(len(self.low))
        step = share * np.maximum(self.high - self.low, 1) / 8
        step[self.constant] = 0
        here = self.evaluate(self.means[None])[0]
        moved = [
            self.moved(self.means, [c], mean + np.stack([step, -step]))
            for c, mean in enumerate(self.means)
        ]
        response = np.abs(np.stack(moved) - here).max(1)
        response[response < 1e-6] = 0
        total = response.sum(0)
        return response / np.where(total > 0, total, 1)

    def extremes(self, share: float) -> np.ndarray:
        """The statistic [w, k] where a share of every class's images is at its bounds.

        Every column of values is at its low one, at its high one or as it is, in `WAYS` ways.
        """
        columns = np.arange(self.means.shape[1])
        ways = np.random.Generator(np.random.PCG64(0)).integers(3, size=(WAYS, len(columns)))
        ways[:2] = [[0], [1]]
        ends = [np.broadcast_to(end, self.means.shape) for end in (self.low, self.high)]
        places = np.stack([*ends, self.means])
        found = []
        for start in range(0, WAYS, self.step):
            some = ways[start : start + self.step]
            chosen = np.stack([places[way, :, columns].T for way in some])
            found.append(self.evaluate(self.means + share * (chosen - self.means)))
        return np.concatenate(found)


def _bounds(values: np.ndarray, given: Bounds | None) -> tuple[np.ndarray, np.ndarray, bool]:
    least, most = values.min(0), values.max(0)
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


def _blocks(images: list[np.ndarray]) -> list[Block]:
    single = tuple(c for c, some in enumerate(images) if len(some) == 1)
    several = [(c, some) for c, some in enumerate(images) if len(some) > 1]
    blocks = [Block((c,), some, len(some) - 1, collapsed=False) for c, some in several]
    if single:
        pool = np.concatenate([images[c] for c in single])
        for _, some in sorted(several, key=lambda item: len(item[1])):
            if len(pool) < POOL:
                pool = np.concatenate([pool, some])
        draws = len(single) if len(pool) > len(single) else max(1, len(single) - 1)
        blocks.append(Block(single, pool, draws, collapsed=True))
    return blocks
