"""Whether a difference is real: exact tests on few images, and adjustment for their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import scipy  # which loads its `stats` when that is first used: a second
from jaxtyping import Float, Int
from scipy import special

from rival_jax.statistics import interval
from rival_jax.strata import Statistic, Strata

EXACT = 14  # up to so many images, all patterns of signs are tried
NORMAL = 400  # from so many images, the sum of random signs is normal to three digits
FLIPS = 9999  # random patterns in between
NOTHING = 1e-4  # an image's own difference below it is float32's rounding
_STEP = 1 / 64  # from a mean towards an image: a power of 2, large beside float32's rounding
_PATTERNS = 1024  # tried at once


class Finding(NamedTuple):
    """An estimate, its interval, and the p-value for it being 0; arrays of one shape."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def findings(
    statistic: Statistic,
    values: Float[np.ndarray, "n *v"],
    labels: Int[np.ndarray, " n"],
    **options,
) -> Finding:
    """`statistics.bootstrap` with its options, and `sign_flips`, of one statistic.

    p is NaN if the statistic cannot be negative for any images: nobody asks whether an accuracy is
    0.
    """
    return found(Strata.of(statistic, values, labels, options.pop("bounds", None)), **options)


def found(strata: Strata, *, fixed: Strata | None = None, **options) -> Finding:
    """`findings` for a statistic that is already bound to its images.

    Args:
      strata: the images to resample, with the statistic.
      fixed: the same statistic on images without missing values, if `strata` has some: this one is
        tested, and see `statistics.interval`.
      options: of `statistics.interval`.
    """
    tested = fixed or strata
    p = _p_values(tested, tested.extremes(1.0).min(0) < 0)
    return Finding(*interval(strata, fixed=fixed, **options), p.reshape(strata.shape))


def sign_flips(
    statistic: Statistic, values: Float[np.ndarray, "n *v"], labels: Int[np.ndarray, " n"]
) -> np.ndarray:
    """Two-sided p-values for a statistic of the class means being 0, by flipping images' signs.

    If a mean of differences is 0 because each image's is as likely positive as negative, all
    patterns of signs are as likely as the observed one: p is the share of patterns whose sum is as
    far from 0. This holds at any number of images and in any classes, and it cannot be below 2^(1 -
    n) for n images (`smallest_p`). A class-balanced mean is split exactly into its images' own
    differences; any other statistic (a difference of RFS) by its derivatives, which is exact for
    large n. All patterns are tried up to `EXACT` images, 9,999 random ones above; from `NORMAL`
    images that differ, the normal limit is used.

    Args:
      statistic, values, labels: as for `statistics.bootstrap`; the statistic must be 0 if there is
        no difference, like a difference of two models' means, or RFS.

    Returns:
      float64, shaped like the statistic, in (0, 1].

    Source: Fisher, "The Design of Experiments", 1935, section 21; Pitman, 1937.

    >>> differences = np.array([1, 1, 1, 1, 1, 1, 0, 0, -1.0])
    >>> sign_flips(lambda m: m.mean(0), differences, np.zeros(9, int))
    array(0.125)
    """
    strata = Strata.of(statistic, values, labels)
    return _p_values(strata, np.ones(math.prod(strata.shape), bool)).reshape(strata.shape)


def _p_values(strata: Strata, asked: np.ndarray) -> np.ndarray:
    """Of each output on its own, NaN if not asked for; images' shares are made twice, not held."""
    found, largest = np.full(len(asked), np.nan), np.zeros(1)
    if not asked.any():
        return found
    shares = _shares(strata, asked)
    for some in shares():
        largest = np.maximum(largest, np.abs(some).max(0))
    number, total, square = np.zeros(len(largest), int), 0 * largest, 0 * largest
    few: list[tuple[np.ndarray, np.ndarray]] = []  # outputs, and shares in them that differ
    for some in shares():
        differ = np.abs(some) > 1e-3 * largest  # the rest is rounding
        # Image by image, whatever the classes: sums depend on their order.
        total, square = (np.vstack([a, b]).sum(0) for a, b in ((total, some), (square, some**2)))
        place = np.nonzero((differ & (number < NORMAL)).T)
        few.append((place[0], some.T[place]))
        number += differ.sum(0)
    p = 2 * special.ndtr(-np.abs(total) / np.where(square > 0, np.sqrt(square), 1))
    outputs, own = (np.concatenate(parts) for parts in zip(*few, strict=True))
    own = own[np.argsort(outputs, kind="stable")]  # together by output, images in order
    ends = np.cumsum(np.bincount(outputs, minlength=len(p)))
    for images in np.unique(number[number < NORMAL]):
        these = np.flatnonzero(number == images)
        some = own[ends[these] - images + np.arange(images)[:, None]]
        p[these] = _by_patterns(some, 1e-4 * np.abs(some).sum(0))
    # If no image's own difference is above rounding, there is nothing to test.
    found[asked] = np.where(largest * strata.count > NOTHING, p, 1.0)
    return found


def mcnemar(
    first_only: Int[np.ndarray, "*t"] | np.integer | int,
    second_only: Int[np.ndarray, "*t"] | np.integer | int,
) -> Float[np.ndarray, "*t"]:
    """Exact two-sided p-values for two networks being right equally often on the same images.

    Images on which both are right, or both wrong, carry no information. Without a difference, the
    others go to either network with probability 1/2: p is twice the smaller tail of a binomial
    distribution, at most 1. It equals that of `sign_flips` if all images are of one class.

    Args:
      first_only: images that only the first network has right.
      second_only: images that only the second has right.

    Returns:
      float64, elementwise, in [0, 1]; 1 if the two agree on all images.

    Raises:
      ValueError: for shapes that differ and counts below 0.

    Source: McNemar, Psychometrika 1947; exact as in Fagerland et al., BMC Med. Res. Methodol. 2013.

    >>> mcnemar(np.array([8, 1]), np.array([1, 1])).tolist()
    [0.0390625, 1.0]
    """
    first, second = np.asarray(first_only), np.asarray(second_only)
    if first.shape != second.shape:
        raise ValueError(f"second_only: got {second.shape}, expected first_only's {first.shape}")
    fewer, number = np.minimum(first, second), first + second
    if (fewer < 0).any():
        raise ValueError(f"counts of images: got {fewer.min()}, expected at least 0")
    return np.asarray(np.minimum(2 * special.bdtr(fewer, number, 0.5), 1))


def smallest_p(images: int) -> float:
    """The smallest possible p-value of `sign_flips`: above 0.05 for fewer than 6 images.

    >>> smallest_p(5), smallest_p(6)
    (0.0625, 0.03125)
    """
    return 2.0 ** (1 - images)


def _shares(strata: Strata, asked: np.ndarray) -> Callable[[], Iterator[np.ndarray]]:
    """Makes every image's contribution to the outputs asked for, [n, k] by class; they sum to it.

    To first order, an image adds its distance from the mean over classes, times the statistic's
    derivative by its class's mean, and its share of the statistic itself. Derivatives are taken
    from steps of `_STEP`.
    """
    weights = strata.weights
    here = strata.evaluate(strata.means[None])[0]
    means, middle = strata.means, strata.means.mean(0)

    def towards(places: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        steps = (([c], means[c] + _STEP * (some - means[c])) for c, some in enumerate(places))
        return ((values - here) / _STEP for values in strata.moved(means, steps))

    apart = -np.concatenate([*towards([middle[None]] * len(means))])
    own = apart + weights * (here - apart.sum(0))

    parts = lambda: zip(own, towards(strata.pools()), strict=True)  # noqa: E731
    return lambda: (((change + mine) / len(change))[:, asked] for mine, change in parts())


def _by_patterns(shares: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """The share of sign patterns as far from 0 as the unflipped one, with a tolerance of `tie`."""
    number = len(shares)
    if number <= EXACT:  # the first sign is fixed: flipping all changes no distance
        patterns = np.arange(2 ** max(number - 1, 0))[:, None] >> np.arange(number) & 1
    else:
        rng = np.random.Generator(np.random.PCG64(0))
        patterns = rng.integers(2, size=(FLIPS, number), dtype=np.int8)
    least = np.abs(shares.sum(0)) - tie
    count = np.zeros(shares.shape[1])
    for start in range(0, len(patterns), _PATTERNS):
        signs = 1 - 2.0 * patterns[start : start + _PATTERNS]
        count += (np.abs(signs @ shares) >= least).sum(0)
    return count / len(patterns) if number <= EXACT else (count + 1) / (len(patterns) + 1)


def holm(p_values: Float[np.ndarray, "*t"]) -> Float[np.ndarray, "*t"]:
    """P-values adjusted for their number: p bounds the chance of any false difference.

    Args:
      p_values: any shape; NaN marks a test not made, and stays NaN.

    Source: Holm, Scandinavian Journal of Statistics 1979.

    >>> holm(np.array([0.01, 0.04, 0.03, 0.5])).round(3).tolist()
    [0.04, 0.09, 0.09, 0.5]
    """
    p = np.asarray(p_values, np.float64)
    adjusted, made = np.full(p.shape, np.nan), ~np.isnan(p)
    order = np.argsort(p[made], kind="stable")
    steps = p[made][order] * np.arange(made.sum(), 0, -1)
    ranked = np.empty(len(order))
    ranked[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(order) else steps
    adjusted[made] = ranked
    return adjusted


def benjamini_hochberg(p_values: Float[np.ndarray, "*t"]) -> Float[np.ndarray, "*t"]:
    """P-values adjusted for false discovery: those up to q have a false discovery rate of q.

    Args:
      p_values: any shape; NaN marks a test not made, and stays NaN.

    Source: Benjamini and Hochberg, J. R. Stat. Soc. B 1995.

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.5])).round(3).tolist()
    [0.04, 0.053, 0.053, 0.5]
    """
    p = np.asarray(p_values, np.float64)
    adjusted, made = np.full(p.shape, np.nan), ~np.isnan(p)
    adjusted[made] = scipy.stats.false_discovery_control(p[made])
    return adjusted


def pairing_p_value(
    cross: Float[np.ndarray, "n n"], *, permutations: int = 9999, seed: int = 0
) -> float:
    """Permutation test of whether a feature follows an attribute from image to image.

    Null: which image's map goes with which image's mask does not matter, as for a feature that
    marks the place where the attribute of this class usually is. The statistic is the mean IoU.

    Args:
      cross: IoU of image i's map with image j's mask; n images of one class.
      permutations: random ones, besides the identity.

    Returns:
      (1 + permutations as good as the identity) / (1 + permutations), never below the truth on
      average; 1 for fewer than two images.
    """
    cross = np.asarray(cross, np.float64)
    rng, rows = np.random.default_rng(seed), np.arange(len(cross))
    observed = cross[rows, rows].mean() if len(cross) else 0.0
    orders = rng.permuted(np.tile(rows, (permutations, 1)), axis=1)
    as_good = (cross[rows, orders].mean(1) >= observed - 1e-12).sum() if len(cross) else orders.size
    return float((1 + as_good) / (1 + permutations)) if len(cross) > 1 else 1.0


def shuffled_p_values(scores: Float[np.ndarray, "networks t"]) -> Float[np.ndarray, " t"]:
    """Permutation test of whether a network has detectors that shuffled weights do not have.

    Null: weights are exchangeable within each tensor, as in any randomly initialised network: the
    network is one more draw of the shuffled ones, and any row could have been the first. Features
    of random convolutions do follow bright, dark or large parts from image to image, so
    `pairing_p_value` alone reports many of them; here all rows contain them. A task's excess is its
    score minus the mean of all networks on it; the excesses of all tasks form one reference
    distribution, so a few networks resolve small p-values.

    Args:
      scores: of the network in question, then of shuffled ones; t tasks, such as the held-out IoU
        of the best feature for each class and attribute, with the feature selected anew per
        network.

    Returns:
      (1 + shuffled excesses as large) / (1 + shuffled excesses); all 1 if there are none. Uniform
      over the tasks under the null. If only some tasks are null and spreads differ, the average
      over tasks is controlled, as in SAM (Tusher et al., PNAS 2001).
    """
    excess = np.asarray(scores, np.float64)
    excess = excess - excess.mean(0, keepdims=True)
    reference = np.sort(excess[1:].ravel())
    as_large = len(reference) - np.searchsorted(reference, excess[0] - 1e-12)
    return (1 + as_large) / (1 + len(reference))


def false_alarms(scores: Float[np.ndarray, "networks t"], rate: float) -> int:
    """How many shuffled networks, put in first place, have findings at a false discovery `rate`."""
    others = scores[1:]
    found = [shuffled_p_values(np.roll(others, -i, axis=0)) for i in range(len(others))]
    return sum(bool((benjamini_hochberg(p) <= rate).any()) for p in found)
