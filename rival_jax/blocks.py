"""Blocks of a bootstrap: classes with means drawn from one pool of images."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from rival_jax.pools import Pools

POOL = 6  # least images in the pool of collapsed classes
DRAWS = 1 << 19  # images drawn at once
PRODUCT = 1 << 18  # multiplications that BLAS leaves to one thread: others would wait for work
LEAST = 16  # rows of a product, all the same
HELD = 1 << 20  # numbers of classes of one image held at once


class Block(NamedTuple):
    """Classes with means drawn from one pool of images.

    A class of n images is its own pool, and its mean is over n - 1 images drawn from it: the mean
    of n would have (n - 1) / n of the variance (Rao and Wu, JASA 1988: their rescaling is 1 for n -
    1 draws, and no mean leaves the range of the images).

    Variation within a class of one image is unobservable. All k such classes are collapsed into one
    pool (Cochran, "Sampling Techniques", 1977, section 5A.12), with the images of the smallest
    other classes while it has fewer than `POOL`, and each gets the value of a drawn image. If the
    pool has no other images there are k - 1 draws, so that two classes share one: the variance of
    their sum is (k + 2) / k of the observed one, k / (k - 1) being unbiased. Differences between
    collapsed classes count as variation, so intervals tend to be too wide.
    """

    classes: tuple[int, ...]
    images: Callable[[], np.ndarray]  # the pool, float64 [size, v]
    size: int
    draws: int
    turns: tuple[int, ...] = ()  # of classes of one image: the place of each among all of them
    collapsed: int = 0  # how many those are; 0 for any other class

    def of(self, classes: Mapping[int, int]) -> Block | None:
        """The same draws for some of the classes, at other positions; None if it has none."""
        if not self.collapsed:
            place = classes.get(self.classes[0])
            return None if place is None else self._replace(classes=(place,))
        kept = [(classes[c], turn) for turn, c in enumerate(self.classes) if c in classes]
        places, turns = zip(*kept, strict=True) if kept else ((), ())
        return self._replace(classes=places, turns=turns) if kept else None

    def drawn(self, resamples: int, rng: np.random.Generator) -> Iterator[tuple[slice, np.ndarray]]:
        """Means [r, len(classes), v], a part of the resamples at a time, with its place."""
        pool = self.images()
        if not self.collapsed:
            for part in parts(resamples, DRAWS // self.size):
                yield part, self._means(self._counts(part.stop - part.start, rng), pool)[:, None]
            return
        chosen = rng.integers(self.size, size=(resamples, self.draws))
        twice = rng.integers(self.collapsed, size=(resamples, 1))
        turn = (np.array(self.turns) + twice) % self.collapsed % self.draws
        chosen = np.take_along_axis(chosen, turn, 1)
        for part in parts(resamples, HELD // (len(self.classes) * pool.shape[1])):
            yield part, pool[chosen[part]]

    def _means(self, counts: np.ndarray, pool: np.ndarray) -> np.ndarray:
        """Means [r, v] of images drawn so often, `counts` [r, size]."""
        means = np.empty((len(counts), pool.shape[1]))
        for some in parts(len(counts), max(LEAST, PRODUCT // pool.size)):
            np.matmul(counts[some], pool, out=means[some])
        means /= self.draws
        return means

    def _counts(self, resamples: int, rng: np.random.Generator) -> np.ndarray:
        """How often each image is drawn, float64 [resamples, size]."""
        chosen = rng.integers(self.size, size=(resamples, self.draws))
        chosen += self.size * np.arange(resamples)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=self.size * resamples)
        return counts.reshape(resamples, self.size).astype(np.float64)


def blocks_of(images: Pools) -> list[Block]:
    """The blocks of all classes: one each, and one together for classes of one image."""
    sizes = images.sizes.tolist()
    single = tuple(c for c, size in enumerate(sizes) if size == 1)
    several = [c for c, size in enumerate(sizes) if size > 1]
    made = functools.partial(functools.partial, images.__getitem__)
    blocks = [Block((c,), made(c), sizes[c], sizes[c] - 1) for c in several]
    if single:
        pool = np.concatenate([images[c] for c in single])
        for c in sorted(several, key=sizes.__getitem__):
            if len(pool) < POOL:
                pool = np.concatenate([pool, images[c]])
        alike = len(single)
        draws = alike if len(pool) > alike else max(1, alike - 1)
        blocks.append(Block(single, lambda: pool, len(pool), draws, tuple(range(alike)), alike))
    return blocks


def parts(count: int, most: int) -> Iterator[slice]:
    """All of `count` places, at least one and at most `most` at a time."""
    step = max(1, most)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))
