"""Images as the columns of one bootstrap, and their class means as named arrays again."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from rival_jax.named import Axis, Counts, Named
from rival_jax.report.images import Images
from rival_jax.strata import Statistic, Strata
from rival_jax.types import Array


class ClassMeans:
    """Images as the columns of one bootstrap, and their class means as named arrays again.

    A measure that some image lacks takes two columns: its value (or 0), and whether it exists; a
    class mean is the ratio of their means. A measure whose values are means over unequal numbers of
    images also takes two, both weighted by that number.

    With `averages`, "micro" (over all images) and "macro" (over all classes) take the place of
    class means. A measure with two columns only has "micro", the ratio of the sums over all
    classes.

    Attributes:
      matrix: float64 [n, columns], the images of a class together, so that no copy is made of them.
      labels: int [n], of its rows.
    """

    def __init__(self, found: Images, signed: Sequence[str], averages: Sequence[str] = ()):
        self.found, self.averages = found, tuple(averages)
        self.present, self.sizes = np.unique(found.labels, return_counts=True)
        self.keys = tuple((found.classes[label],) for label in self.present)
        self.place = np.repeat(np.arange(len(self.sizes)), self.sizes)  # each row's class [n]
        self.labels, order = self.present[self.place], np.argsort(found.labels, kind="stable")
        weights = {name: _weights(one)[order] for name, one in found.values.items()}
        self.places: dict[str, tuple[slice, slice | None]] = {}
        low: list[float] = []
        for name, weight in weights.items():
            whole, width = weight.min() == max(1, weight.max()), weight.shape[1]
            ends, after = slice(len(low), len(low) + width), len(low) + 2 * width
            self.places[name] = ends, None if whole else slice(ends.stop, after)
            low += [-1.0 if name in signed else 0.0] * width + [0.0] * (0 if whole else width)
        self.matrix = np.empty((len(order), len(low)))
        for name, one in found.values.items():
            (ends, known), weight = self.places[name], weights[name]
            self.matrix[:, ends] = np.reshape(one.values, weight.shape)[order]
            if known is not None:
                share = self.matrix[:, known] = weight / max(1, weight.max())
                self.matrix[:, ends] = np.where(weight > 0, self.matrix[:, ends], 0) * share
        least = np.array(low)
        within = (self.matrix.min(0) >= least - 1e-5).all() and self.matrix.max() <= 1 + 1e-5
        self.bounds = (least, np.ones(len(least))) if within else None
        self.counts = {
            name: self._counts(weights[name], one.values.shape[1:])
            for name, one in found.values.items()
        }
        self.whole = {name: self._whole(name) for name in found.values}

    @property
    def over_classes(self) -> np.ndarray | None:
        """The averages as weights of classes [a, c]; None if there are none."""
        each = {
            "micro": self.sizes / self.sizes.sum(),
            "macro": 1 / len(self.keys) + 0 * self.sizes,
        }
        return np.stack([each[name] for name in self.averages]) if self.averages else None

    @property
    def lacking(self) -> bool:
        """Whether an image lacks a measure."""
        return any(known is not None for _, known in self.places.values())

    def fixed(self, statistic: Statistic) -> Strata:
        """Images without missing measures, with the same class means.

        Images with a value stand in for those without: a class mean is then a plain mean over its
        images, to which an image without a value adds nothing. The same holds for averages.
        """
        values = self.matrix.copy()
        for value, known in self.places.values():
            if known is not None:
                weight, sizes = self._summed(self.matrix[:, known]), self.sizes[:, None]
                if self.averages:
                    weight, sizes = weight.sum(0) + 0 * weight, self.sizes.sum()
                share = sizes / np.where(weight > 0, weight, 1)
                values[:, value] *= share[self.place]
                values[:, known] = 1
        made = Strata(statistic, values, self.labels, averages=self.over_classes)
        made.bounded = self.bounds is not None
        if self.bounds is not None:  # bounds of class means; single values now exceed them
            made.low, made.high = (end.copy() for end in self.bounds)
        for _, known in self.places.values():
            if known is not None:
                made.low[known] = made.high[known] = 1
                made.constant[known] = True
        return made

    def named(self, means: Array) -> dict[str, Named]:
        """Class means [c, columns], or their averages [a, columns], by measure."""
        made = {}
        for name, one in self.found.values.items():
            value, known = self.places[name]
            of_class = means[:, value]
            if known is not None:
                share = means[:, known]
                of_class = jnp.where(
                    share > 0, of_class / jnp.where(share > 0, share, 1), self.whole[name]
                )
            axis, counts = Axis(("class",), self.keys), self.counts[name]
            if self.averages:
                axis = Axis(("average",), tuple((average,) for average in self.averages))
                counts = self._pooled(counts, whole=known is None)
            shape = (len(axis.keys), *one.values.shape[1:])
            made[name] = Named(of_class.reshape(shape), (axis, *one.axes[1:]), counts)
        return made

    def _pooled(self, counts: Counts, *, whole: bool) -> Counts:
        """Counts of averages over all classes; nonexistent averages have no images."""
        ways = (np.sum, np.sum, np.sum, np.max)
        found = [way(array, 0, keepdims=True) for way, array in zip(ways, counts, strict=True)]
        there = [whole or name == "micro" for name in self.averages]
        return Counts(*(np.concatenate([array * one for one in there]) for array in found))

    def _counts(self, weight: np.ndarray, shape: tuple[int, ...]) -> Counts:
        images, there = (self._summed(array).astype(int) for array in (weight, weight > 0))
        every = images + self.sizes[:, None] - there
        found = (images, every, (there > 0).astype(int), there)
        return Counts(*(array.reshape(len(self.keys), *shape) for array in found))

    def _whole(self, name: str) -> np.ndarray:
        """Means over the images of a class that have a value, [c, columns]; 0 without any."""
        value, known = self.places[name]
        count = self._summed(self.matrix[:, known]) if known else self.sizes[:, None]
        summed = self._summed(self.matrix[:, value])
        if self.averages and known:
            summed, count = (np.sum(a, 0, keepdims=True) for a in (summed, count))
        return (summed / np.where(count > 0, count, 1)).astype(np.float32)

    def _summed(self, values: np.ndarray) -> np.ndarray:
        """Sums over the images of each class: [n, k] -> float64 [c, k]."""
        starts = np.cumsum(self.sizes) - self.sizes
        return np.add.reduceat(values, starts, axis=0, dtype=np.float64)


def _weights(one: Named) -> np.ndarray:
    """How many images each value is a mean of [n, k]; 0 for a missing value."""
    images = np.where(np.isfinite(one.values), one.counts.images, np.int8(0))
    return images.reshape(len(images), -1)
