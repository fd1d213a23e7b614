"""The numbers of the study's figures, and its two orders of averaging RFS by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # which loads its `stats` when that is first used: a second and a half

from rival_jax import metrics, statistics
from rival_jax.report.sweep import Noise, Sweep
from rival_jax.types import Array

GRID = np.linspace(-1.0, 1.0, 500)  # where iRFS densities are evaluated
AREA_PER_MILLION = 1.5  # marker area of figure 2, points squared per million parameters


def rfs_of_means(acc_fg: Array, acc_bg: Array) -> Array:
    """RFS of the accuracies averaged over levels and classes [..., l, c] (study, figure 6).

    The study's "average RFS over all noise levels": the averaging comes before the ratio.
    """
    return metrics.rfs(acc_fg.mean((-2, -1)), acc_bg.mean((-2, -1)))


def mean_of_rfs(acc_fg: Array, acc_bg: Array) -> Array:
    """Mean over levels of the RFS of the class-averaged accuracies [..., l, c]."""
    return metrics.rfs(acc_fg.mean(-1), acc_bg.mean(-1)).mean(-1)


_rfs = jax.jit(metrics.rfs)


def rfs(acc_fg: np.ndarray, acc_bg: np.ndarray) -> np.ndarray:
    """`metrics.rfs` of NumPy arrays."""
    return np.asarray(_rfs(jnp.asarray(acc_fg), jnp.asarray(acc_bg)))


def irfs(noise: Noise) -> np.ndarray:
    """Instance-wise RFS [m, l, n] of the trial-mean probabilities."""
    fg, bg = (noise.region(noise.probability, name) for name in ("foreground", "background"))
    return rfs(fg, bg)


def relative_difference(acc_fg: np.ndarray, acc_bg: np.ndarray) -> np.ndarray:
    """`(a_bg - a_fg) / a_bg`, the normalisation RFS is compared with; -inf or NaN at `a_bg` 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return (acc_bg - acc_fg) / acc_bg


class Scatter(NamedTuple):
    """Figure 2: x under foreground noise, y under background noise, averaged over levels."""

    classes: np.ndarray  # [m, c, 2]
    models: np.ndarray  # [m, 2], plain mean over classes


def scatter(values: np.ndarray) -> Scatter:
    """Figure 2 from class means under foreground and background noise, [m, l, 2, c]."""
    classes = np.moveaxis(np.nanmean(values, axis=1), 1, -1)
    return Scatter(classes, np.nanmean(classes, axis=1))


def marker_area(parameters: np.ndarray) -> np.ndarray:
    """Marker area of figure 2 in points squared, from parameter counts."""
    return AREA_PER_MILLION * np.asarray(parameters) / 1e6


class Curves(NamedTuple):
    """Figure 4: curves over levels, [g, l] each."""

    fg: np.ndarray
    bg: np.ndarray
    rfs: np.ndarray
    relative_difference: np.ndarray
    difference: np.ndarray


def group_curves(
    noise: Noise, models: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> Curves:
    """Figure 4: accuracies averaged over classes, then over a group's models, then RFS of those.

    Raises:
      ValueError: for a group with a model that is not in the sweep.
    """
    for group, members in groups.items():
        if unknown := [name for name in members if name not in models]:
            raise ValueError(
                f"group {group!r} names {unknown[0]!r}, which is not among the models of this "
                f"report: {', '.join(models)}"
            )
    accuracy = noise.accuracy.mean(-1)
    index = [[models.index(name) for name in members] for members in groups.values()]
    mean = np.stack([accuracy[members].mean(0) for members in index])
    fg, bg = (mean[..., noise.regions.index(name)] for name in ("foreground", "background"))
    return Curves(fg, bg, rfs(fg, bg), relative_difference(fg, bg), bg - fg)


def density(values: np.ndarray) -> np.ndarray:
    """Gaussian kernel density on `GRID`, bandwidth by Scott's rule; NaN if all values are equal."""
    if values.size < 2 or np.ptp(values) < 1e-6:
        return np.full(GRID.shape, np.nan)
    return scipy.stats.gaussian_kde(values)(GRID)


def worst(
    prob_fg: np.ndarray, prob_bg: np.ndarray, labels: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Figure 1: per class the images that background noise hurts most against foreground noise.

    Args:
      prob_fg, prob_bg: of one model at one level, trial means [n].
      labels: [n].
      count: images per class.

    Returns:
      (positions [c, count], gaps p_bg - p_fg [c, count]), ascending; -1 and NaN past a class's end.
    """
    gap = prob_bg - prob_fg
    classes = labels.max() + 1
    index, gaps = np.full((classes, count), -1), np.full((classes, count), np.nan)
    for label in range(classes):
        members = np.flatnonzero(labels == label)
        chosen = members[np.argsort(gap[members], kind="stable")[:count]]
        index[label, : len(chosen)], gaps[label, : len(chosen)] = chosen, gap[chosen]
    return index, gaps


def class_means(sweep: Sweep, values: np.ndarray) -> np.ndarray:
    """Mean of every class over the examples, the last axis of `values` [..., n]: [..., c]."""
    means = statistics.class_means(np.moveaxis(values, -1, 0), sweep.labels, len(sweep.classes))
    return np.moveaxis(means, 0, -1)
