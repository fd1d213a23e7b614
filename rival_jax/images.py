"""What was measured on every image: values by measure, held or made when they are needed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rival_jax import calibration
from rival_jax.named import Axis, Counts, Key, Named

SOME = 4096  # names made at once

Rows = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Of some images, int [r]: values [r, ...], NaN for none, and how many images each is a mean of, in
the same shape or in one that broadcasts to it."""


@dataclasses.dataclass(frozen=True, init=False)
class Made(Named):
    """Values of images that are never all held, unless one asks for `values` or `counts`."""

    rows: Rows

    def __init__(self, axes: Sequence[Axis], rows: Rows):
        """The first axis is "example"; see `Rows`."""
        object.__setattr__(self, "axes", tuple(axes))
        object.__setattr__(self, "rows", rows)

    @property
    def values(self) -> np.ndarray:
        """Those of all images."""
        return rows_of(self, np.arange(len(self.axes[0].keys)))[0]

    @property
    def counts(self) -> Counts:
        """Those of all images."""
        weight = rows_of(self, np.arange(len(self.axes[0].keys)))[1]
        some = (weight > 0).astype(np.int8)
        return Counts(weight, np.broadcast_to(np.int8(1), some.shape), some, some)


def rows_of(one: Named, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values float64 [r, ...] of some images [r], and of how many each is a mean; 0 without one."""
    if isinstance(one, Made):
        values, many = one.rows(images)
    else:
        values, many = one.values[images], one.counts.images[images]
    values = np.asarray(values, np.float64)
    return values, np.where(np.isfinite(values), many, np.int8(0))


class Names(Sequence[Key]):
    """Keys of an axis of many images: each is (name,); all names are held in one array."""

    def __init__(self, names: Any):
        """`names`: an Arrow array, or a range of numbers."""
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, place: Any) -> Any:
        """One key, or those of a slice."""
        if isinstance(place, slice):
            some = self.names[place]
            some = some if isinstance(some, range) else some.to_pylist()
            return tuple((name,) for name in some)
        name = self.names[int(place)]
        return (name if isinstance(name, int) else name.as_py(),)

    def __iter__(self) -> Iterator[Key]:
        for start in range(0, len(self), SOME):
            yield from self[start : start + SOME]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Names):
            return self is other or self.names == other.names
        return isinstance(other, tuple) and tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))


class Images(NamedTuple):
    """What was measured on every image, by measure; the first axis of each is "example"."""

    values: dict[str, Named]  # NumPy; NaN if an image has no value
    labels: np.ndarray  # int [n], positions in `classes`
    classes: tuple[str, ...]  # the data set's

    @property
    def names(self) -> tuple[str, ...]:
        """The images' names, made anew at each call."""
        keys = next(iter(self.values.values())).axes[0].keys
        return tuple(name for (name,) in keys)

    def at(self, rows: np.ndarray) -> Images:
        """Some of the images, by position."""
        values = {}
        for name, one in self.values.items():
            example, *others = one.axes
            kept = Axis(example.fields, tuple(example.keys[int(row)] for row in rows))
            values[name] = per_image(np.asarray(one.values)[rows], (kept, *others))
        return Images(values, self.labels[rows], self.classes)


def per_image(values: np.ndarray, axes: Sequence[Axis], many: np.ndarray | None = None) -> Named:
    """Values of images as a named array; the first axis is "example", NaN means no value.

    Args:
      values: one for each place of the axes.
      many: int, same shape: how many images each is the mean of, if not one.
    """
    one = np.broadcast_to(np.int8(1), values.shape)  # a byte for all: there may be millions
    there = np.isfinite(values)
    some = one if there.all() else there.astype(np.int8)
    images = some if many is None else np.where(there, many, 0)
    return Named(values, tuple(axes), Counts(images, one, some, some))


def alike(values: Mapping[str, Named], signed: Sequence[str]) -> dict[str, Named]:
    """Measures of the same axes in few arrays, on a new axis "measure": less is compiled.

    Measures share an array if their values have the same bounds, and either all or none lack
    images: "signed", for those with values in [-1, 1], "shares", and each with ", of some".
    """
    blocks: dict[str, dict[str, np.ndarray]] = {}
    for name, one in values.items():
        numbers = np.asarray(one.values)
        some = "" if np.isfinite(numbers).all() else ", of some"
        blocks.setdefault(("signed" if name in signed else "shares") + some, {})[name] = numbers
    first, *others = next(iter(values.values())).axes
    return {
        block: per_image(
            np.stack(list(columns.values()), 1),
            (first, Axis(("measure",), tuple((name,) for name in columns)), *others),
        )
        for block, columns in blocks.items()
    }


def by_unit(found: Images, units: Sequence[str]) -> Images:
    """Merges the images of each unit, to be resampled together, into one that counts as many.

    Args:
      found: of single images.
      units: each image's unit [n]; a unit's images are of one class.
    """
    names, first, place = np.unique(np.array(units, str), return_index=True, return_inverse=True)
    order, sizes = np.argsort(place, kind="stable"), np.bincount(place)
    starts, axis = np.cumsum(sizes) - sizes, Axis(("example",), tuple((n,) for n in names.tolist()))

    def merged(one: Named, some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ends = np.cumsum(sizes[some])
        begins = ends - sizes[some]
        members = np.arange(ends[-1]) + np.repeat(starts[some] - begins, sizes[some])
        values, weight = rows_of(one, order[members])
        total = np.add.reduceat(np.where(weight > 0, values, 0), begins, axis=0)
        many = np.add.reduceat((weight > 0).astype(int), begins, axis=0)
        return np.where(many > 0, total / np.maximum(many, 1), np.nan), many

    values = {
        name: Made((axis, *one.axes[1:]), functools.partial(merged, one))
        for name, one in found.values.items()
    }
    return found._replace(values=values, labels=found.labels[first])


def by_class(hit: Named, found: Images, groups: Sequence[str]) -> Images:
    """Classes in the place of their images, as the measure "share": to be resampled as they are.

    Args:
      hit: values of images; axes example and one more. Images lacking one of them do not count.
      found: the images' labels.
      groups: a word for each class of the images; the words are the new classes, sorted.
    """
    values = np.asarray(hit.values)
    some = np.isfinite(values).all(1)
    count = np.bincount(found.labels[some], minlength=len(found.classes))
    there = np.flatnonzero(count)
    summed = [np.bincount(found.labels[some], column, len(count)) for column in values[some].T]
    axis = Axis(("example",), tuple((found.classes[label],) for label in there))
    share = per_image(np.stack(summed, 1)[there] / count[there, None], (axis, *hit.axes[1:]))
    names, labels = np.unique(np.array(groups, str)[there], return_inverse=True)
    return Images({"share": share}, labels, tuple(names.tolist()))


def confidence_gaps(confidence: Named, right: Named) -> Named:
    """How far each image is from its confidence, on a new last axis "bin": `calibration.gaps`."""
    bins = Axis(("bin",), tuple((number,) for number in range(calibration.BINS)))

    def gaps(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sure, hit = (rows_of(one, images)[0] for one in (confidence, right))
        return calibration.gaps(sure, hit), np.ones(1, np.int8)

    return Made((*confidence.axes, bins), gaps)


def split(one: Named, field: str, words: Sequence[str]) -> Named:
    """Every image's values at the place of its word, NaN at the others.

    Args:
      one: values of images.
      field: the new second axis.
      words: one per image; sorted by value if all are numbers. "": the image has none.
    """
    names = sorted(set(words) - {""})
    with contextlib.suppress(ValueError):
        names.sort(key=float)
    numbers = {"": -1, **{name: number for number, name in enumerate(names)}}
    places = np.array([numbers[word] for word in words], np.int32)

    def apart(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, weight = (part[:, None] for part in rows_of(one, images))
        there = places[images][:, None] == np.arange(len(names))
        return np.where(
            there.reshape(*there.shape, *(1,) * (values.ndim - 2)), values, np.nan
        ), weight

    axis = Axis((field,), tuple((name,) for name in names))
    return Made((one.axes[0], axis, *one.axes[1:]), apart)


def joined(field: str, parts: Mapping[str, tuple[Images, Named]]) -> Images:
    """Images of several sets as one measure "joined", each set at its place on a new axis.

    Args:
      field: the new axis, the second.
      parts: by value of the new axis; other axes are equal. Classes of different sets stay
        separate; if all come from the same `Images`, each image has a value in every part.
    """
    every = [found for found, _ in parts.values()]
    values = [np.asarray(one.values) for _, one in parts.values()]
    axes = next(iter(parts.values()))[1].axes
    axis = Axis((field,), tuple((part,) for part in parts))
    if all(found is every[0] for found in every):
        wide = per_image(np.stack(values, 1), (axes[0], axis, *axes[1:]))
        return every[0]._replace(values={"joined": wide})
    sizes, classes = [len(some) for some in values], [len(found.classes) for found in every]
    wide = np.full((sum(sizes), len(parts), *values[0].shape[1:]), np.nan, values[0].dtype)
    for part, (some, end) in enumerate(zip(values, np.cumsum(sizes), strict=True)):
        wide[end - len(some) : end, part] = some
    first = np.repeat(np.cumsum(classes) - classes, sizes)
    labels = np.concatenate([found.labels for found in every]) + first
    examples = Axis(("example",), Names(range(len(wide))))
    named = tuple(f"{part} {name}" for part, (f, _) in parts.items() for name in f.classes)
    return Images({"joined": per_image(wide, (examples, axis, *axes[1:]))}, labels, named)
