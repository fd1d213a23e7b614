"""When there are enough trials of noise: what a finite number of them adds to an interval."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Spread(NamedTuple):
    """Where the variance of an estimated RFS comes from."""

    of_images: float  # that other images of the classes would give other values
    of_trials: float  # that another trial of each of these images would, if there is only one

    def error(self, count: int) -> float:
        """The standard error with `count` trials."""
        return math.sqrt(self.of_images + self.of_trials / count)


def spread(
    correct_fg: Float[np.ndarray, "n t"],
    correct_bg: Float[np.ndarray, "n t"],
    labels: Int[np.ndarray, " n"],
) -> Spread:
    """What RFS varies by, from images that are independent, each with several trials.

    RFS is linearised at its estimate, which gives each image a value in every trial. The variance
    between images is that between their expectations, plus that between trials over their number.

    Args:
      correct_fg, correct_bg: whether an image is right in a trial, perhaps a mean over levels; at
        least two trials. Foreground and background under the same draw have the same place.
      labels: class of each image; classes weigh the same.

    Raises:
      ValueError: for fewer than two trials.
    """
    fg, bg, count = correct_fg, correct_bg, correct_fg.shape[1]
    if count < 2:
        raise ValueError(f"correct_fg: got {count} trials, expected at least 2")
    _, place, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    weight = 1 / sizes[place] / len(sizes)
    total = weight @ (fg + bg).mean(1)
    room, sign = (total, 1) if total < 1 else (2 - total, -1)  # RFS is gap / room
    room = room if room > 0 else 1.0
    rfs = weight @ (bg - fg).mean(1) / room
    value = ((bg - fg) - rfs * sign * (bg + fg)) / room
    mean = value.mean(1)
    # A class of one image says nothing of its spread; that of all images stands for it.
    middle = np.where(sizes < 2, mean.mean(), np.bincount(place, mean) / sizes)
    square = (mean - middle[place]) ** 2 * (sizes / np.maximum(sizes - 1, 1))[place]
    of_trials = float(weight**2 @ value.var(1, ddof=1))
    return Spread(max(0.0, float(weight**2 @ square) - of_trials / count), of_trials)


def widening(
    correct_fg: Float[np.ndarray, "n t"],
    correct_bg: Float[np.ndarray, "n t"],
    labels: Int[np.ndarray, " n"],
    most: int,
) -> float:
    """By what share the interval of RFS is wider than it would be with more trials.

    An interval over images covers with any number of trials: an image's mean over trials differs
    from its expectation, independently of other images, and so adds to what images vary by.

    Adding trials to all images until this is small keeps the coverage of many images (Chow and
    Robbins, Annals of Mathematical Statistics 1965): the rule looks at variances, not at the
    estimate. Adding them to single images whose trials disagree would bias the estimate.

    Args:
      correct_fg, correct_bg, labels: as for `spread`.
      most: trials that there could be.

    Returns:
      from 0 (nothing varies between trials, or there are as many as there could be) to
      sqrt(most / t) - 1 (nothing else varies).

    Raises:
      ValueError: for fewer than two trials.

    >>> labels, fg = np.zeros(4, int), np.array([[0, 0], [0, 0], [1, 1], [1.0, 1]])
    >>> widening(fg, 1 - fg, labels, 10), round(widening(fg, np.eye(4)[:, :2], labels, 10), 2)
    (0.0, 0.2)
    """
    found, count = spread(correct_fg, correct_bg, labels), correct_fg.shape[1]
    if found.of_trials == 0:
        return 0.0
    return found.error(count) / found.error(max(most, count)) - 1
