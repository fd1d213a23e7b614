"""Rows of any study as arrays: what was measured of every image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from rival_jax.named import Axis, Counts, Named
from rival_jax.runtime import row_files


class Images(NamedTuple):
    """What was measured of every image, by measure: the first axis of each is "example"."""

    values: dict[str, Named]  # of NumPy; NaN where an image has no value
    labels: np.ndarray  # int [n], positions in `classes`
    classes: tuple[str, ...]  # of the data set

    @property
    def names(self) -> tuple[str, ...]:
        """Of the images."""
        return next(iter(self.values.values())).of("example")


def read_images(
    files: Sequence[Path],
    axes: Sequence[str | tuple[str, ...]],
    columns: Sequence[str],
    classes: Sequence[str],
    averaged: Sequence[str] = (),
) -> Images:
    """See `Study.read`; nothing is derived."""
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
    once = np.unique(place * (repeated.max(initial=0) + 1) + repeated).size
    if once < len(place):
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
        values[column] = per_image(mean.astype(np.float32).astype(np.float64), named)
    labels = np.zeros(shape[0], np.int32)
    labels[codes[0][0]] = _numbers(table.column("label"), classes, files[0])
    return Images(values, labels, tuple(classes))


def _numbers(column: pa.ChunkedArray, classes: Sequence[str], file: Path) -> np.ndarray:
    """A column's numbers, float64; of words, their positions among the classes."""
    if not (pa.types.is_string(column.type) or pa.types.is_dictionary(column.type)):
        return column.to_numpy().astype(np.float64)
    words, position = column.to_pylist(), {name: i for i, name in enumerate(classes)}
    if unknown := sorted(set(words) - position.keys()):
        raise ValueError(
            f"{file}: label {unknown[0]!r} is not one of the classes in data.json "
            f"({', '.join(classes[:12])}); the folder mixes two runs, use a fresh --workdir"
        )
    return np.array([position[word] for word in words], np.float64)


def per_image(values: np.ndarray, axes: Sequence[Axis]) -> Named:
    """Values of images as a named array; the first axis is "example", NaN is no value."""
    some = np.isfinite(values).astype(int)
    return Named(values, tuple(axes), Counts(some, np.ones_like(some), some, some))


def _codes(table: pa.Table, fields: tuple[str, ...]) -> tuple[np.ndarray, tuple]:
    """Which of its keys every row has, and the keys [(value, ...)] in the order they turn up."""
    parts = []
    for field in fields:
        column = table.column(field).combine_chunks()
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        parts.append((column.indices.to_numpy(), column.dictionary.to_pylist()))
    shape = tuple(len(words) for _, words in parts)
    code = np.ravel_multi_index([codes for codes, _ in parts], shape)
    found, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)
    places = np.stack(np.unravel_index(found[order], shape), axis=1)
    keys = (
        tuple(words[i] for i, (_, words) in zip(row, parts, strict=True)) for row in places.tolist()
    )
    return np.argsort(order)[inverse], tuple(keys)
