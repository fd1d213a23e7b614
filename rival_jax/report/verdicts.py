"""What may be called a difference: tests of one table, adjusted for how many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from rival_jax import significance
from rival_jax.report.results import Results, Row

Adjust = Callable[[np.ndarray], np.ndarray]
METHOD = (
    "Whether a difference differs from 0 is tested by flipping the signs of the images' own "
    "differences (exact on few images); p is adjusted for the number of tests of its table by {}."
)
STAR = "* differs from 0 (p adjusted by Holm's method)"
HOLM, RATE = "Holm's method", "Benjamini and Hochberg's method (false discovery rate)"


class Verdict(NamedTuple):
    """Of one number: whether it differs from 0, that in a word, and the adjusted p-value."""

    differs: bool
    word: str  # "yes" | "no" | "too few images" | "" where nothing was tested
    p: str  # "0.012", "<0.001", "" where nothing was tested


def of_rows(
    rows: Iterable[Row], confidence: float, adjust: Adjust = significance.holm
) -> list[Verdict]:
    """All numbers of one table against 0, at the level that the confidence leaves.

    Args:
      rows: of results, each with its p (NaN: nothing is tested) and its number of images.
      confidence: in (0, 1).
      adjust: for the number of tests: `significance.holm`, or `benjamini_hochberg` for long lists.
    """
    told, level = list(rows), 1 - confidence
    adjusted = adjust(np.array([row["p"] for row in told], np.float64))
    found = []
    for p, row in zip(adjusted, told, strict=True):
        if np.isnan(p):
            found.append(Verdict(False, "", ""))
        elif significance.smallest_p(row["images"]) > level:
            found.append(Verdict(False, "too few images", ""))
        else:
            text = f"{p:.3f}" if p >= 0.001 else "<0.001"
            found.append(Verdict(bool(p <= level), "yes" if p <= level else "no", text))
    return found


def starred(results: Results, confidence: float, written: Callable[[Row], str]) -> Results:
    """All numbers of one table with a column "cell": as written, and a star where they differ."""
    told = zip(results, of_rows(results, confidence), strict=True)
    return Results({**row, "cell": written(row) + "*" * verdict.differs} for row, verdict in told)
