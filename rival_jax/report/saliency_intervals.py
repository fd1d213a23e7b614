"""Bootstrap intervals of class means where some images have no value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import significance, statistics
from rival_jax.significance import Finding
from rival_jax.types import Array


class Joint(NamedTuple):
    """Measures [k] of subjects, of pairs of them, of groups, and of classes over all subjects."""

    means: Finding  # [s, k]
    pairs: Finding  # [p, k]
    groups: Finding  # [g, k]
    classes: Finding  # [c, k]


def joint_intervals(
    values: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    groups: Sequence[Sequence[int]],
    pairs: Sequence[tuple[int, int]],
    options: Mapping[str, Any],
) -> Joint:
    """All subjects in one bootstrap, so that they share the resamples; `values` are [s, n, k]."""
    subjects = len(values)
    present = np.unique(labels)
    columns, known = _columns(np.moveaxis(values, 0, 1), labels, num_classes)  # known: [c, s, k]
    contrast, average = np.zeros((len(pairs), subjects)), np.zeros((len(groups), subjects))
    for p, (a, b) in enumerate(pairs):
        contrast[p, a], contrast[p, b] = -1, 1
    for g, members in enumerate(groups):
        average[g, list(members)] = 1 / len(members)
    combined = jnp.asarray(np.concatenate([np.eye(subjects), contrast, average]), jnp.float32)

    @jax.jit
    def statistic(means: Array) -> Array:
        of_class, weight = _filled(means)
        return jnp.concatenate([combined @ _mean(of_class, weight, 0), _mean(of_class, weight, 1)])

    interval = significance.findings(statistic, columns, labels, bounds=_bounds(columns), **options)
    ends = np.cumsum([subjects, len(pairs), len(groups)])
    parts = zip(*(np.split(array, ends) for array in interval), strict=True)
    means, differences, of_groups, of_classes = (Finding(*part) for part in parts)
    unknown = ~known[present].any(0)  # [s, k]
    return Joint(
        _without(means, np.asarray(unknown)),
        _without(differences, (np.abs(contrast) @ unknown) > 0),
        _without(of_groups, (average @ unknown) > 0),
        _spread(_without(of_classes, np.asarray(~known[present].any(1))), present, num_classes),
    )


def over_classes(
    values: np.ndarray, labels: np.ndarray, num_classes: int, options: Mapping[str, Any]
) -> tuple[Finding, Finding]:
    """(mean over classes [k], of each class [c, k]) of values [n, k] that may be NaN."""
    if not len(values):
        nothing = np.full((num_classes, values.shape[1]), np.nan)
        return Finding(*(nothing[0],) * 4), Finding(*(nothing,) * 4)
    present = np.unique(labels)
    columns, known = _columns(values, labels, num_classes)
    interval = significance.findings(
        _mean_and_classes, columns, labels, bounds=_bounds(columns), **options
    )
    mean, of_class = Finding(*(a[0] for a in interval)), Finding(*(a[1:] for a in interval))
    counts = np.stack([np.isfinite(values[labels == c]).sum(0) for c in present])
    estimate, *limits = _without(of_class, counts == 0)
    of_class = Finding(estimate, *(np.where(counts < 2, np.nan, limit) for limit in limits))
    return _without(mean, np.asarray(~known.any(0))), _spread(of_class, present, num_classes)


@jax.jit
def _mean_and_classes(means: Array) -> Array:
    of_class, weight = _filled(means)
    return jnp.concatenate([_mean(of_class, weight, 0)[None], of_class])


def _columns(
    values: np.ndarray, labels: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Values [n, *, k] as columns [n, *, 4, k], and which classes have any: bool [c, *, k].

    The columns: the value or 0; whether there is one; its class's mean, and whether that has one.
    The last two are the same in every resample: they come along so that the statistic needs
    nothing else, and is compiled once for all that have one shape.
    """
    some = np.isfinite(values)
    pair = np.stack([np.where(some, values, 0), some], axis=-2)
    means = statistics.class_means(pair, labels, num_classes)
    count = np.nan_to_num(means[..., 1, :])
    whole = np.nan_to_num(means[..., 0, :]) / np.where(count > 0, count, 1)
    constant = np.stack([whole, count > 0], axis=-2)[labels]
    return np.concatenate([pair, constant], axis=-2), count > 0


def _bounds(columns: np.ndarray) -> tuple[float, float] | None:
    """Of measures that may be below 0, though none of these images' be."""
    return (-1.0, 1.0) if np.abs(columns).max() <= 1 + 1e-5 else None


def _filled(means: Array) -> tuple[Array, Array]:
    """(means of what is defined, else those of the whole; whether the whole has one), [c, *, k]."""
    value, some, whole, known = (means[..., i, :] for i in range(4))
    return jnp.where(some > 0, value / jnp.where(some > 0, some, 1), whole), known


def _mean(of_class: Array, weight: Array, axis: int) -> Array:
    return (of_class * weight).sum(axis) / jnp.maximum(weight.sum(axis), 1)


def _without(interval: Finding, unknown: np.ndarray) -> Finding:
    return Finding(*(np.where(unknown, np.nan, array) for array in interval))


def _spread(interval: Finding, present: np.ndarray, num_classes: int) -> Finding:
    """Rows of the classes that are present, among those of all classes."""

    def spread(array: np.ndarray) -> np.ndarray:
        wide = np.full((num_classes, array.shape[1]), np.nan)
        wide[present] = array
        return wide

    return Finding(*map(spread, interval))
