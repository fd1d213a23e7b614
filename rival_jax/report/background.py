"""What taking a region away costs: rows -> one JSON-able summary (RIVAL10 study, figure 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from rival_jax.report import cubes
from rival_jax.report.cubes import at
from rival_jax.types import Array

Summary = dict[str, Any]
MEASURES = ("accuracy", "probability")


class Ablated(NamedTuple):
    """Every network and head on the same photos, as they are and with a region taken away."""

    models: tuple[str, ...]
    heads: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]  # (treatment, region)
    classes: tuple[str, ...]
    labels: np.ndarray  # int32 [n]
    clean: np.ndarray  # [m, h, n, 2], correct and probability of the true class
    values: np.ndarray  # [m, h, settings, n, 2]


def read(paths: Sequence[Path], classes: Sequence[str]) -> Ablated:
    """The rows of a run's units."""
    axes = ("model", "head", "treatment", "region", "example")
    cube = cubes.read_cube(paths, axes, ("correct", "probability"), classes)
    values = np.stack([cube.values["correct"], cube.values["probability"]], axis=-1)
    treatments, regions = cube.axes["treatment"], cube.axes["region"]
    settings = tuple((t, r) for t in treatments for r in regions if "none" not in (t, r))
    places = [(treatments.index(t), regions.index(r)) for t, r in settings]
    return Ablated(
        models=cube.axes["model"],
        heads=cube.axes["head"],
        settings=settings,
        classes=tuple(classes),
        labels=cube.labels,
        clean=values[:, :, treatments.index("none"), regions.index("none")],
        values=np.stack([values[:, :, t, r] for t, r in places], axis=2),
    )


def summarise(
    found: Ablated, groups: Mapping[str, Sequence[str]] | None = None, **options: Any
) -> Summary:
    """Accuracies and probabilities, their drops from the photos as they are, and differences.

    Every number is a mean over images of a class, then over classes, `{"estimate", "low", "high"}`;
    all share the resamples, so that drops and differences are paired.

    Args:
      found: what was measured.
      groups: group -> models whose accuracies are averaged (figure 8); the others stand alone.
      options: of `statistics.bootstrap`.

    Returns:
      `models` (name -> head -> clean and settings), `groups` (name -> head -> the same), `heads`
      (what a head fitted on grey backgrounds gains), `differences` of drops between models.
    """
    members = cubes.with_singles(found.models, groups or {})
    intervals = cubes.joint(
        _parts(found, cubes.group_weights(found.models, members)),
        np.concatenate([found.clean[:, :, None], found.values], axis=2).transpose(3, 0, 1, 2, 4),
        found.labels,
        **options,
    )
    counts = np.bincount(found.labels, minlength=len(found.classes)).tolist()
    return {
        "dataset": {
            "images": len(found.labels),
            "classes": {name: n for name, n in zip(found.classes, counts, strict=True) if n},
        },
        "statistics": options,
        "models": {
            name: {head: _entry(found, intervals, "", m, h) for h, head in enumerate(found.heads)}
            for m, name in enumerate(found.models)
        },
        "groups": {
            name: {
                "members": models,
                "heads": {
                    head: _entry(found, intervals, "group ", g, h)
                    for h, head in enumerate(found.heads)
                },
            }
            for g, (name, models) in enumerate(members.items())
        },
        "heads": _heads(found, intervals),
        "differences": _differences(found, intervals),
    }


def _parts(found: Ablated, weights: np.ndarray) -> cubes.Parts:
    contrast = cubes.contrasts(len(found.models))
    both = _both_regions(found)

    def parts(means: Array) -> dict[str, Array]:  # [c, m, h, 1 + settings, 2]
        level = means.mean(0)
        drop = level[:, :, :1] - level[:, :, 1:]
        grouped = jnp.einsum("gm,mhsv->ghsv", weights, level)
        found_parts = {
            "level": level,
            "drop": drop,
            "group level": grouped,
            "group drop": grouped[:, :, :1] - grouped[:, :, 1:],
            "difference": jnp.einsum("pm,mhsv->phsv", contrast, drop),
            "heads": level[:, -1] - level[:, 0],
        }
        if both:
            fg, bg = (jnp.array([pair[i] for pair in both.values()]) for i in (0, 1))
            found_parts["regions"] = drop[:, :, fg] - drop[:, :, bg]
        return found_parts

    return parts


def _both_regions(found: Ablated) -> dict[str, tuple[int, int]]:
    """Treatments of both regions: the places of (foreground, background)."""
    place = {setting: i for i, setting in enumerate(found.settings)}
    return {
        treatment: (place[treatment, "foreground"], place[treatment, "background"])
        for treatment in dict.fromkeys(t for t, _ in found.settings)
        if {(treatment, "foreground"), (treatment, "background")} <= place.keys()
    }


def _entry(found: Ablated, intervals: dict, kind: str, row: int, h: int) -> dict[str, Any]:
    """One network or group under one head."""
    level, drop = intervals[f"{kind}level"], intervals[f"{kind}drop"]
    entry: dict[str, Any] = {
        "clean": {name: at(level, row, h, 0, v) for v, name in enumerate(MEASURES)}
    }
    for s, (treatment, region) in enumerate(found.settings):
        numbers = {name: at(level, row, h, 1 + s, v) for v, name in enumerate(MEASURES)}
        drops = {f"{name}_drop": at(drop, row, h, s, v) for v, name in enumerate(MEASURES)}
        entry.setdefault(treatment, {})[region] = {**numbers, **drops}
    if not kind:
        for k, treatment in enumerate(_both_regions(found)):
            entry[treatment]["foreground_minus_background"] = {
                f"{name}_drop": at(intervals["regions"], row, h, k, v)
                for v, name in enumerate(MEASURES)
            }
    return entry


def _heads(found: Ablated, intervals: dict) -> dict[str, Any]:
    """Accuracy with the last head minus accuracy with the first, on the same photos."""
    if len(found.heads) < 2:
        return {}
    names = [("none", "none"), *found.settings]
    return {
        model: [
            {"treatment": t, "region": r, "accuracy": at(intervals["heads"], m, s, 0)}
            for s, (t, r) in enumerate(names)
        ]
        for m, model in enumerate(found.models)
    }


def _differences(found: Ablated, intervals: dict) -> list[dict[str, Any]]:
    """Drop in accuracy of one model minus that of another, for every setting and head."""
    return [
        {
            "model": found.models[b],
            "minus": found.models[a],
            "head": head,
            "treatment": treatment,
            "region": region,
            "accuracy_drop": at(intervals["difference"], p, h, s, 0),
        }
        for p, (a, b) in enumerate(cubes.pairs(len(found.models)))
        for h, head in enumerate(found.heads)
        for s, (treatment, region) in enumerate(found.settings)
    ]


def treatments_of(summary: Summary) -> list[str]:
    """The treatments that a summary holds."""
    return [name for name in some_entry(summary) if name != "clean"]


def regions_of(summary: Summary) -> list[str]:
    """The regions that they were done to."""
    first = some_entry(summary)[treatments_of(summary)[0]]
    return [name for name in first if name in ("background", "foreground")]


def some_entry(summary: Summary) -> dict[str, Any]:
    """The part of the first model and head."""
    return first_of(first_of(summary["models"]))


def first_of(entries: Mapping[str, Any]) -> Any:
    """The first value."""
    return next(iter(entries.values()))
