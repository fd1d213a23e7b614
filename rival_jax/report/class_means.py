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

    A measure that some image lacks takes two columns, its value or 0 and whether it is there; the
    mean of a class is the ratio of their means.
    """

    def __init__(self, found: Images, signed: Sequence[str]):
        self.found, self.present = found, np.unique(found.labels)
        self.keys = tuple((found.classes[label],) for label in self.present)
        self.members = found.labels[None] == self.present[:, None]  # bool [c, n]
        blocks: list[np.ndarray] = []
        low: list[np.ndarray] = []
        self.places: dict[str, tuple[slice, slice | None]] = {}
        start = 0
        for name, one in found.values.items():
            flat = np.asarray(one.values, np.float64).reshape(len(found.labels), -1)
            some = np.isfinite(flat)
            ends = slice(start, start + flat.shape[1])
            blocks.append(np.where(some, flat, 0))
            low.append(np.full(flat.shape[1], -1.0 if name in signed else 0.0))
            start = ends.stop
            known = None
            if not some.all():
                known = slice(start, start + flat.shape[1])
                blocks.append(some.astype(np.float64))
                low.append(np.zeros(flat.shape[1]))
                start = known.stop
            self.places[name] = ends, known
        self.matrix = np.concatenate(blocks, axis=1)
        least = np.concatenate(low)
        within = (self.matrix.min(0) >= least - 1e-5).all() and self.matrix.max() <= 1 + 1e-5
        self.bounds = (least, np.ones(len(least))) if within else None
        self.counts = {name: self._counts(one) for name, one in found.values.items()}
        self.whole = {name: self._whole(name) for name in found.values}

    @property
    def lacking(self) -> bool:
        """Whether an image lacks a measure."""
        return any(known is not None for _, known in self.places.values())

    def fixed(self, statistic: Statistic) -> Strata:
        """The images with the same class means, where no image lacks a measure.

        Those that have one count for those that have none: the mean of a class is then a plain
        mean over its images, and an image without a value adds nothing to it.
        """
        values = self.matrix.copy()
        for name, (value, known) in self.places.items():
            if known is not None:
                images = self.counts[name].images.reshape(len(self.keys), -1)
                share = self.members.sum(1)[:, None] / np.maximum(images, 1)
                values[:, value] *= share[np.searchsorted(self.present, self.found.labels)]
                values[:, known] = 1
        made = Strata(statistic, values, self.found.labels)
        made.bounded = self.bounds is not None
        if self.bounds is not None:  # of class means: single values now go beyond them
            made.low, made.high = (end.copy() for end in self.bounds)
        for _, known in self.places.values():
            if known is not None:
                made.low[known] = made.high[known] = 1
                made.constant[known] = True
        return made

    def named(self, means: Array) -> dict[str, Named]:
        """Class means [c, columns] by measure."""
        made = {}
        for name, one in self.found.values.items():
            value, known = self.places[name]
            of_class = means[:, value]
            if known is not None:
                share = means[:, known]
                of_class = jnp.where(
                    share > 0, of_class / jnp.where(share > 0, share, 1), self.whole[name]
                )
            shape = (len(self.keys), *one.values.shape[1:])
            axes = (Axis(("class",), self.keys), *one.axes[1:])
            made[name] = Named(of_class.reshape(shape), axes, self.counts[name])
        return made

    def _counts(self, one: Named) -> Counts:
        some = np.isfinite(np.asarray(one.values, np.float64)).reshape(len(self.found.labels), -1)
        images = self.members.astype(int) @ some.astype(int)
        every = np.broadcast_to(self.members.sum(1)[:, None], images.shape)
        shape = (len(self.keys), *one.values.shape[1:])
        found = (images, every, (images > 0).astype(int), images)
        return Counts(*(array.reshape(shape) for array in found))

    def _whole(self, name: str) -> np.ndarray:
        """The means of all images of a class that have a value, [c, columns]; 0 without any."""
        value, _ = self.places[name]
        summed = self.members @ self.matrix[:, value]
        count = self.counts[name].images.reshape(summed.shape)
        return (summed / np.maximum(count, 1)).astype(np.float32)
