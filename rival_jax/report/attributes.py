"""What taking a part of the object away costs: rows -> one JSON-able summary.

A part counts by its excess: what greying it costs beyond greying a random region of the same area
in the same object, so that size is not mistaken for importance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from rival_jax import significance, statistics
from rival_jax.report import cubes
from rival_jax.report.cubes import at
from rival_jax.report.saliency import mean
from rival_jax.runtime.results import read_rows
from rival_jax.significance import Finding
from rival_jax.types import Array

Summary = dict[str, Any]
KEY = "probability_excess"  # what parts are ranked and models are compared by
PAIRED = (
    *("accuracy_drop", "probability_drop", "control_accuracy_drop", "control_probability_drop"),
    *("accuracy_excess", KEY),
)
SWAPPED = ("accuracy_drop", "probability_drop", "probability_drop_beyond_grey",
           "lender_probability_rise")  # fmt: skip
ROUNDING = 1e-6  # of a float32 probability


class Parts(NamedTuple):
    """Every network on the same images; [..., 2] is (correct, probability of the true class).

    NaN where an image lacks the attribute, and under `swap` where nobody could lend it.
    """

    models: tuple[str, ...]
    attributes: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray  # int32 [n]
    clean: np.ndarray  # [m, a, n, 2]
    grey: np.ndarray  # [m, a, n, 2]
    control: np.ndarray  # [m, a, n, 2], mean over draws
    swap: np.ndarray  # [m, a, n, 2]
    other: np.ndarray  # [m, a, n, 2], probability of the lender's class: clean, under swap
    area: np.ndarray  # [a, n], the part's area over the object's


def read(paths: Sequence[Path], classes: Sequence[str]) -> Parts:
    """The rows of a run's units."""
    axes = ("model", "attribute", "change", "example")
    columns = ("correct", "probability", "other_probability", "area")
    cube = cubes.read_cube(paths, axes, columns, classes)
    changes = cube.axes["change"]
    pair = np.stack([cube.values["correct"], cube.values["probability"]], axis=-1)
    lacking = np.full_like(cube.values["area"][:, :, 0], np.nan)

    def under(values: np.ndarray, change: str) -> np.ndarray:
        if change in changes:
            return values[:, :, changes.index(change)]
        return np.full((*lacking.shape, *values.shape[4:]), np.nan)

    controls = [i for i, change in enumerate(changes) if change.startswith("control_")]
    other = cube.values["other_probability"]
    return Parts(
        models=cube.axes["model"],
        attributes=cube.axes["attribute"],
        classes=tuple(classes),
        labels=cube.labels,
        clean=under(pair, "clean"),
        grey=under(pair, "grey"),
        control=pair[:, :, controls].mean(2),
        swap=under(pair, "swap"),
        other=np.stack([under(other, "clean"), under(other, "swap")], axis=-1),
        area=under(cube.values["area"], "clean")[0],
    )


def summarise(found: Parts, *, pooling: str = "classes", **options: Any) -> Summary:
    """Drops, those of the control, the excess of one over the other, and what swaps do.

    Every number is `{"estimate", "low", "high"}`, paired over the same images; all share the
    resamples. A resample in which no image of a class has the attribute counts the class as in the
    whole; where a class has one such image alone, its ends are NaN.

    Args:
      found: what was measured.
      pooling: "classes": means of a class, then over the classes that have the attribute;
        "images": all images alike (the study's released code).
      options: of `statistics.bootstrap`.

    Returns:
      `attributes` (name -> images, classes, area, models, differences) and `ranking` (model ->
      attributes by the excess of the probability drop, largest first).
    """
    values, having = _paired(found)
    parts = _parts(values, having, found.labels, pooling)
    stacked = np.concatenate([values, having[:, None]], axis=1)
    intervals = cubes.joint(parts, stacked, found.labels, bounds=(-1.0, 1.0), **options)
    attributes = {
        name: _attribute(found, having, intervals, a) for a, name in enumerate(found.attributes)
    }
    counts = np.bincount(found.labels, minlength=len(found.classes)).tolist()

    def excess(name: str, model: str) -> float:
        return attributes[name]["models"][model]["probability_excess"]["estimate"]

    return {
        "dataset": {
            "images": len(found.labels),
            "classes": {name: n for name, n in zip(found.classes, counts, strict=True) if n},
        },
        "statistics": options,
        "pooling": pooling,
        "attributes": attributes,
        "ranking": {
            model: sorted(attributes, key=lambda name: -excess(name, model))
            for model in found.models
        },
    }


def pooled_drop(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """[..., n] twice -> [...]: mean before minus mean after, in percent; NaN is no image."""
    return 100 * (np.nanmean(before, axis=-1) - np.nanmean(after, axis=-1))


def heat_map(table: np.ndarray) -> np.ndarray:
    """[a, m] -> [a + 1, m + 1]: with the plain means of rows and of columns, last.

    Of what is not NaN; NaN where nothing is.
    """
    rows = np.concatenate([table, mean(table, 1)[:, None]], axis=1)
    return np.concatenate([rows, mean(rows, 0)[None]])


def correlations(shown: np.ndarray) -> np.ndarray:
    """Figure 3, left: [n, a] -> [a, a], Pearson; NaN for an attribute that all or none have."""
    centred = shown - shown.mean(0)
    spread = np.sqrt((centred**2).mean(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return centred.T @ centred / len(shown) / np.outer(spread, spread)


def label_summary(files: Mapping[str, Path], classes: Sequence[str], **options: Any) -> Summary:
    """Figure 3's numbers, and the accuracy of the linear classifier of attribute labels.

    Args:
      files: "labels", of a training split: example, label, and a column for each attribute;
        "classifier", of a test split: label and correct.
      classes: their names, in order.
      options: of `statistics.bootstrap`.
    """
    table, scored = read_rows(files["labels"]), read_rows(files["classifier"])
    names = [name for name in table.column_names if name not in ("example", "label")]
    shown = np.stack([table.column(name).to_numpy() for name in names], axis=1).astype(float)
    labels, truth = (
        np.array([classes.index(word) for word in rows.column("label").to_pylist()])
        for rows in (table, scored)
    )
    correct = scored.column("correct").to_numpy().astype(float)
    found = significance.findings(lambda means: means.mean(0), correct, truth, **options)
    present = np.unique(labels)
    return {
        "names": names,
        "classes": [classes[label] for label in present],
        "images": len(labels),
        "correlations": correlations(shown),
        "class_means": statistics.class_means(shown, labels, len(classes))[present],
        "classifier": {"accuracy": at(found), "images": len(correct)},
    }


def _paired(found: Parts) -> tuple[np.ndarray, np.ndarray]:
    """Differences within images [n, m, a, PAIRED + SWAPPED], 0 where an image does not count, and
    which count [n, a, PAIRED + SWAPPED].
    """
    same = np.abs(found.control - found.grey) < ROUNDING
    control = np.where(same, found.grey, found.control)  # a part that is the whole object
    parts = [found.clean - found.grey, found.clean - control, control - found.grey]
    swap = np.stack(
        [
            *np.moveaxis(found.clean - found.swap, -1, 0),
            found.grey[..., 1] - found.swap[..., 1],
            found.other[..., 1] - found.other[..., 0],
        ],
        axis=-1,
    )
    values = np.concatenate([*parts, swap], axis=-1).transpose(2, 0, 1, 3)
    having = ~np.isnan(values[:, 0])
    return np.nan_to_num(values).astype(np.float64), having.astype(np.float64)


def _parts(values: np.ndarray, having: np.ndarray, labels: np.ndarray, pooling: str) -> cubes.Parts:
    """What is made of class means of `values` and, as a further model, of `having`."""
    classes = np.unique(labels)
    total = np.stack([having[labels == c].sum(0) for c in classes])  # [c, a, q]
    summed = np.stack([values[labels == c].sum(0) for c in classes])  # [c, m, a, q]
    whole = jnp.asarray(summed / np.maximum(total, 1)[:, None], jnp.float32)
    weight = total if pooling == "images" else (total > 0).astype(float)
    weight = jnp.asarray(weight / np.maximum(weight.sum(0), 1), jnp.float32)
    contrast = cubes.contrasts(values.shape[1])

    def parts(means: Array) -> dict[str, Array]:  # [c, m + 1, a, q]
        having, means = means[:, -1:], means[:, :-1]
        by_class = jnp.where(having > 0, means / jnp.where(having > 0, having, 1), whole)
        mean = jnp.einsum("caq,cmaq->maq", weight, by_class)
        return {
            "mean": mean,
            "by_class": by_class[..., : len(PAIRED)],
            "difference": jnp.einsum("pm,ma->pa", contrast, mean[..., PAIRED.index(KEY)]),
        }

    return parts


def _attribute(
    found: Parts, having: np.ndarray, intervals: Mapping[str, Finding], a: int
) -> dict[str, Any]:
    """One attribute on the images that have it."""
    rows = np.flatnonzero(having[:, a, 0])
    lent = int(having[:, a, len(PAIRED)].sum())
    classes = np.unique(found.labels)
    counts = np.bincount(found.labels[rows], minlength=len(found.classes))
    sure = int(counts.max()) > 1  # one image of each class: nothing to resample

    def measures(part: str, names: Sequence[str], start: int, known: bool, *index: int) -> dict:
        return {
            name: _ends(at(intervals[part], *index, start + q), known)
            for q, name in enumerate(names)
        }

    entries = {}
    for m, model in enumerate(found.models):
        entry = measures("mean", PAIRED, 0, sure, m, a)
        entry["by_class"] = {
            found.classes[label]: measures("by_class", PAIRED, 0, bool(counts[label] > 1), c, m, a)
            for c, label in enumerate(classes)
            if counts[label]
        }
        if lent:
            entry["swap"] = {"images": lent, **measures("mean", SWAPPED, len(PAIRED), sure, m, a)}
        entries[model] = entry
    return {
        "images": len(rows),
        "classes": {found.classes[c]: int(n) for c, n in enumerate(counts) if n},
        "area": float(np.mean(found.area[a, rows])),
        "models": entries,
        "differences": [
            {
                "model": found.models[y],
                "minus": found.models[x],
                KEY: _ends(at(intervals["difference"], p, a), sure),
            }
            for p, (x, y) in enumerate(cubes.pairs(len(found.models)))
        ],
    }


def _ends(interval: dict[str, float], known: bool) -> dict[str, float]:
    return interval if known else {**interval, "low": np.nan, "high": np.nan, "p": np.nan}
