"""What may be called a difference: the tests of a table, adjusted for their number."""

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
    """Whether a number differs from 0, as a flag and in a word, and the adjusted p-value."""

    differs: bool
    word: str  # "yes" | "no" | "too few images" | "" if nothing was tested
    p: str  # "0.012", "<0.001", "" if nothing was tested


def of_rows(
    rows: Iterable[Row], confidence: float, adjust: Adjust = significance.holm
) -> list[Verdict]:
    """Tests all numbers of a table against 0, at the level 1 - confidence.

    Args:
      rows: results, each with its p (NaN: nothing is tested) and number of images.
      confidence: in (0, 1).
      adjust: for the number of tests: `significance.holm`, or `benjamini_hochberg` for long tables.
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
    """Adds a column "cell" to all rows of a table: the number, with a star if it differs from 0."""
    told = zip(results, of_rows(results, confidence), strict=True)
    return Results({**row, "cell": written(row) + "*" * verdict.differs} for row, verdict in told)
