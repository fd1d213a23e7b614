"""How far a network's confidence is from how often it is right, in bins of confidence."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

BINS = 15


def gaps(
    confidence: Float[np.ndarray, "*b"],
    correct: Float[np.ndarray, "*b"] | Bool[np.ndarray, "*b"],
    bins: int = BINS,
) -> Float[np.ndarray, "*b bins"]:
    """Each image's correctness minus its confidence, in the bin of the latter; 0 in the others.

    Their mean over images, as absolute values summed over the bins, is the expected calibration
    error of those images, so that they can be resampled.

    Args:
      confidence: in [0, 1]. correct: 1 or 0; NaN is kept.
      bins: of equal width, open below and closed above.

    >>> gaps(np.array([0.25, 1.0]), np.array([1.0, 0.0]), bins=2).tolist()
    [[0.75, 0.0], [0.0, -1.0]]
    """
    place = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    return np.where(place[..., None] == np.arange(bins), (correct - confidence)[..., None], 0.0)


def expected_calibration_error(
    confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"], bins: int = BINS
) -> float:
    """The mean distance of accuracy from confidence in bins of equal width, in [0, 1]; in float64.

    Bins weigh by their number of images; they are open below and closed above. Chance adds more the
    fewer images a bin has, so compare sets of equal size. NaN if a confidence is.

    Raises:
      ValueError: for no images, shapes that differ, or confidences outside [0, 1].

    Source: Guo et al., ICML 2017, equation 3.

    >>> expected_calibration_error(np.array([0.75, 0.75, 1.0]), np.array([True, False, True]))
    0.16666666666666666
    """
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct)
    if confidence.shape != correct.shape or not confidence.size:
        raise ValueError(
            f"correct: got {correct.shape}, expected confidence's {confidence.shape}, not empty"
        )
    outside = confidence[np.abs(confidence - 0.5) > 0.5 + 1e-6]
    if len(outside):
        raise ValueError(f"confidence: got {outside[0]:g}, expected [0, 1]")
    return float(np.abs(gaps(confidence, correct, bins).mean(0)).sum())
