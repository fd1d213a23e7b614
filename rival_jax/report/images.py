"""Rows of any study as arrays: what was measured on every image."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from rival_jax import calibration
from rival_jax.named import Axis, Counts, Key, Named
from rival_jax.report.made import Made, Names, rows_of
from rival_jax.runtime import row_files


class Images(NamedTuple):
    """What was measured on every image, by measure; the first axis of each is "example"."""

    values: dict[str, Named]  # NumPy; NaN if an image has no value
    labels: np.ndarray  # int [n], positions in `classes`
    classes: tuple[str, ...]  # the data set's

    @property
    def names(self) -> tuple[str, ...]:
        """The images' names."""
        keys = next(iter(self.values.values())).axes[0].keys
        return tuple(keys.names.to_pylist() if isinstance(keys, Names) else (k for (k,) in keys))

    def at(self, rows: np.ndarray) -> Images:
        """Some of the images, by position."""
        values = {}
        for name, one in self.values.items():
            example, *others = one.axes
            kept = Axis(example.fields, tuple(example.keys[int(row)] for row in rows))
            values[name] = per_image(np.asarray(one.values)[rows], (kept, *others))
        return Images(values, self.labels[rows], self.classes)


def read_images(
    files: Sequence[Path],
    axes: Sequence[str | tuple[str, ...]],
    columns: Sequence[str],
    classes: Sequence[str],
    *,
    averaged: Sequence[str] = (),
    whole: bool = False,
    dtype: type = np.float64,
) -> Images:
    """See `Study.read`; without derived measures.

    Args:
      whole: every image must have all its rows.
      dtype: float32 holds the same values in half the memory; what is computed from them is then
        not in float64.
    """
    axes = [(axis,) if isinstance(axis, str) else axis for axis in axes]
    fields = [field for axis in axes for field in axis]
    words = ["example", "label", *fields]
    wanted = dict.fromkeys([*words, *averaged, *columns])
    tables = [row_files.read(file, list(wanted), words) for file in files]
    table = pa.concat_tables(tables).unify_dictionaries()
    codes = [_codes(table, ("example",)), *(_codes(table, axis) for axis in axes)]
    shape = tuple(len(keys) for _, keys in codes)
    place = np.ravel_multi_index([code for code, _ in codes], shape)
    repeated = _codes(table, tuple(averaged))[0] if averaged else np.zeros(len(place), int)
    if np.bincount(place * (repeated.max(initial=0) + 1) + repeated).max(initial=0) > 1:
        raise ValueError(
            f"rows of {files[0].parent} are there twice; delete the folder and run again"
        )
    count = np.bincount(place, minlength=int(np.prod(shape))).reshape(shape)
    named = tuple(
        Axis(names, keys) for names, (_, keys) in zip([("example",), *axes], codes, strict=True)
    )
    values = {}
    for column in columns:
        numbers = _numbers(table.column(column), classes, files[0])
        summed = np.bincount(place, numbers, minlength=count.size).reshape(shape)
        mean = np.where(count > 0, summed / np.maximum(count, 1), np.nan)
        values[column] = per_image(mean.astype(np.float32).astype(dtype), named)
    labels = np.zeros(shape[0], np.int32)
    labels[codes[0][0]] = _numbers(table.column("label"), classes, files[0])
    found = Images(values, labels, tuple(classes))
    if whole:
        _refuse_holes(found)
    return found


def _refuse_holes(found: Images) -> None:
    """Raises ValueError for an image without a row in some setting: it would bias comparisons."""
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


def _numbers(column: pa.ChunkedArray, classes: Sequence[str], file: Path) -> np.ndarray:
    """A column's numbers, float64; words become positions among the classes."""
    if not (pa.types.is_string(column.type) or pa.types.is_dictionary(column.type)):
        return column.to_numpy().astype(np.float64)
    column = column.combine_chunks()
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    words, position = coded.dictionary.to_pylist(), {name: i for i, name in enumerate(classes)}
    codes = coded.indices.fill_null(len(words)).to_numpy()
    used = np.flatnonzero(np.bincount(codes)).tolist()
    if unknown := sorted({str([*words, None][code]) for code in used} - position.keys()):
        raise ValueError(
            f"{file}: label {unknown[0]!r} is not one of the classes in data.json "
            f"({', '.join(classes[:12])}); the folder mixes two runs, use a fresh --workdir"
        )
    return np.array([position.get(word, -1) for word in words], np.float64)[codes]


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
    examples = Axis(("example",), Names(pa.array(np.arange(len(wide)))))
    named = tuple(f"{part} {name}" for part, (f, _) in parts.items() for name in f.classes)
    return Images({"joined": per_image(wide, (examples, axis, *axes[1:]))}, labels, named)


def _codes(table: pa.Table, fields: tuple[str, ...]) -> tuple[np.ndarray, Sequence[Key]]:
    """Each row's key as a number, and the keys (value, ...) in order of appearance."""
    parts = []
    for field in fields:
        column = table.column(field).combine_chunks()
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        parts.append((column.indices.to_numpy(), column.dictionary))
    shape = tuple(len(words) for _, words in parts)
    code = np.ravel_multi_index([codes for codes, _ in parts], shape)
    found, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)
    codes, places = np.argsort(order)[inverse], np.unravel_index(found[order], shape)
    columns = [words.take(pa.array(some)) for some, (_, words) in zip(places, parts, strict=True)]
    if fields == ("example",):
        return codes, Names(columns[0])
    return codes, tuple(zip(*(column.to_pylist() for column in columns), strict=True))
