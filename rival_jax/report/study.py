"""A study, declared once: from its rows to the table of results, in one bootstrap."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import apart, significance
from rival_jax.class_means import ClassMeans
from rival_jax.images import Images
from rival_jax.named import Named
from rival_jax.report.results import Results, Row
from rival_jax.runtime.row_arrays import read_images
from rival_jax.types import Array

MANY = 32  # classes from which on numbers of single classes are computed apart
Means = Mapping[str, Named]
"""Class means by measure: the first axis is "class"."""


class Measure(NamedTuple):
    """Some numbers of a study: one row of results for each place of an array."""

    name: str
    numbers: Named
    contrast: str = ""  # what is compared: "foreground minus background"; automatic for differences


def compared(name: str, numbers: Named, pairs: Iterable[tuple[str, str]]) -> Iterator[Measure]:
    """A measure, and for each pair of models the second's numbers minus the first's."""
    yield Measure(name, numbers)
    for pair in pairs:
        yield Measure(name, numbers.where(model=pair).differences("model"))


@dataclasses.dataclass(frozen=True)
class Study:
    """What a study measures, along which axes, and what it compares.

    Attributes:
      name: the experiment's.
      axes: columns that tell apart the rows of one image; grouped, like ("treatment", "region"), if
        not all combinations occur.
      columns: the measured columns: numbers, or names of classes, which are read as positions.
      measures: from class means to what is reported, see `Measure`. It is run by jax under the
        bootstrap: it may select, average and subtract (`Named`), and apply pure functions.
      derived: makes further measures of an image from its columns.
      averaged: columns that count repetitions (trials); each image is averaged over them first.
      signed: measures with values in [-1, 1], not [0, 1].
      averages: see `ClassMeans`: measures get these averages over classes, on an axis "average", in
        place of class means, which takes seconds for 50,000 images of 1000 classes.
      apart: promises that numbers with the field "class" are those of all classes, each of its own
        class's means alone, and that others are of means over all classes with this `by`, see
        `Named.mean`. Of many classes, numbers are then computed class by class: an image that is
        left out changes one. "": promises nothing.
      sparse: whether images may lack rows; otherwise all must be measured under all settings.
      alone: the further arguments of `measures` for networks that are not compared, from a config.
      within: (lowest, highest) possible values of a measure, where intervals end if the bounds of
        its columns would let them go on.
    """

    name: str
    axes: tuple[str | tuple[str, ...], ...]
    columns: tuple[str, ...]
    measures: Callable[..., Iterable[Measure]]
    derived: Callable[[dict[str, Named]], dict[str, Named]] = dict
    averaged: tuple[str, ...] = ()
    signed: tuple[str, ...] = ()
    averages: tuple[str, ...] = ()
    apart: Literal["", "each", "images"] = ""
    sparse: bool = False
    alone: Callable[[Any], tuple[Any, ...]] = lambda config: ()
    within: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def read(self, files: Sequence[Path], classes: Sequence[str]) -> Images:
        """The rows of some units as arrays.

        Args:
          files: of rows.
          classes: all of the data set, in order.

        Raises:
          ValueError: if two rows have the same place, a label is not one of the classes, or an
            image was not measured under all settings.
        """
        options = {"averaged": self.averaged, "whole": not self.sparse}
        found = read_images(files, self.axes, self.columns, classes, **options)
        return found._replace(values=self.derived(found.values))

    def results(self, found: Images, *given: Any, **options: Any) -> Results:
        """The table of results: every number with its interval and p, from shared resamples.

        Means over classes are over those with a value. If a resample leaves a class without a
        value, the class keeps its value in the full data. If only one image of a class has a value,
        there is no interval.

        Args:
          found: see `read`.
          given: further arguments of `measures`, such as groups of models.
          options: of `statistics.bootstrap`.
        """
        columns = ClassMeans(found, self.signed, self.averages)
        parts: list[Measure] = []

        def told(means: Means) -> list[Any]:
            parts[:] = self.measures(means, *given)
            return [part.numbers.values.ravel() for part in parts]

        height = len(self.averages) or len(columns.present)
        shape = jax.ShapeDtypeStruct((height, columns.images.width), jnp.float32)
        jax.eval_shape(lambda means: told(columns.named(means)), shape)
        every = list(parts)
        images = np.concatenate([part.numbers.counts.images.ravel() for part in every])
        if self.apart and height > MANY:
            flat = _apart(told, every, images, columns, self.apart, **options)
        else:

            def statistic(means: Array) -> Array:
                return jnp.concatenate(told(columns.named(means)))

            strata, fixed = columns.strata(statistic, columns.over_classes)
            flat = significance.found(strata, fixed=fixed, images=images, **options)
        rows: list[Row] = []
        for part in every:
            size = part.numbers.counts.images.size
            start, flat = [array[:size] for array in flat], [array[size:] for array in flat]
            rows += map(self._ended, rows_of(self.name, part, start))
        return Results(rows)

    def _ended(self, row: Row) -> Row:
        if row["measure"] not in self.within:
            return row
        low, high = np.clip((row["low"], row["high"]), *self.within[row["measure"]]).tolist()
        return {**row, "low": low, "high": high}


def _apart(
    told: Callable[..., list[Any]],
    parts: Sequence[Measure],
    images: np.ndarray,
    columns: ClassMeans,
    by: str,
    **options: Any,
) -> Sequence[np.ndarray]:
    """The finding of all parts' numbers, flat, see `Study.apart`; `images`: behind each of them."""
    axes = [[axis.fields for axis in part.numbers.axes] for part in parts]
    owned = [("class",) in fields for fields in axes]

    def some(means: Means, ours: bool) -> Array:
        every = zip(told(means), owned, strict=True)
        return jnp.concatenate([*(values for values, own in every if own is ours), jnp.zeros(0)])

    strata, fixed = columns.strata(lambda m: some(columns.of_mean(m), False), columns.mean(by))
    if not any(owned):
        return significance.found(strata, fixed=fixed, images=images, **options)

    mine, rest, start = [], [np.zeros(0, int)], 0  # positions
    for part, fields, own in zip(parts, axes, owned, strict=True):
        shape = part.numbers.counts.images.shape
        place = np.arange(start, start := start + math.prod(shape))
        if own:
            first = np.moveaxis(place.reshape(shape), fields.index(("class",)), 0)
            mine.append(first.reshape(len(first), -1))
        else:
            rest.append(place)
    places = np.concatenate(mine, 1), np.concatenate(rest)
    counted = images[places[0]], images[places[1]]
    of_class = lambda c, means: some(columns.of_class(c, means), True)  # noqa: E731
    found = apart.found(of_class, strata, fixed, counted, **options)
    flat = [np.empty(len(images)) for _ in found[0]]
    for place, ends in zip(places, found, strict=True):
        for array, end in zip(flat, ends, strict=True):
            array[place] = end
    return flat


def rows_of(study: str, part: Measure, finding: Sequence[np.ndarray] | None = None) -> list[Row]:
    """Rows of a measure's numbers, without numbers that no image has.

    Args:
      finding: estimates, low and high ends and p-values, flat; default: the numbers alone.
    """
    axes, counts = part.numbers.axes, part.numbers.counts
    if finding is None:
        finding = [np.asarray(part.numbers.values), *[np.full(counts.images.shape, np.nan)] * 3]
    estimate, low, high, p = (array.reshape(counts.images.shape) for array in finding)
    rows = []
    for place in np.ndindex(*counts.images.shape):
        images = int(counts.images[place])
        if not images:
            continue
        row: dict[str, Any] = {"study": study, "measure": part.name}
        contrast = part.contrast
        for axis, index in zip(axes, place, strict=True):
            row |= dict(zip(axis.fields, axis.keys[index], strict=True))
        if "minus" in row:
            contrast = f"minus {row.pop('minus')}"
        # If only one image of a class has a value, nothing is known about their spread.
        alone = counts.largest[place] < 2 and images < counts.every[place]
        ends = (np.nan,) * 3 if alone else (low[place], high[place], p[place])
        row |= {"contrast": contrast, "estimate": float(estimate[place])}
        row |= dict(zip(("low", "high", "p"), map(float, ends), strict=True))
        rows.append(row | {"images": images, "classes": int(counts.classes[place])})
    return rows
