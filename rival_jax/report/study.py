"""A study is declared once: from its rows to the table of results, in one bootstrap."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import significance
from rival_jax.named import Named
from rival_jax.report.class_means import ClassMeans
from rival_jax.report.images import Images as Images
from rival_jax.report.images import per_image as per_image
from rival_jax.report.images import read_images
from rival_jax.report.results import Results, Row
from rival_jax.strata import Strata
from rival_jax.types import Array

Means = Mapping[str, Named]
"""Class means by measure: the first axis is "class"."""


class Measure(NamedTuple):
    """Some numbers of a study: one row of results for each place of an array."""

    name: str
    numbers: Named
    contrast: str = ""  # what is compared: "foreground minus background"; differences say it


@dataclasses.dataclass(frozen=True)
class Study:
    """What a study measures, along which axes, and what it compares.

    Attributes:
      name: of the experiment.
      axes: columns of the rows that tell the numbers of one image apart; some together, as
        ("treatment", "region"), where not all combinations are there.
      columns: that are measured: of numbers, or of words that are classes, which are read as their
        positions.
      measures: gives what is to be told of the class means, see `Measure`. It is run by jax under
        the bootstrap: it may choose, average and subtract (`Named`), and apply pure functions.
      derived: makes measures of an image from its columns, where those are not enough.
      averaged: columns of repetitions (trials) over which each image is averaged first.
      signed: measures whose values lie in [-1, 1], not in [0, 1].
      averages: see `ClassMeans`: the measures take these of all classes, on an axis "average", in
        the place of class means. So it is done in seconds with 50,000 images of 1000 classes.
      sparse: whether images may lack rows; else all have to be measured under all settings.
    """

    name: str
    axes: tuple[str | tuple[str, ...], ...]
    columns: tuple[str, ...]
    measures: Callable[..., Iterable[Measure]]
    derived: Callable[[dict[str, Named]], dict[str, Named]] = dict
    averaged: tuple[str, ...] = ()
    signed: tuple[str, ...] = ()
    averages: tuple[str, ...] = ()
    sparse: bool = False

    def read(self, files: Sequence[Path], classes: Sequence[str]) -> Images:
        """The rows of some units as arrays.

        Args:
          files: of rows.
          classes: all of the data set, in order.

        Raises:
          ValueError: if two rows have one place, a label is none of the classes, or an image was
            not measured under all settings.
        """
        found = read_images(files, self.axes, self.columns, classes, self.averaged)
        if not self.sparse:
            _refuse_holes(found)
        return found._replace(values=self.derived(found.values))

    def results(self, found: Images, *given: Any, **options: Any) -> Results:
        """The table of results: every number with its interval and p, from shared resamples.

        A mean over classes is one over those that have a value. A resample that leaves a class
        without one counts it as in the whole, and where all that is known is one image of a class,
        there is no interval.

        Args:
          found: see `read`.
          given: further arguments of `measures`, such as groups of models.
          options: of `statistics.bootstrap`.
        """
        columns = ClassMeans(found, self.signed, self.averages)
        parts: list[Measure] = []

        def told(means: Array) -> list[Any]:
            parts[:] = self.measures(columns.named(means), *given)
            return [part.numbers.values for part in parts]

        height = len(self.averages) or len(columns.present)
        shape = jax.ShapeDtypeStruct((height, columns.matrix.shape[1]), jnp.float32)
        jax.eval_shape(told, shape)

        def statistic(means: Array) -> Array:
            return jnp.concatenate([values.ravel() for values in told(means)])

        weights = columns.over_classes
        strata = Strata(statistic, columns.matrix, found.labels, columns.bounds, weights)
        fixed = columns.fixed(statistic) if columns.lacking else None
        images = np.concatenate([part.numbers.counts.images.ravel() for part in parts])
        flat = significance.found(strata, fixed=fixed, images=images, **options)
        rows: list[Row] = []
        for part in parts:
            size = int(np.prod(part.numbers.counts.images.shape))
            start, flat = [array[:size] for array in flat], [array[size:] for array in flat]
            rows += _rows(self.name, part, start)
        return Results(rows)


def _refuse_holes(found: Images) -> None:
    """Raises ValueError for an image that some setting has no row of: means would be of others."""
    every = [np.asarray(one.values) for one in found.values.values()]
    holes = np.argwhere(np.isnan(every).all(0))
    if len(holes):
        axes = next(iter(found.values.values())).axes
        keys = [axis.keys[place] for axis, place in zip(axes, holes[0], strict=True)]
        (example,), *settings = keys
        setting = ", ".join(str(word) for key in settings for word in key)
        raise ValueError(
            f"{setting}: no row of image {example}, which others have ({len(holes)} rows are "
            "missing); numbers are compared on the same images: measure networks whose photos were "
            "skipped in a --workdir of their own"
        )


def _rows(study: str, part: Measure, finding: Sequence[np.ndarray]) -> list[Row]:
    """A measure's numbers that some image has, one row each."""
    axes, counts = part.numbers.axes, part.numbers.counts
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
        # Nothing is known of how the images of a class differ where only one has a value.
        alone = counts.largest[place] < 2 and images < counts.every[place]
        ends = (np.nan,) * 3 if alone else (low[place], high[place], p[place])
        row |= {"contrast": contrast, "estimate": float(estimate[place])}
        row |= dict(zip(("low", "high", "p"), map(float, ends), strict=True))
        rows.append(row | {"images": images, "classes": int(counts.classes[place])})
    return rows
