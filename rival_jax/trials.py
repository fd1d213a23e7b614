"""When there are enough trials of noise: what a finite number of them adds to an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Right = Sequence[Float[np.ndarray, "2 n _"]]
"""Under each level, whether images are right under foreground and under background noise, in its
trials [2, n, trials], which are independent of other levels'. Levels that share their draws are
one: their mean. Foreground and background under the same draw have the same place."""


class Spread(NamedTuple):
    """Where the variance of an estimated RFS, of accuracies averaged over levels, comes from."""

    of_images: float  # that other images of the classes would give other values
    # That another trial of each of these images would, by level, if each has only one trial.
    of_trials: Float[np.ndarray, " levels"]
    counts: Int[np.ndarray, " levels"]  # trials that there are

    def error(self, counts: Int[np.ndarray, " levels"] | int) -> float:
        """The standard error with so many trials, at each level or at all."""
        return math.sqrt(self.of_images + (self.of_trials / counts).sum())

    def widening(self, most: int) -> float:
        """By what share the interval is wider than it would be with `most` trials at all levels.

        An interval over images covers with any number of trials: an image's mean over trials
        differs from its expectation, independently of other images, and so adds to what images
        vary by. Adding trials to all images until this is small keeps the coverage of many images
        (Chow and Robbins, Annals of Mathematical Statistics 1965): the rule looks at variances,
        not at the estimate. Adding them to single images whose trials disagree would bias it.

        Returns:
          from 0 (nothing varies between trials, or there are as many as there could be) to
          sqrt(most / t) - 1 (nothing else varies).
        """
        least = self.error(np.maximum(most, self.counts))
        return self.error(self.counts) / least - 1 if least else 0.0

    def neediest(self, most: int) -> int:
        """The level, of those with fewer than `most` trials, where one more takes most variance.

        Trials in proportion to a level's standard deviation make the variance of a mean over
        levels least for their number (Neyman, Journal of the Royal Statistical Society 1934); this
        goes there one by one. A level's variance is over all its images; levels go on weighing the
        same in the mean, whatever their trials.
        """
        gain = self.of_trials / self.counts / (self.counts + 1)
        return int(np.where(self.counts < most, gain, -1.0).argmax())


def spread(right: Right, labels: Int[np.ndarray, " n"]) -> Spread:
    """What RFS varies by, from images that are independent, each with several trials.

    RFS is linearised at its estimate, which gives each image a value in every trial of a level. The
    variance between images is that between their expectations, plus that between a level's trials
    over their number, for every level.

    Args:
      right: see `Right`; at least two trials at each level.
      labels: class of each image; classes weigh the same.

    Raises:
      ValueError: for fewer than two trials.

    >>> labels, fg = np.zeros(4, int), np.array([[0, 0], [0, 0], [1, 1], [1.0, 1]])
    >>> spread([np.stack([fg, 1 - fg])], labels).widening(10)
    0.0
    >>> round(spread([np.stack([fg, np.eye(4)[:, :2]])], labels).widening(10), 2)
    0.2
    """
    counts = np.array([one.shape[2] for one in right])
    if counts.min() < 2:
        raise ValueError(f"right: got {counts.min()} trials, expected at least 2")
    _, place, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    weight = 1 / sizes[place] / len(sizes)
    fg, bg = np.mean([one.mean(2) for one in right], axis=0)
    total = weight @ (fg + bg)
    room, sign = (total, 1) if total < 1 else (2 - total, -1)  # RFS is gap / room
    room = room if room > 0 else 1.0
    lost = sign * (weight @ (bg - fg)) / room
    values = [((bg - fg) - lost * (bg + fg)) / room for fg, bg in right]  # [n, trials] of levels
    mean = np.mean([value.mean(1) for value in values], axis=0)
    # A class of one image says nothing of its spread; that of all images stands for it.
    middle = np.where(sizes < 2, mean.mean(), np.bincount(place, mean) / sizes)
    square = (mean - middle[place]) ** 2 * (sizes / np.maximum(sizes - 1, 1))[place]
    of_trials = np.array([weight**2 @ value.var(1, ddof=1) for value in values]) / len(right) ** 2
    of_images = float(weight**2 @ square - (of_trials / counts).sum())
    return Spread(max(0.0, of_images), of_trials, counts)
