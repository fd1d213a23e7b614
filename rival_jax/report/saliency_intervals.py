"""Bootstrap intervals of class means where some images have no value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from rival_jax import statistics
from rival_jax.statistics import Interval
from rival_jax.types import Array


class Joint(NamedTuple):
    """Measures [k] of subjects, of pairs of them, of groups, and of classes over all subjects."""

    means: Interval  # [s, k]
    pairs: Interval  # [p, k]
    groups: Interval  # [g, k]
    classes: Interval  # [c, k]


def joint_intervals(
    values: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    groups: Sequence[Sequence[int]],
    pairs: Sequence[tuple[int, int]],
    options: Mapping[str, Any],
) -> Joint:
    """All subjects in one bootstrap, so that they share the resamples; `values` are [s, n, k]."""
    subjects, _, measures = values.shape
    present = np.unique(labels)
    columns, table = _ratio(np.moveaxis(values, 0, 1), labels, num_classes)  # [c, s, k]
    contrast, average = np.zeros((len(pairs), subjects)), np.zeros((len(groups), subjects))
    for p, (a, b) in enumerate(pairs):
        contrast[p, a], contrast[p, b] = -1, 1
    for g, members in enumerate(groups):
        average[g, list(members)] = 1 / len(members)

    def statistic(means: Array) -> Array:
        of_class = _filled(means, table[present])
        mean = _mean(of_class, table[present], 0)
        parts = (mean, jnp.asarray(contrast, jnp.float32) @ mean)
        parts += (jnp.asarray(average, jnp.float32) @ mean, _mean(of_class, table[present], 1))
        return jnp.concatenate([part.ravel() for part in parts])

    interval = statistics.bootstrap(statistic, columns, labels, **options)
    sizes = [subjects, len(pairs), len(groups), len(present)]
    ends = np.cumsum(sizes)[:-1] * measures
    parts = zip(*(np.split(array, ends) for array in interval), strict=True)
    means, differences, of_groups, of_classes = (
        Interval(*(array.reshape(-1, measures) for array in part)) for part in parts
    )
    unknown = ~np.isfinite(table[present]).any(0)  # [s, k]
    return Joint(
        _without(means, unknown),
        _without(differences, (np.abs(contrast) @ unknown) > 0),
        _without(of_groups, (average @ unknown) > 0),
        _spread(_without(of_classes, ~np.isfinite(table[present]).any(1)), present, num_classes),
    )


def over_classes(
    values: np.ndarray, labels: np.ndarray, num_classes: int, options: Mapping[str, Any]
) -> tuple[Interval, Interval]:
    """(mean over classes [k], of each class [c, k]) of values [n, k] that may be NaN."""
    shape = (num_classes, values.shape[1])
    if not len(values):
        nothing = np.full(shape, np.nan)
        return Interval(*(nothing[0],) * 3), Interval(*(nothing,) * 3)
    present = np.unique(labels)
    columns, table = _ratio(values, labels, num_classes)

    def statistic(means: Array) -> Array:
        of_class = _filled(means, table[present])
        return jnp.concatenate([_mean(of_class, table[present], 0)[None], of_class])

    interval = statistics.bootstrap(statistic, columns, labels, **options)
    of_mean, of_class = Interval(*(a[0] for a in interval)), Interval(*(a[1:] for a in interval))
    counts = np.stack([np.isfinite(values[labels == c]).sum(0) for c in present])
    of_class = _without(of_class, counts == 0)
    few = counts < 2
    of_class = Interval(
        of_class.estimate, *(np.where(few, np.nan, end) for end in (of_class.low, of_class.high))
    )
    mean = _without(of_mean, (counts == 0).all(0))
    return mean, _spread(of_class, present, num_classes)


def _ratio(
    values: np.ndarray, labels: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Values [n, *, k] as (value or 0, whether there is one) [n, *, 2, k]; their class means."""
    some = np.isfinite(values)
    columns = np.stack([np.where(some, values, 0), some], axis=-2)
    means = statistics.class_means(columns, labels, num_classes)
    with np.errstate(invalid="ignore"):
        return columns, means[..., 0, :] / means[..., 1, :]


def _filled(means: Array, table: np.ndarray) -> Array:
    """Means of what is defined, from the means of `_ratio`'s columns; else those of the whole."""
    value, some = means[..., 0, :], means[..., 1, :]
    whole = jnp.asarray(np.nan_to_num(table), jnp.float32)
    return jnp.where(some > 0, value / jnp.where(some > 0, some, 1), whole)


def _mean(of_class: Array, table: np.ndarray, axis: int) -> Array:
    """The mean along an axis of the cells that the whole has a value for."""
    known = np.isfinite(table)
    weight = known / np.maximum(known.sum(axis, keepdims=True), 1)
    return (of_class * jnp.asarray(weight, jnp.float32)).sum(axis)


def _without(interval: Interval, unknown: np.ndarray) -> Interval:
    return Interval(*(np.where(unknown, np.nan, array) for array in interval))


def _spread(interval: Interval, present: np.ndarray, num_classes: int) -> Interval:
    """Rows of the classes that are present, among those of all classes."""

    def spread(array: np.ndarray) -> np.ndarray:
        wide = np.full((num_classes, array.shape[1]), np.nan)
        wide[present] = array
        return wide

    return Interval(*map(spread, interval))
