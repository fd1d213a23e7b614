"""Rows of any study as arrays: what was measured on every image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from rival_jax.images import Images, Names, per_image
from rival_jax.named import Axis, Key
from rival_jax.runtime import row_files


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
    """What rows tell of every image: a measure for each column, NaN where there is no row.

    Args:
      files: of rows.
      axes: columns that tell apart the rows of one image, grouped if not all combinations occur;
        they become the axes after "example".
      columns: numbers, or names of classes, which become positions among `classes`.
      classes: all of the data set, in order.
      averaged: columns that count repetitions; each image is averaged over them.
      whole: every image must have all its rows.
      dtype: float32 holds the same values in half the memory; what is computed from them is then
        not in float64.

    Raises:
      ValueError: if two rows have the same place, a label is not one of the classes, or an image
        lacks rows that others have (with `whole`); names the place and the cure.
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
