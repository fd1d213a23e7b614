"""Statistics of many classes, of numbers that are one class's each or of the mean over classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np

from rival_jax import significance
from rival_jax.significance import Finding
from rival_jax.strata import CHUNK, SIZE, Strata
from rival_jax.types import Array

TOGETHER = 16  # classes whose numbers are computed together
ROWS = TOGETHER * SIZE  # class means evaluated at once: fixed, for a single program

OfClass = Callable[[Array, Array], Array]
"""Of the position of a class, and its means [v]: its numbers [j]."""


class Some(Strata):
    """Numbers of some of the classes alone, resampled as if all numbers were computed."""

    def __init__(self, whole: Strata, of_class: Callable, numbers: int, classes: Sequence[int]):
        """Computes nothing yet.

        Args:
          whole: the strata of all classes, whose `resampled` has been called.
          of_class: of positions [ROWS] of classes, and their means [ROWS, v]: [ROWS, numbers].
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
        classes = np.tile(np.array(self.classes, np.int32), len(means))
        place = np.arange(len(rows) + -len(rows) % ROWS) % len(rows)  # repeated to fill a program
        parts = (place[start : start + ROWS] for start in range(0, len(rows), ROWS))
        found = [self._mapped(classes[part], rows[part]) for part in parts]
        every = np.concatenate([np.asarray(part, np.float64) for part in found])
        return every[: len(rows)].reshape(len(means), -1)


def found(
    of_class: OfClass,
    whole: Strata,
    fixed: Strata | None,
    counted: tuple[np.ndarray, np.ndarray],
    **options,
) -> tuple[Finding, Finding]:
    """`significance.found` without all numbers of all classes for each image that is left out.

    An image changes the mean of its own class, and averages over classes by a share of that. The
    results are the same; draws of random numbers too.

    Args:
      whole: the images, with numbers [k] of averages over classes.
      fixed: the same of images without missing values, see `significance.found`.
      counted: images behind each number, [c, j] and [k].
      options: of `statistics.interval`.

    Returns:
      Of numbers of classes, arrays [c, j], and of those of all classes [k].
    """
    overall = significance.found(whole, fixed=fixed, images=counted[1], **options)
    mapped = jax.jit(jax.vmap(of_class))
    several = [c for c, size in enumerate(whole.sizes) if size > 1]
    parts = [several[start : start + TOGETHER] for start in range(0, len(several), TOGETHER)]
    if single := [c for c, size in enumerate(whole.sizes) if size == 1]:
        parts.append(single)
    found = Finding(*(np.empty(counted[0].shape) for _ in Finding._fields))
    for classes in parts:
        told = mapped, counted[0].shape[1], classes
        some, same = Some(whole, *told), Some(fixed, *told) if fixed else None
        ends = significance.found(some, fixed=same, images=counted[0][classes].ravel(), **options)
        for array, end in zip(found, ends, strict=True):
            array[classes] = end.reshape(len(classes), -1)
    return found, overall
