"""Tidy rows as arrays with named axes, and one bootstrap of everything made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from rival_jax import significance
from rival_jax.runtime import row_files
from rival_jax.significance import Finding
from rival_jax.types import Array

Parts = Callable[[Array], Mapping[str, Array]]


class Cube(NamedTuple):
    """Columns of numbers along axes of words; NaN where there is no row."""

    axes: dict[str, tuple[str, ...]]  # the words of every axis, in the order they turn up
    values: dict[str, np.ndarray]  # float32, one axis for each of `axes`
    labels: np.ndarray  # int32, the class of every word of the axis "example"


def read_cube(
    paths: Sequence[Path], axes: Sequence[str], columns: Sequence[str], classes: Sequence[str]
) -> Cube:
    """The rows of some units as a cube.

    Args:
      paths: of the units.
      axes: columns of text that are the axes, "example" among them.
      columns: of numbers.
      classes: all classes, which labels are positions in.

    Raises:
      ValueError: if two rows have one place: a unit is there twice.
    """
    text = [*dict.fromkeys([*axes, "label"])]
    tables = [row_files.read(path, [*text, *columns], text) for path in paths]
    table = pa.concat_tables(tables).unify_dictionaries()
    codes, words = {}, {}
    for axis in axes:
        codes[axis], words[axis] = _codes(table.column(axis))
    shape = tuple(len(words[axis]) for axis in axes)
    place = np.ravel_multi_index([codes[axis] for axis in axes], shape)
    if np.unique(place).size < np.size(place):
        raise ValueError(
            f"rows of {paths[0].parent} are there twice; delete the folder and run again"
        )
    values = {}
    for column in columns:
        numbers = np.full(int(np.prod(shape)), np.nan, np.float32)
        numbers[place] = table.column(column).to_numpy()
        values[column] = numbers.reshape(shape)
    label_codes, label_words = _codes(table.column("label"))
    labels = np.zeros(len(words["example"]), np.int32)
    labels[codes["example"]] = np.array([classes.index(word) for word in label_words])[label_codes]
    return Cube(words, values, labels)


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The words that turn up, in that order, and which of them every row has."""
    array = column.combine_chunks()
    words = np.array(array.dictionary.to_pylist(), object)
    found, first, inverse = np.unique(
        array.indices.to_numpy(), return_index=True, return_inverse=True
    )
    order = np.argsort(first)
    return np.argsort(order)[inverse], tuple(words[found[order]])


def joint(parts: Parts, values: np.ndarray, labels: np.ndarray, **options: Any) -> dict[str, Any]:
    """Intervals of several arrays that are made from the same resamples.

    Args:
      parts: means of the classes present [c, *v] -> arrays by name; traceable by jax.
      values: per image [n, *v].
      labels: class of each image.
      options: of `statistics.bootstrap`.

    Returns:
      `Finding` by name, shaped as `parts` shapes them.
    """
    shapes = jax.eval_shape(parts, jnp.zeros((len(np.unique(labels)), *values.shape[1:])))

    def statistic(means: Array) -> Array:
        made = parts(means)
        return jnp.concatenate([made[name].ravel() for name in sorted(made)])

    found = significance.findings(statistic, values, labels, **options)
    intervals, start = {}, 0
    for name in sorted(shapes):
        shape = shapes[name].shape
        size = int(np.prod(shape))
        block = (array[start : start + size].reshape(shape) for array in found)
        intervals[name], start = Finding(*block), start + size
    return intervals


def at(finding: Finding, *index: int) -> dict[str, float]:
    """One number of a finding of arrays, as a summary holds it; "p" only where there is one."""
    numbers = {name: float(array[index]) for name, array in finding._asdict().items()}
    return numbers if np.isfinite(numbers["p"]) else ends(numbers)


def ends(number: Mapping[str, float]) -> dict[str, float]:
    """A number of a summary without its p-value: the columns of a figure's CSV."""
    return {name: number[name] for name in ("estimate", "low", "high")}


def pairs(count: int) -> list[tuple[int, int]]:
    """All (a, b) with a before b."""
    return [(a, b) for a in range(count) for b in range(a + 1, count)]


def contrasts(count: int) -> np.ndarray:
    """[pairs, count]: b minus a for every one of `pairs`."""
    found = np.zeros((len(pairs(count)), count), np.float32)
    for row, (a, b) in enumerate(pairs(count)):
        found[row, a], found[row, b] = -1, 1
    return found


def group_weights(models: Sequence[str], groups: Mapping[str, Sequence[str]]) -> np.ndarray:
    """[g, m]: averages of the models of each group.

    Raises:
      ValueError: for a group without models, or with one that is not among `models`.
    """
    found = np.zeros((len(groups), len(models)), np.float32)
    for row, (group, members) in enumerate(groups.items()):
        unknown = sorted(set(members) - set(models))
        if unknown or not members:
            raise ValueError(
                f"group {group!r} names {', '.join(unknown) or 'no model'}; the models are "
                f"{', '.join(models)}"
            )
        found[row, [models.index(name) for name in members]] = 1 / len(members)
    return found


def with_singles(
    models: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """The groups, then every model that is in none as a group of its own."""
    grouped = {model for members in groups.values() for model in members}
    singles = {model: [model] for model in models if model not in grouped}
    return {**{name: list(members) for name, members in groups.items()}, **singles}
