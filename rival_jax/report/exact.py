"""Exact shares of single classes, and differences between two networks, without a bootstrap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rival_jax import shares, significance
from rival_jax.images import Images
from rival_jax.named import Named
from rival_jax.report.results import Row

ENDS = ("low", "high", "p")


def of_classes(
    hit: Named, found: Images, pairs: Sequence[tuple[str, str]], confidence: float
) -> Iterator[Row]:
    """For every class, each network's share and each pair's difference; each pair's photos.

    Differences come with McNemar's p, and with counts of photos that only the second network has
    right ("gained") or only the first ("lost").

    Args:
      hit: per image, 1 or 0, NaN without an answer; axes example and model.
      found: labels and classes of the images.
      pairs: pairs of networks.
      confidence: the intervals'.
    """
    some, models = np.isfinite(hit.values).all(1), hit.of("model")
    right, labels = np.asarray(hit.values)[some] > 0.5, found.labels[some]
    images = np.bincount(labels, minlength=len(found.classes))
    there, base = np.flatnonzero(images), {"measure": "accuracy", "contrast": ""}

    def count(which: np.ndarray) -> np.ndarray:
        return np.bincount(labels[which], minlength=len(images))[there]

    def rows(estimate: np.ndarray, ends: Mapping[str, np.ndarray], **words: Any) -> Iterator[Row]:
        for place, label in enumerate(there):
            told = {name: float(values[place]) for name, values in ends.items()}
            told |= {"estimate": float(estimate[place] / images[label]), "classes": 1}
            yield {
                **base,
                "class": found.classes[label],
                **words,
                **told,
                "images": int(images[label]),
            }

    nothing = np.full(len(there), np.nan)
    for model, mine in zip(models, right.T, strict=True):
        ends = shares.binomial_interval(count(mine), images[there], confidence)
        yield from rows(count(mine), dict(zip(ENDS, (*ends, nothing), strict=True)), model=model)
    for pair in pairs:
        first, second = (right[:, models.index(name)] for name in pair)
        lost, gained = count(first & ~second), count(second & ~first)
        ends = shares.paired_interval(lost, gained, images[there], confidence)
        p = significance.mcnemar(lost, gained)
        words = {"model": pair[1], "contrast": f"minus {pair[0]}"}
        yield from rows(gained - lost, dict(zip(ENDS, (*ends, p), strict=True)), **words)
        told = {"low": np.nan, "high": np.nan, "images": len(labels), "classes": len(there)}
        told["p"] = float(significance.mcnemar(*map(np.asarray, (lost.sum(), gained.sum()))))
        for measure, number in (("gained", gained), ("lost", lost)):
            yield {**words, **told, "measure": measure, "estimate": float(number.sum())}
