"""How good the masks of TokenCut are: rows -> one JSON-able summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rival_jax.report import cubes
from rival_jax.report.saliency_intervals import joint_intervals, over_classes
from rival_jax.runtime import row_files
from rival_jax.significance import Finding

Summary = dict[str, Any]
MEASURES = {  # of a photo: what the tables call it
    "area": "area of the mask",
    "iou": "IoU with the true mask",
    "iou_coarse": "the same before refinement",
    "box": "boxes overlap by more than 1/2",
    "centred": "IoU of a centred box of that area",
    "agreement": "IoU before and after refinement",
}
ABSENT = "photo too small: fewer tokens than 3"


class Masks(NamedTuple):
    """Every network's mask of every photo."""

    models: tuple[str, ...]
    classes: tuple[str, ...]
    names: tuple[str, ...]  # of the photos [n]
    labels: np.ndarray  # int [n]
    reasons: tuple[tuple[str, ...], ...]  # [m][n], why there is no mask; "" where there is one
    doubts: tuple[tuple[str, ...], ...]  # [m][n], what is odd about the mask; "" where nothing is
    values: np.ndarray  # [m, n, measures], NaN where there is none
    components: tuple[tuple[np.ndarray | None, ...], ...]  # [m][n], bool [rows, columns]: the cuts


def read(
    paths: Mapping[str, Sequence[Path]], classes: Sequence[str], photos: Sequence[tuple[str, int]]
) -> Masks:
    """The rows of the units of every network, in the order of `photos`, (name, label)."""
    rows = {
        model: {row["example"]: row for file in files for row in row_files.read(file).to_pylist()}
        for model, files in paths.items()
    }
    nothing = {"reason": ABSENT, "doubt": "", "component": None, **dict.fromkeys(MEASURES, np.nan)}
    table = [[of_model.get(name, nothing) for name, _ in photos] for of_model in rows.values()]
    return Masks(
        models=tuple(rows),
        classes=tuple(classes),
        names=tuple(name for name, _ in photos),
        labels=np.array([label for _, label in photos]),
        reasons=tuple(tuple(row["reason"] for row in of_model) for of_model in table),
        doubts=tuple(tuple(row["doubt"] for row in of_model) for of_model in table),
        values=np.array([[[row[k] for k in MEASURES] for row in of] for of in table], np.float64),
        components=tuple(tuple(map(_component, of_model)) for of_model in table),
    )


def _component(row: Mapping[str, Any]) -> np.ndarray | None:
    if row["component"] is None:
        return None
    shape = row["rows"], row["columns"]
    bits = np.unpackbits(np.frombuffer(row["component"], np.uint8), count=shape[0] * shape[1])
    return bits.reshape(shape).astype(bool)


def summarise(found: Masks, **options: Any) -> Summary:
    """Every measure of every network, by class, and paired differences.

    Each is `{"estimate", "low", "high"}`: the mean over photos of a class that have a value, then
    over classes. A skipped photo has no area and no IoU, and its box counts as missed.

    Args:
      found: what was measured.
      options: of `statistics.bootstrap`.

    Returns:
      `dataset`, `models` (name -> photos, masks, doubtful, skipped by reason, measures, by_class),
      `differences` (of the measures, on the photos that both have), `statistics`.
    """
    count, pairs = len(found.classes), cubes.pairs(len(found.models))
    paired = [found.values[[a, b]] for a, b in pairs]
    for values in paired:
        values[:, np.isnan(values).any(0)] = np.nan
    differences = [
        joint_intervals(values, found.labels, count, [], [(0, 1)], options).pairs
        for values in paired
    ]
    counts = np.bincount(found.labels, minlength=count).tolist()
    return {
        "dataset": {
            "images": len(found.names),
            "classes": dict(zip(found.classes, counts, strict=True)),
        },
        "statistics": options,
        "measures": dict(MEASURES),
        "models": {name: _model(found, m, options) for m, name in enumerate(found.models)},
        "differences": [
            {"model": found.models[b], "minus": found.models[a], **_named(interval, 0)}
            for (a, b), interval in zip(pairs, differences, strict=True)
        ],
    }


def _model(found: Masks, m: int, options: Mapping[str, Any]) -> dict[str, Any]:
    reasons = found.reasons[m]
    mean, of_class = over_classes(found.values[m], found.labels, len(found.classes), options)
    single = Finding(*(array[None] for array in mean))
    return {
        "photos": len(reasons),
        "masks": sum(not reason for reason in reasons),
        "doubtful": sum(map(bool, found.doubts[m])),
        "skipped": dict(Counter(reason.partition(":")[0] for reason in reasons if reason)),
        **_named(single, 0),
        "by_class": {name: _named(of_class, c) for c, name in enumerate(found.classes)},
    }


def _named(interval: Finding, row: int) -> dict[str, dict[str, float]]:
    return {name: cubes.at(interval, row, k) for k, name in enumerate(MEASURES)}


def doubtful(found: Masks) -> list[tuple[str, str, str]]:
    """(model, example, what is odd) of every mask that has to be looked at."""
    return [
        (model, name, doubt)
        for model, doubts in zip(found.models, found.doubts, strict=True)
        for name, doubt in zip(found.names, doubts, strict=True)
        if doubt
    ]


def skipped(found: Masks) -> list[tuple[str, str, str]]:
    """(model, example, reason) of every photo without a mask."""
    return [
        (model, name, reason)
        for model, reasons in zip(found.models, found.reasons, strict=True)
        for name, reason in zip(found.names, reasons, strict=True)
        if reason
    ]
