"""Means over classes, and bootstrap intervals with images as the clusters."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from rival_jax.strata import Bounds, Statistic, Strata

ROUNDING = 1e-6  # of float32: statistics this close are equal
FEW = 3  # degrees of freedom below which resamples vary too little


class Interval(NamedTuple):
    """A statistic and its confidence interval, arrays of one shape."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray


def class_means(
    values: Float[np.ndarray, "n *v"], labels: Int[np.ndarray, " n"], num_classes: int
) -> Float[np.ndarray, "c *v"]:
    """The mean of every class, NaN for a class without examples.

    Args:
      values: one row per image; labels: in [0, num_classes).

    >>> class_means(np.array([1.0, 3.0, 4.0]), np.array([0, 0, 1]), 2)
    array([2., 4.])
    """
    values = np.asarray(values, np.float64)
    means = np.full((num_classes, *values.shape[1:]), np.nan)
    sizes = np.bincount(labels, minlength=num_classes)
    together = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    for label in np.flatnonzero(sizes):
        means[label] = values[together[label]].sum(0) / sizes[label]
    return means


def bootstrap(
    statistic: Statistic,
    values: Float[np.ndarray, "n *v"],
    labels: Int[np.ndarray, " n"],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    method: str = "bca",
    seed: int = 0,
    bounds: Bounds | None = None,
) -> Interval:
    """Bootstrap interval of a statistic of the class means; images are resampled within classes.

    An image's trials stay together (it is the cluster), and every class keeps its weight (the
    strata). Models stacked along an axis of `values` share the resamples, so a difference between
    them, formed inside `statistic`, is paired.

    It covers on few images too (`benchmarks/coverage.py`): resamples are rescaled to the variance
    of classes of n, not (n - 1) / n of it; tails are widened like Student's t relative to the
    normal, with the degrees of freedom of the classes' variances (Satterthwaite); below three of
    them, a share gets its binomial interval; classes of one image are collapsed (`blocks.Block`).
    If no image varies, the interval reflects what unseen images could do: for a share it is Clopper
    and Pearson's at the effective number of images, so 6 right of 6 give [0.54, 1].

    Args:
      statistic: means of the present classes, [c, *v] in label order -> any array; traceable by jax
        (it is mapped over resamples). A class-balanced mean is `lambda m: m.mean(0)`.
      values: per image, e.g. accuracy over trials, [n, levels, regions].
      labels: class of each image.
      resamples: at least 2.
      confidence: in (0, 1).
      method: "percentile", or "bca" (bias-corrected and accelerated; acceleration by the
        stratified jackknife).
      seed: for the resampling.
      bounds: (low, high), numbers or arrays [*v], between which an image's values must lie.
        Default, for each column: (0, 1) if all values lie there, else (-1, 1) if all lie there,
        else none; give bounds for a column of differences, which may all be positive by chance.
        Without bounds, a statistic in which no image varies has an interval of NaN.

    Returns:
      `Interval` of arrays shaped like the statistic; the estimate lies in it.

    Raises:
      ValueError: for an unknown method, a NaN value, no image, values outside the bounds, or
        lengths that differ.

    Source: Efron, JASA 1987; Davison and Hinkley, "Bootstrap Methods", 1997, sections 5.3.2, 5.6;
    Rao and Wu, JASA 1988; Satterthwaite, Biometrics 1946; Hesterberg, The American Statistician
    2015, section 4.3.

    >>> six = bootstrap(lambda m: m.mean(0), np.ones(6), np.zeros(6, int))
    >>> [round(float(limit), 2) for limit in six]
    [1.0, 0.54, 1.0]
    """
    strata = Strata.of(statistic, values, labels, bounds)
    options = {"resamples": resamples, "confidence": confidence, "method": method, "seed": seed}
    return interval(strata, **options)


def bootstrap_difference(
    statistic: Statistic,
    values_a: Float[np.ndarray, "n *v"],
    values_b: Float[np.ndarray, "n *v"],
    labels: Int[np.ndarray, " n"],
    **options,
) -> Interval:
    """Paired interval of `statistic(b) - statistic(a)`, the same images in the same order.

    Arguments and errors as `bootstrap`. To decide whether two models differ, use
    `significance.sign_flips`.

    >>> right = np.arange(20) % 2 < 1, np.arange(20) % 4 < 3
    >>> labels, accuracy = np.zeros(20, int), lambda means: means.mean(0)
    >>> found = bootstrap_difference(accuracy, *np.array(right, float), labels, resamples=200)
    >>> float(found.estimate), bool(found.low <= 0.25 <= found.high)
    (0.25, True)
    """
    both = np.stack([values_a, values_b], axis=1)
    return bootstrap(lambda m: statistic(m[:, 1]) - statistic(m[:, 0]), both, labels, **options)


def interval(
    strata: Strata,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    method: str = "bca",
    seed: int = 0,
    fixed: Strata | None = None,
    images: np.ndarray | None = None,
) -> Interval:
    """`bootstrap` for a statistic that is already bound to its images.

    Args:
      strata: the images to resample, with the statistic.
      resamples, confidence, method, seed: see `bootstrap`.
      fixed: the same statistic on images without missing values, if `strata` has some; used for
        what unseen images could do.
      images: upper bound on the images behind each number [k], if some have no value.
    """
    fixed = fixed or strata
    if method not in ("percentile", "bca"):
        raise ValueError(f"method got {method!r}, expected 'percentile' or 'bca'")
    estimate, centre = strata.evaluate(np.stack([strata.means, strata.centre]))
    draws = strata.resampled(resamples, seed)
    error, skewness, freedom, shrunk = _spread(strata)
    tail = (1 - confidence) / 2
    far = special.stdtrit(freedom, tail)  # Student's quantile, negative
    tails = (far, -far)
    if method == "bca":
        tails = _corrected(centre, draws, skewness, tails)
    draws.sort(axis=0)
    low, high = (_quantile(draws, special.ndtr(z)) for z in tails)
    few = freedom < FEW
    if few.any():
        reach = error * special.stdtrit(shrunk, tail)
        wide = _of_few(fixed, images, estimate, reach, confidence)
        low = np.where(few, np.minimum(low, wide[0]), low)
        high = np.where(few, np.maximum(high, wide[1]), high)
    # Equal in float64, but unequal by rounding after float32.
    still = draws[-1] - draws[0] <= ROUNDING * np.maximum(1, np.abs(estimate))
    if still.any():
        low, high = _unseen(fixed, images, still, (low, high), confidence)
    found = (estimate, np.minimum(low, estimate), np.maximum(high, estimate))
    return Interval(*(array.reshape(strata.shape) for array in found))


def _spread(strata: Strata) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each output [k]: standard error, acceleration, and degrees of freedom in two ways.

    Acceleration is the skewness of the jackknife's influences. Degrees of freedom are
    Satterthwaite's for a sum of class variances, each with its number of images minus one; the
    second time each variance is shrunk to their mean with the weight of one image, since a class
    without variation is informative too.
    """
    square = cube = np.zeros(1)
    if not strata.freedom.any():  # one image
        return np.zeros(1), np.zeros(1), np.ones(1), np.ones(1)
    mine = list(strata.blocks)  # of the others, no output depends
    each, others = strata.freedom[mine, None], np.delete(strata.freedom, mine)
    variance = dict.fromkeys(mine, np.zeros(math.prod(strata.shape)))
    for place, influence in strata.influences():
        size = len(influence)
        squares = (influence**2).sum(0)
        square = square + squares / size**2
        cube = cube + (influence**3).sum(0) / size**3
        variance[place] = squares / (size * (size - 1))
    found = np.stack([*variance.values()])
    mean = found.sum(0) / len(strata.freedom)
    drawn, rest = (each * found + mean) / (each + 1), 1 / (others + 1)
    total, below = found.sum(0), (found**2 / each).sum(0)
    shrunk = drawn.sum(0) + mean * rest.sum()
    under = (drawn**2 / each).sum(0) + mean**2 * (rest**2 / others).sum()
    scale = square**1.5
    acceleration = cube / np.where(scale > 0, 6 * scale, 1)
    freedom = _satterthwaite(total, below), _satterthwaite(shrunk, under)
    return np.sqrt(total), acceleration, *freedom


def _satterthwaite(total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Degrees of freedom [k]; `squares`: of variances, each over its own degrees of freedom."""
    return np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1), 1)


def _corrected(
    centre: np.ndarray,
    draws: np.ndarray,
    acceleration: np.ndarray,
    limits: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """BCa: the normal quantiles of the draws to use instead of `limits`."""
    tie = ROUNDING * np.maximum(1, np.abs(centre))
    below = ((draws < centre - tie).mean(0) + (draws <= centre + tie).mean(0)) / 2
    bias = special.ndtri(np.clip(below, 0.5 / len(draws), 1 - 0.5 / len(draws)))

    def moved(z: np.ndarray) -> np.ndarray:
        # Beyond 1 / acceleration the correction would change sign.
        room = np.maximum(1 - acceleration * (bias + z), 0.05)
        return bias + (bias + z) / room

    return moved(limits[0]), moved(limits[1])


def _quantile(ordered: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Quantiles by linear interpolation between order statistics, a share for each output."""
    position = share * (len(ordered) - 1)
    below = np.floor(position).astype(int)
    above = np.minimum(below + 1, len(ordered) - 1)
    left = np.take_along_axis(ordered, below[None], 0)[0]
    right = np.take_along_axis(ordered, above[None], 0)[0]
    return left + (position - below) * (right - left)


def _of_few(
    strata: Strata,
    most_images: np.ndarray | None,
    estimate: np.ndarray,
    reach: np.ndarray,
    confidence: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Limits for outputs with few degrees of freedom, whose resamples vary too little.

    Clopper and Pearson's at the effective number of images for shares (Korn and Graubard, Survey
    Methodology 1998), Student's for all else, within the statistic's possible range;
    `Strata.extremes` tells which are shares, and the range.
    """
    low, high = estimate + reach, estimate - reach
    if not strata.bounded:
        return low, high
    corners = strata.extremes(1.0)
    least, most = corners.min(0), corners.max(0)
    share = (least >= 0) & (most <= 1)
    images = _effective(strata, most_images)
    right = np.clip(estimate, 0, 1) * images
    wrong = images - right
    tail = (1 - confidence) / 2
    lowest = special.betaincinv(np.maximum(right, 1e-9), wrong + 1, tail)
    highest = special.betaincinv(right + 1, np.maximum(wrong, 1e-9), 1 - tail)
    return (
        np.where(share, lowest, np.maximum(low, least)),
        np.where(share, highest, np.minimum(high, most)),
    )


def _effective(strata: Strata, most: np.ndarray | None) -> np.ndarray:
    """How many equally weighted images would give each output its variance; 0 if undefined."""
    weights = strata.weights
    number = weights.sum(0) / np.maximum((weights**2 / strata.sizes[:, None]).sum(0), 1e-30)
    return number if most is None else np.minimum(number, most)


def _unseen(
    strata: Strata,
    most_images: np.ndarray | None,
    still: np.ndarray,
    limits: tuple[np.ndarray, np.ndarray],
    confidence: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Limits of outputs that do not vary, from the share of differing images that may exist.

    If none of n images differs, at most 1 - (tail)^(1 / n) of all images do (Clopper and Pearson,
    Biometrika 1934). That share of every class is moved to the bounds.
    """
    low, high = limits
    if not strata.bounded:
        return np.where(still, np.nan, low), np.where(still, np.nan, high)
    number = _effective(strata, most_images)
    answers = still & (number > 0)  # the other outputs do not depend on the images
    for images in np.unique(number[answers].round(6)):
        found = strata.extremes(1 - ((1 - confidence) / 2) ** (1 / images))
        these = answers & (number.round(6) == images)
        low, high = np.where(these, found.min(0), low), np.where(these, found.max(0), high)
    return low, high
