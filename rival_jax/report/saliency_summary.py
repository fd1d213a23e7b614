"""The headline numbers of saliency with their intervals, as one JSON-able dict."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rival_jax.report.cubes import at
from rival_jax.report.saliency import MEASURES, Alignment, class_table, lowest, mean
from rival_jax.report.saliency_intervals import joint_intervals, over_classes
from rival_jax.significance import Finding

Summary = dict[str, Any]


def summarise(
    found: Alignment,
    groups: Mapping[str, Sequence[str]] | None = None,
    *,
    classes: str = "true",
    hits: int = 3,
    resamples: int = 2000,
    confidence: float = 0.95,
    method: str = "bca",
    seed: int = 0,
) -> Summary:
    """Every measure of every subject, by class, by group, and every paired difference.

    Each is `{"estimate", "low", "high"}`: the mean over images of a class that have a value, then
    over classes; images are resampled within their class, shared by all subjects. A resample that
    leaves a class without a value counts it as in the whole; a class with fewer than two values has
    no interval.

    Args:
      found: what was measured.
      groups: group -> models (figure 9, left).
      classes: "true" or "predicted": what images are filed under for hits and headlines.
      hits: of each class, see `saliency.lowest`.
      resamples, confidence, method, seed: of the intervals, see `statistics.bootstrap`.

    Returns:
      `subjects` (name -> model, method, flat, excluded, `mean` and `by_class` over true classes,
      `mean_predicted` and `by_predicted` over predicted ones, `hits`), `groups`, `class_means`
      over all subjects, and `differences`.
    """
    options = {"resamples": resamples, "confidence": confidence, "method": method, "seed": seed}
    values = np.stack(list(found.values.values()), axis=-1)  # [s, n, k]
    members = subject_groups(found, groups or {})
    pairs = _pairs(found)
    joint = joint_intervals(
        values, found.labels, len(found.classes), list(members.values()), pairs, options
    )
    counts = np.bincount(found.labels, minlength=len(found.classes)).tolist()
    area = class_table(found.area[None], found.labels[None], len(found.classes))
    return {
        "dataset": {
            "images": len(found.names),
            "classes": dict(zip(found.classes, counts, strict=True)),
            "object_area": float(mean(area[0], 0)),
        },
        "statistics": {**options, "classes": classes, "hits": hits},
        "measures": dict(MEASURES),
        "subjects": {
            name: _subject(found, s, _named(joint.means, s), classes, hits, options)
            for s, name in enumerate(found.subjects)
        },
        "groups": {
            name: {
                "members": [found.subjects[s] for s in positions],
                "mean": _named(joint.groups, g),
            }
            for g, (name, positions) in enumerate(members.items())
        },
        "class_means": {name: _named(joint.classes, c) for c, name in enumerate(found.classes)},
        "differences": [
            {"subject": found.subjects[b], "minus": found.subjects[a], **_named(joint.pairs, p)}
            for p, (a, b) in enumerate(pairs)
        ],
    }


def filed(summary: Summary) -> tuple[str, str]:
    """Names of a subject's means and of its classes' means, as images are filed in this run."""
    predicted = summary["statistics"]["classes"] == "predicted"
    return ("mean_predicted", "by_predicted") if predicted else ("mean", "by_class")


def subject_groups(
    found: Alignment, groups: Mapping[str, Sequence[str]]
) -> dict[str, tuple[int, ...]]:
    """Positions of the subjects of every group of models, for each method."""
    several = len(set(found.methods)) > 1
    return {
        f"{group} {how}" if several else group: tuple(
            s for s in range(len(found)) if found.models[s] in models and found.methods[s] == how
        )
        for group, models in groups.items()
        for how in dict.fromkeys(found.methods)
    }


def _pairs(found: Alignment) -> list[tuple[int, int]]:
    """Subjects that are compared: two models under one method, two methods on one model."""
    alike = (found.models, found.methods)
    return [
        (a, b)
        for a, b in itertools.combinations(range(len(found)), 2)
        if any(names[a] == names[b] for names in alike)
    ]


def _subject(
    found: Alignment,
    s: int,
    means: dict[str, Any],
    classes: str,
    hits: int,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    values = np.stack([value[s] for value in found.values.values()], axis=-1)
    count = len(found.classes)
    _, by_true = over_classes(values, found.labels, count, options)
    predicted, by_predicted = over_classes(values, found.predicted[s], count, options)
    excluded = dict(zip(found.values, (~np.isfinite(values)).sum(0).tolist(), strict=True))
    return {
        "model": found.models[s],
        "method": found.methods[s],
        "flat": int(found.flat[s].sum()),
        "excluded": {name: number for name, number in excluded.items() if number},
        "mean": means,
        "by_class": {name: _named(by_true, c) for c, name in enumerate(found.classes)},
        "mean_predicted": _named(predicted),
        "by_predicted": {name: _named(by_predicted, c) for c, name in enumerate(found.classes)},
        "hits": _hits(found, s, found.by(classes)[s], hits, options),
    }


def _hits(
    found: Alignment, s: int, filed: np.ndarray, count: int, options: Mapping[str, Any]
) -> dict[str, Any]:
    """What the finder's images are like: where their maps lie, and what greying does to them."""
    rows = lowest(found.values["density_gap"][s], filed, count)
    value = {name: of[s, rows] for name, of in found.values.items()}
    shares = {
        "on_background": (value["density_gap"] < 0).astype(float),
        "missed": 1 - value["pointing_game"],
        "wrong": 1 - value["accuracy"],
    }
    both = {**shares, **value}
    stacked = np.stack(list(both.values()), axis=-1)
    means, _ = over_classes(stacked, filed[rows], len(found.classes), options)
    kept = {name: at(means, k) for k, name in enumerate(both) if name != "accuracy"}
    return {"images": len(rows), "examples": [found.names[row] for row in rows], **kept}


def _named(interval: Finding, *row: int) -> dict[str, dict[str, float]]:
    """Measures [k] by their names."""
    return {name: at(interval, *row, k) for k, name in enumerate(MEASURES)}
