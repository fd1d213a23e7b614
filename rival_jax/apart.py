"""Statistics of many classes, of numbers that are one class's each or of the mean over classes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from rival_jax import significance
from rival_jax.blocks import parts
from rival_jax.significance import Finding
from rival_jax.strata import CHUNK, Change, Strata
from rival_jax.types import Array

TOGETHER = 16  # classes whose numbers are computed together
ROWS = 1 << 11  # class means evaluated at once: fixed, for a single program

OfClass = Callable[[Array, Array], Array]
"""Of the position of a class, and its means [v]: its numbers [j]."""


class Some(Strata):
    """Numbers of some of the classes alone, resampled as if all numbers were computed."""

    def __init__(self, whole: Strata, of_class: Callable, numbers: int, classes: Sequence[int]):
        """Computes nothing yet.

        Args:
          whole: the strata of all classes, whose `resampled` has been called.
          of_class: of positions [ROWS] of classes, and their means [ROWS, v]: [ROWS, numbers].
          classes: their positions.
        """
        self.whole, self.classes, self.averages = whole, np.array(classes), None
        self._mapped, self._numbers = of_class, numbers
        self.sizes, self.means, self.centre = (
            array[self.classes] for array in (whole.sizes, whole.means, whole.centre)
        )
        self.low, self.high, self.constant = whole.low, whole.high, whole.constant
        self.bounded, self.freedom, self.count = whole.bounded, whole.freedom, whole.count
        place = {c: position for position, c in enumerate(classes)}
        mine = {number: block.of(place) for number, block in whole.blocks.items()}
        self.blocks = {number: block for number, block in mine.items() if block}
        self.shape = (len(classes) * numbers,)
        self.step = max(1, CHUNK // self.means.size)

    def pools(self):
        """The values of each class's images in turn."""
        return map(self.whole.images.__getitem__, self.classes.tolist())

    def resampled(self, resamples: int, seed: int) -> np.ndarray:
        """Of the same resamples as the whole's, which must have been as many, of the same seed."""
        rng = np.random.Generator(np.random.PCG64(seed))
        found = np.empty((resamples, len(self.classes), self._numbers))
        for number, block in self.blocks.items():
            rng.bit_generator.state = self.whole.states[number]
            mine = list(block.classes)
            for part, drawn in block.drawn(resamples, rng):
                numbers = self._of(mine * len(drawn), drawn)
                found[part, mine] = numbers.reshape(len(drawn), len(mine), -1)
        return found.reshape(resamples, -1)

    def _moved(self, base: np.ndarray, changes: Sequence[Change]) -> list[np.ndarray]:
        """A class that is moved changes its own numbers alone."""
        here, found = self._evaluated(base[None]).reshape(len(base), -1), []
        owners = [classes * len(places) for classes, places in changes]
        rows = [np.repeat(places, len(classes), 0) for classes, places in changes]
        numbers = self._of(list(itertools.chain(*owners)), np.concatenate(rows))
        ends = np.cumsum(list(map(len, owners)))[:-1]
        for (classes, places), own in zip(changes, np.split(numbers, ends), strict=True):
            values = np.tile(here, (len(places), 1, 1))
            values[:, classes] = own.reshape(len(places), len(classes), -1)
            found.append(values.reshape(len(places), -1))
        return found

    def _evaluated(self, means: np.ndarray) -> np.ndarray:
        every = list(range(len(self.classes))) * len(means)
        return self._of(every, means).reshape(len(means), -1)

    def _of(self, classes: Sequence[int], means: np.ndarray) -> np.ndarray:
        """The numbers [rows, j] of some of these classes, from their means [*, v], float64."""
        rows = means.reshape(-1, means.shape[-1]).astype(np.float32)
        which = self.classes[classes].astype(np.int32)
        found = []
        for part in parts(len(rows), ROWS):
            place = np.resize(np.arange(part.start, part.stop), ROWS)  # repeated: one program
            found.append(np.asarray(self._mapped(which[place], rows[place]), np.float64))
        return np.concatenate(found)[: len(rows)]


def found(
    of_class: OfClass,
    whole: Strata,
    fixed: Strata | None,
    counted: tuple[np.ndarray, np.ndarray],
    **options,
) -> tuple[Finding, Finding]:
    """`significance.found` without all numbers of all classes for each image that is left out.

    An image changes the mean of its own class, and averages over classes by a share of that. The
    results are the same; draws of random numbers too, unless there are too many class means to hold
    those of all resamples (`strata.CHUNK`).

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
    found = Finding(*(np.empty(counted[0].shape) for _ in Finding._fields))
    for part in parts(len(whole.sizes), TOGETHER):
        classes = range(part.start, part.stop)
        told = mapped, counted[0].shape[1], classes
        some, same = Some(whole, *told), Some(fixed, *told) if fixed else None
        ends = significance.found(some, fixed=same, images=counted[0][part].ravel(), **options)
        for array, end in zip(found, ends, strict=True):
            array[part] = end.reshape(len(classes), -1)
    return found, overall
