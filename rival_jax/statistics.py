"""Means over classes, and bootstrap intervals with images as the clusters."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy import special

Statistic = Callable[[Array], Array]
_CHUNK = 1 << 23  # class means held at once, numbers


class Interval(NamedTuple):
    """A statistic and its confidence interval, arrays of one shape."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray


def class_means(
    values: Float[np.ndarray, "n *v"], labels: Int[np.ndarray, " n"], num_classes: int
) -> Float[np.ndarray, "c *v"]:
    """Mean of every class, NaN for a class without examples.

    Args:
      values: one row per image; labels: in [0, num_classes).
    """
    values = np.asarray(values, np.float64)
    flat = values.reshape(len(values), -1)
    members = np.zeros((num_classes, len(values)))
    members[labels, np.arange(len(values))] = 1
    with np.errstate(invalid="ignore"):
        means = members @ flat / members.sum(1, keepdims=True)
    return means.reshape(num_classes, *values.shape[1:])


def bootstrap(
    statistic: Statistic,
    values: Float[np.ndarray, "n *v"],
    labels: Int[np.ndarray, " n"],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    method: str = "bca",
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of a statistic of the class means; images are resampled within classes.

    An image's trials stay together (it is the cluster), and every class keeps its size (the
    strata). Models stacked along an axis of `values` share the resamples, so a difference between
    them, formed inside `statistic`, is paired.

    Args:
      statistic: means of the classes present, [c, *v] in label order -> any array; traceable by
        jax (it is mapped over resamples). A class-balanced mean is `lambda m: m.mean(0)`.
      values: per image, e.g. accuracy over trials, [n, levels, regions].
      labels: class of each image.
      resamples: at least 2.
      confidence: in (0, 1).
      method: "percentile", or "bca" (bias-corrected and accelerated; acceleration by the
        stratified jackknife).
      seed: of the resampling.

    Returns:
      `Interval` of arrays shaped like the statistic.

    Raises:
      ValueError: for an unknown method, a NaN value, or lengths that differ.

    Source: Efron, JASA 1987; Davison and Hinkley, "Bootstrap Methods", 1997, sections 5.3.2, 5.6.
    """
    values, labels = np.asarray(values), np.asarray(labels)
    if method not in ("percentile", "bca"):
        raise ValueError(f"method got {method!r}, expected 'percentile' or 'bca'")
    if len(values) != len(labels):
        raise ValueError(f"labels: got {labels.shape}, expected ({len(values)},)")
    if not np.isfinite(values).all():
        raise ValueError("values: got NaN or infinity; drop those images first")
    flat = values.reshape(len(values), -1).astype(np.float64)
    strata = [flat[labels == label] for label in np.unique(labels)]
    means = np.stack([stratum.mean(0) for stratum in strata])
    evaluate = _evaluator(statistic, values.shape[1:])
    shape = jax.eval_shape(statistic, jnp.zeros((len(strata), *values.shape[1:]))).shape
    estimate = evaluate(means[None])[0]
    step = max(1, _CHUNK // means.size)
    rng = np.random.Generator(np.random.PCG64(seed))
    draws = np.concatenate(
        [
            evaluate(_resampled_means(strata, min(step, resamples - start), rng))
            for start in range(0, resamples, step)
        ]
    )
    tail = np.full(estimate.shape, (1 - confidence) / 2)
    low, high = tail, 1 - tail
    if method == "bca":
        acceleration = _acceleration(evaluate, strata, means, step)
        low, high = _bca_quantiles(estimate, draws, acceleration, low, high)
    draws.sort(axis=0)
    limits = (estimate, _quantile(draws, low), _quantile(draws, high))
    return Interval(*(limit.reshape(shape) for limit in limits))


def bootstrap_difference(
    statistic: Statistic,
    values_a: Float[np.ndarray, "n *v"],
    values_b: Float[np.ndarray, "n *v"],
    labels: Int[np.ndarray, " n"],
    **options,
) -> Interval:
    """Paired interval of `statistic(b) - statistic(a)`, the same images in the same order.

    Arguments and errors as `bootstrap`; an interval that excludes 0 is a difference between the
    two models that resampling the images does not explain.
    """
    both = np.stack([values_a, values_b], axis=1)
    return bootstrap(lambda m: statistic(m[:, 1]) - statistic(m[:, 0]), both, labels, **options)


def _evaluator(statistic: Statistic, shape: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    mapped = jax.jit(jax.vmap(statistic))

    def evaluate(means: np.ndarray) -> np.ndarray:  # [r, c, prod(shape)] -> [r, k]
        values = mapped(jnp.asarray(means.reshape(*means.shape[:2], *shape), jnp.float32))
        return np.asarray(values, np.float64).reshape(len(means), -1)

    return evaluate


def _resampled_means(
    strata: list[np.ndarray], resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """[resamples, c, v]: counts of every image in a resample, times the values."""
    means = []
    for stratum in strata:
        n = len(stratum)
        drawn = rng.integers(n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=n * resamples).reshape(resamples, n)
        means.append(counts @ stratum / n)
    return np.stack(means, axis=1)


def _acceleration(
    evaluate: Callable[[np.ndarray], np.ndarray],
    strata: list[np.ndarray],
    means: np.ndarray,
    step: int,
) -> np.ndarray:
    """Skewness of the jackknife influences; a class of one image has none."""
    square = cube = np.zeros(1)
    for index, stratum in enumerate(strata):
        n = len(stratum)
        if n == 1:
            continue
        without = (means[index] * n - stratum) / (n - 1)
        left_out = []
        for start in range(0, n, step):
            part = np.repeat(means[None], len(without[start : start + step]), axis=0)
            part[:, index] = without[start : start + step]
            left_out.append(evaluate(part))
        values = np.concatenate(left_out)
        influence = (n - 1) * (values.mean(0) - values)
        square = square + (influence**2).sum(0) / n**2
        cube = cube + (influence**3).sum(0) / n**3
    scale = square**1.5
    return cube / np.where(scale > 0, 6 * scale, 1)


def _bca_quantiles(
    estimate: np.ndarray,
    draws: np.ndarray,
    acceleration: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    below = ((draws < estimate).mean(0) + (draws <= estimate).mean(0)) / 2
    bias = special.ndtri(np.clip(below, 0.5 / len(draws), 1 - 0.5 / len(draws)))

    def corrected(tail: np.ndarray) -> np.ndarray:
        z = bias + special.ndtri(tail)
        return special.ndtr(bias + z / (1 - acceleration * z))

    return corrected(low), corrected(high)


def _quantile(ordered: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Linear interpolation between order statistics, each output with its own share."""
    position = share * (len(ordered) - 1)
    below = np.floor(position).astype(int)
    above = np.minimum(below + 1, len(ordered) - 1)
    left = np.take_along_axis(ordered, below[None], 0)[0]
    right = np.take_along_axis(ordered, above[None], 0)[0]
    return left + (position - below) * (right - left)


def benjamini_hochberg(p_values: Float[np.ndarray, "*t"]) -> Float[np.ndarray, "*t"]:
    """P-values adjusted for false discovery: what is at most q has a false discovery rate of q.

    Args:
      p_values: any shape; a NaN is a test not made, and stays NaN.

    Source: Benjamini and Hochberg, J. R. Stat. Soc. B 1995.

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.5])).round(3).tolist()
    [0.04, 0.053, 0.053, 0.5]
    """
    p = np.asarray(p_values, np.float64)
    adjusted, made = np.full(p.shape, np.nan), ~np.isnan(p)
    order = np.argsort(p[made])
    steps = p[made][order] * made.sum() / np.arange(1, made.sum() + 1)
    ranked = np.empty(len(order))
    ranked[order] = np.minimum.accumulate(steps[::-1])[::-1]
    adjusted[made] = np.minimum(ranked, 1)
    return adjusted
