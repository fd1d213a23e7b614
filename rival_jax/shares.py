"""Intervals of shares of images, and of differences between two networks' shares."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int
from scipy import special

Z = 1.959964  # of 95 %


def binomial_interval(
    right: Int[np.ndarray, "*t"], images: Int[np.ndarray, "*t"], confidence: float = 0.95
) -> tuple[Float[np.ndarray, "*t"], Float[np.ndarray, "*t"]]:
    """Ends of the interval for the share of right images; elementwise; [0, 1] without images.

    Raises:
      ValueError: for shapes that differ.

    Source: Clopper and Pearson, Biometrika 1934.

    >>> [round(float(end), 2) for end in binomial_interval(np.array(6), np.array(6))]
    [0.54, 1.0]
    """
    right, images = np.asarray(right), np.asarray(images)
    _check_same("images", images, "right", right)
    tail, wrong = (1 - confidence) / 2, images - right
    low = special.betaincinv(np.maximum(right, 1e-9), wrong + 1, tail)
    high = special.betaincinv(right + 1, np.maximum(wrong, 1e-9), 1 - tail)
    return np.where(right > 0, low, 0.0), np.where(wrong > 0, high, 1.0)


def wilson_interval(right: int, images: int) -> tuple[float, float]:
    """Ends of the 95 % interval for the share of right images, of which there is at least one.

    Shorter than `binomial_interval`: right on average, not for every share.

    Source: Wilson, Journal of the American Statistical Association 1927.

    >>> [round(end, 2) for end in wilson_interval(8, 10)]
    [0.49, 0.94]
    """
    p, z2 = right / images, Z * Z / images
    middle, half = p + z2 / 2, Z * math.sqrt(p * (1 - p) / images + z2 / images / 4)
    low, high = (middle - half) / (1 + z2), (middle + half) / (1 + z2)
    return max(low, 0.0), min(high, 1.0)


def paired_interval(
    first_only: Int[np.ndarray, "*t"],
    second_only: Int[np.ndarray, "*t"],
    images: Int[np.ndarray, "*t"],
    confidence: float = 0.95,
) -> tuple[Float[np.ndarray, "*t"], Float[np.ndarray, "*t"]]:
    """Ends of the interval for the second network's share minus the first's; elementwise.

    Given how many images tell the two apart, so that it leaves 0 out just where `significance.
    mcnemar` is below what the confidence leaves.

    Args:
      first_only, second_only: images that only this network has right.
      images: all images, the same for both networks, at least 1.

    Raises:
      ValueError: for shapes that differ.
    """
    first_only, second_only = np.asarray(first_only), np.asarray(second_only)
    _check_same("second_only", second_only, "first_only", first_only)
    apart = np.asarray(first_only + second_only)
    ends = binomial_interval(second_only, apart, confidence)
    low, high = (np.asarray(apart * (2 * end - 1) / images) for end in ends)
    return low, high


def _check_same(name: str, value: np.ndarray, other_name: str, other: np.ndarray) -> None:
    if value.shape != other.shape:
        raise ValueError(f"{name}: got {value.shape}, expected {other_name}'s {other.shape}")
