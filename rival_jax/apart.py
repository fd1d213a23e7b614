"""Statistics of many classes, of numbers that are one class's each or of the mean over classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np

from rival_jax import significance
from rival_jax.pools import Pools
from rival_jax.significance import Finding
from rival_jax.strata import CHUNK, SIZE, Bounds, Strata
from rival_jax.types import Array

TOGETHER = 16  # classes whose numbers are computed together
ROWS = TOGETHER * SIZE  # class means evaluated at once: fixed, for a single program

Numbers = Callable[[Array], tuple[Array, Array]]
"""Of one class's means [1, v]: numbers of that class [j]; and numbers [k] of all classes, if these
are the means over classes."""


class Some(Strata):
    """Numbers of some of the classes alone, resampled as if all numbers were computed."""

    def __init__(self, whole: Strata, of_class: Callable, numbers: int, classes: Sequence[int]):
        """Computes nothing yet.

        Args:
          whole: the strata of all classes, whose `resampled` has been called.
          of_class: of class means [ROWS, v] -> [ROWS, numbers].
          classes: either all that are collapsed, see `Block`, or others.
        """
        mine = list(classes)
        self.whole, self.classes, self.averages, self._mapped = whole, mine, None, of_class
        self.sizes, self.means, self.centre = (
            array[mine] for array in (whole.sizes, whole.means, whole.centre)
        )
        self.low, self.high, self.constant = whole.low, whole.high, whole.constant
        self.bounded, self.freedom, self.count = whole.bounded, whole.freedom, whole.count
        place = {c: position for position, c in enumerate(mine)}
        self.blocks = {
            number: block._replace(classes=tuple(place[c] for c in block.classes))
            for number, block in whole.blocks.items()
            if block.classes[0] in place
        }
        self.shape = (len(mine) * numbers,)
        self.step = max(1, CHUNK // self.means.size)
        self.size = min(SIZE, self.step)

    def pools(self):
        """The values of each class's images in turn."""
        return map(self.whole.images.__getitem__, self.classes)

    def resampled(self, resamples: int, seed: int) -> np.ndarray:
        """Of the same resamples as the whole's, which must have been as many, of the same seed."""
        rng, found = np.random.Generator(np.random.PCG64(seed)), []
        for step, start in enumerate(range(0, resamples, self.whole.step)):
            count = min(self.whole.step, resamples - start)
            means = np.empty((count, *self.means.shape))
            for number, block in self.blocks.items():
                rng.bit_generator.state = self.whole.states[step * len(self.freedom) + number]
                means[:, list(block.classes)] = block.drawn(count, rng)
            found.append(self._evaluated(means))
        return np.concatenate(found)

    def _values(self, means: np.ndarray) -> np.ndarray:
        rows = means.reshape(-1, means.shape[-1])
        padded = np.concatenate([rows, np.repeat(rows[:1], -len(rows) % ROWS, 0)])
        found = [self._mapped(padded[start : start + ROWS]) for start in range(0, len(rows), ROWS)]
        every = np.concatenate([np.asarray(part, np.float64) for part in found])
        return every[: len(rows)].reshape(len(means), -1)


def found(
    numbers: Numbers,
    images: Pools,
    bounds: Bounds | None,
    counted: tuple[np.ndarray, np.ndarray],
    **options,
) -> tuple[Finding, Finding]:
    """`significance.found` without all numbers of all classes for each image that is left out.

    An image changes the mean of its own class, and the mean over classes by a share of that. The
    results are the same; draws of random numbers too.

    Args:
      images, bounds: see `Strata`; no image lacks a value.
      counted: images behind each number, [c, j] and [k].
      options: of `statistics.interval`.

    Returns:
      Of numbers of classes, arrays [c, j], and of those of all classes [k].
    """
    mean = np.full((1, len(images)), 1 / len(images))
    whole = Strata(lambda means: numbers(means)[1], images, bounds, mean)
    overall = significance.found(whole, images=counted[1], **options)
    of_class = jax.jit(jax.vmap(lambda means: numbers(means[None])[0]))
    several = [c for c, size in enumerate(images.sizes) if size > 1]
    parts = [several[start : start + TOGETHER] for start in range(0, len(several), TOGETHER)]
    if single := [c for c, size in enumerate(images.sizes) if size == 1]:
        parts.append(single)
    found = Finding(*(np.empty(counted[0].shape) for _ in Finding._fields))
    for classes in parts:
        some = Some(whole, of_class, counted[0].shape[1], classes)
        ends = significance.found(some, images=counted[0][classes].ravel(), **options)
        for array, end in zip(found, ends, strict=True):
            array[classes] = end.reshape(len(classes), -1)
    return found, overall
