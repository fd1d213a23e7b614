"""Images as the columns of one bootstrap, and their class means as named arrays again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from rival_jax.images import Images, rows_of
from rival_jax.named import Axis, Counts, Named
from rival_jax.pools import Pools
from rival_jax.strata import SLACK, Averages, Statistic, Strata
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
      images: the columns, made class by class: they are never all held.
    """

    def __init__(self, found: Images, signed: Sequence[str], averages: Sequence[str] = ()):
        self.found, self.averages = found, tuple(averages)
        self.present, self.sizes = np.unique(found.labels, return_counts=True)
        self.keys = tuple((found.classes[label],) for label in self.present)
        self.place = np.repeat(np.arange(len(self.sizes)), self.sizes)  # each row's class [n]
        self.order = np.argsort(found.labels, kind="stable")
        shapes = {name: _shape(one) for name, one in found.values.items()}
        widths = {name: int(np.prod(shape)) for name, shape in shapes.items()}
        images, there, least, most = self._counted(sum(widths.values()))
        self.places: dict[str, tuple[slice, slice | None]] = {}
        self.counts: dict[str, Counts] = {}
        self.most: dict[str, int] = {}
        low: list[float] = []
        first = 0
        for name, width in widths.items():
            mine = slice(first, first := first + width)
            self.most[name] = max(1, int(most[mine].max()))
            whole, start = least[mine].min() == self.most[name], len(low)
            known = None if whole else slice(start + width, start + 2 * width)
            self.places[name] = slice(start, start + width), known
            self.counts[name] = self._counts(images[:, mine], there[:, mine], shapes[name])
            low += [-1.0 if name in signed else 0.0] * width + [0.0] * (0 if whole else width)
        self.images = Pools(self.sizes, len(low), self._columns)
        ends, within = (np.array(low), np.ones(len(low))), True
        self.sums = np.empty((len(self.sizes), len(low)))
        for c, some in enumerate(self.images):
            within &= bool((some >= ends[0] - SLACK).all() and (some <= ends[1] + SLACK).all())
            self.sums[c] = np.add.reduceat(some, [0], axis=0)[0]
        self.bounds = ends if within else None
        self.whole = {name: self._whole(name) for name in found.values}

    @property
    def over_classes(self) -> Averages | None:
        """The averages of all columns; None if there are none."""
        each = {
            "micro": self.sizes / self.sizes.sum(),
            "macro": 1 / len(self.keys) + 0 * self.sizes,
        }
        if not self.averages:
            return None
        weights = np.stack([each[name] for name in self.averages])
        return lambda means, some: weights[:, some] @ means

    def mean(self, by: str) -> Averages:
        """Means of all measures over the classes that have them, [r, 1, w]; `by`: `Named.mean`."""
        weights = {}
        for name, counts in self.counts.items():
            images = counts.images.reshape(len(self.keys), -1)
            weight = images if by == "images" else images > 0
            weights[name] = weight / np.maximum(weight.sum(0), 1)

        def added(means: np.ndarray, some: slice | list[int]) -> np.ndarray:
            parts = []
            for name, weight in weights.items():
                value, known = self.places[name]
                values = means[..., value]
                if known is not None:
                    values = _ratio(np, values, means[..., known], self.whole[name][some])
                parts.append(np.einsum("rkw,kw->rw", values, weight[some])[:, None])
            return np.concatenate(parts, axis=-1)

        return added

    @property
    def lacking(self) -> bool:
        """Whether an image lacks a measure."""
        return any(known is not None for _, known in self.places.values())

    def strata(
        self, statistic: Statistic, averages: Averages | None
    ) -> tuple[Strata, Strata | None]:
        """The images, and if some lack measures, others with the same class means; see `Strata`."""
        fixed = self._fixed(statistic, averages) if self.lacking else None
        return Strata(statistic, self.images, self.bounds, averages), fixed

    def _fixed(self, statistic: Statistic, averages: Averages | None) -> Strata:
        """Images without missing measures, with the same class means.

        Images with a value stand in for those without: a class mean is then a plain mean over its
        images, to which an image without a value adds nothing. The same holds for averages.
        """
        shares = []
        for value, known in self.places.values():
            if known is not None:
                weight, sizes = self.sums[:, known], self.sizes[:, None]
                if self.averages:
                    weight, sizes = weight.sum(0) + 0 * weight, self.sizes.sum()
                shares.append((value, known, sizes / np.where(weight > 0, weight, 1)))

        def made(rows: slice) -> np.ndarray:
            values = self._columns(rows)
            for value, known, share in shares:
                values[:, value] *= share[self.place[rows]]
                values[:, known] = 1
            return values

        pools = Pools(self.sizes, self.images.width, made)
        strata = Strata(statistic, pools, averages=averages)
        strata.bounded = self.bounds is not None
        if self.bounds is not None:  # bounds of class means; single values now exceed them
            strata.low, strata.high = (end.copy() for end in self.bounds)
        for _, known, _ in shares:
            strata.low[known] = strata.high[known] = 1
            strata.constant[known] = True
        return strata

    def named(self, means: Array) -> dict[str, Named]:
        """Means of all classes [c, columns], or averages of them [a, columns], by measure."""
        made = {}
        for name, one in self.found.values.items():
            value, known = self.places[name]
            of_class = means[:, value]
            if known is not None:
                of_class = _ratio(jnp, of_class, means[:, known], self.whole[name])
            axis, counts = Axis(("class",), self.keys), self.counts[name]
            if self.averages:
                axis = Axis(("average",), tuple((average,) for average in self.averages))
                there = [known is None or average == "micro" for average in self.averages]
                pooled = self._pooled(counts)
                counts = Counts(*(np.concatenate([a * exists for exists in there]) for a in pooled))
            shape = (len(axis.keys), *_shape(one))
            made[name] = Named(of_class.reshape(shape), (axis, *one.axes[1:]), counts)
        return made

    def of_class(self, c: Array, means: Array) -> dict[str, Named]:
        """Means of class number `c` alone, [columns]; both may be traced."""
        made = {}
        for name, one in self.found.values.items():
            value, known = self.places[name]
            own = means[value]
            if known is not None:
                own = _ratio(jnp, own, means[known], jnp.asarray(self.whole[name])[c])
            counts = Counts(*(jnp.asarray(array)[c][None] for array in self.counts[name]))
            made[name] = self._alone(one, own, counts)
        return made

    def of_mean(self, means: Array) -> dict[str, Named]:
        """What `mean` returns, [1, w], as the means of a single class."""
        made, start = {}, 0
        for name, one in self.found.values.items():
            counts = self._pooled(self.counts[name])
            own = means[0, start : (start := start + math.prod(_shape(one)))]
            made[name] = self._alone(one, own, counts)
        return made

    def _alone(self, one: Named, own: Array, counts: Counts) -> Named:
        axis = Axis(("class",), self.keys[:1])
        return Named(own.reshape(1, *_shape(one)), (axis, *one.axes[1:]), counts)

    def _columns(self, rows: slice) -> np.ndarray:
        """Some rows of all columns, images in the order of classes."""
        images = self.order[rows]
        columns = np.empty((len(images), self.images.width))
        for name, one in self.found.values.items():
            place, known = self.places[name]
            values, weight = (part.reshape(len(images), -1) for part in rows_of(one, images))
            columns[:, place] = values
            if known is not None:
                share = columns[:, known] = weight / self.most[name]
                columns[:, place] = np.where(weight > 0, values, 0) * share
        return columns

    def _counted(self, width: int) -> tuple[np.ndarray, ...]:
        """Of all numbers of an image: how many images each class's are of, and in how many places.

        Returns:
          both [c, width]; the least and most images that a place counts as [width].
        """

        def weights(rows: slice) -> np.ndarray:
            images = self.order[rows]
            each = (rows_of(one, images)[1] for one in self.found.values.values())
            return np.concatenate([weight.reshape(len(images), -1) for weight in each], axis=1)

        images, there = (np.empty((len(self.sizes), width), int) for _ in range(2))
        least, most = np.full(width, np.inf), np.zeros(width)
        for c, some in enumerate(Pools(self.sizes, width, weights)):
            images[c], there[c] = some.sum(0), (some > 0).sum(0)
            least, most = np.minimum(least, some.min(0)), np.maximum(most, some.max(0))
        return images, there, least, most

    def _pooled(self, counts: Counts) -> Counts:
        """Counts of an average over all classes."""
        ways = (np.sum, np.sum, np.sum, np.max)
        return Counts(*(way(a, 0, keepdims=True) for way, a in zip(ways, counts, strict=True)))

    def _counts(self, images: np.ndarray, there: np.ndarray, shape: tuple[int, ...]) -> Counts:
        found = (images, images + self.sizes[:, None] - there, (there > 0).astype(int), there)
        return Counts(*(array.reshape(len(self.keys), *shape) for array in found))

    def _whole(self, name: str) -> np.ndarray:
        """Means over the images of a class that have a value, [c, columns]; 0 without any."""
        value, known = self.places[name]
        summed, count = self.sums[:, value], self.sums[:, known] if known else self.sizes[:, None]
        if self.averages and known:
            summed, count = (np.sum(a, 0, keepdims=True) for a in (summed, count))
        return (summed / np.where(count > 0, count, 1)).astype(np.float32)


def _ratio(library: Any, values: Any, share: Any, whole: Any) -> Any:
    """Means of the images that have a value; `whole`, those of the full data, if none has."""
    there = share > 0
    return library.where(there, values / library.where(there, share, 1), whole)


def _shape(one: Named) -> tuple[int, ...]:
    """An image's numbers, by axis."""
    return tuple(len(axis.keys) for axis in one.axes[1:])
