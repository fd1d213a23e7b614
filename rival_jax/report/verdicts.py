"""What may be called a difference: tests of one table, adjusted for how many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rival_jax import significance
from rival_jax.report.results import Row

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


def verdicts(
    intervals: Sequence[Mapping[str, Any]],
    statistics: Mapping[str, Any],
    images: int | Sequence[int],
    adjust: Adjust = significance.holm,
) -> list[Verdict]:
    """All numbers of one table against 0, at the level that the confidence leaves.

    Args:
      intervals: with their "p"; one without is not tested.
      statistics: of the summary; its "confidence" counts.
      images: that the numbers are of, or a number for each.
      adjust: for the number of tests: `significance.holm`, or `benjamini_hochberg` for long lists.
    """
    counts = np.broadcast_to(images, len(intervals))
    level = 1 - statistics["confidence"]
    adjusted = adjust(np.array([interval.get("p", np.nan) for interval in intervals], np.float64))
    found = []
    for p, count in zip(adjusted, counts, strict=True):
        if np.isnan(p):
            found.append(Verdict(False, "", ""))
        elif significance.smallest_p(int(count)) > level:
            found.append(Verdict(False, "too few images", ""))
        else:
            text = f"{p:.3f}" if p >= 0.001 else "<0.001"
            found.append(Verdict(bool(p <= level), "yes" if p <= level else "no", text))
    return found


def of_rows(
    rows: Iterable[Row], confidence: float, adjust: Adjust = significance.holm
) -> list[Verdict]:
    """`verdicts` of rows of results, each of as many images as it says."""
    found = list(rows)
    return verdicts(found, {"confidence": confidence}, [row["images"] for row in found], adjust)


def by_measure(
    rows: Sequence[tuple[Mapping[str, Any], int]],
    measures: Sequence[str],
    statistics: Mapping[str, Any],
) -> list[dict[str, Verdict]]:
    """Of one table's rows, (numbers by measure, images): whether each measure differs from 0."""
    told = verdicts(
        [numbers[measure] for numbers, _ in rows for measure in measures],
        statistics,
        [images for _, images in rows for _ in measures],
    )
    step = len(measures)
    return [dict(zip(measures, told[i : i + step], strict=True)) for i in range(0, len(told), step)]


def starred(cell: str, verdict: Verdict) -> str:
    """A cell with a star where its number differs from 0."""
    return f"{cell}*" if verdict.differs else cell
