"""How much parts matter to a network, and what attribute labels tell: rows to results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from rival_jax import statistics
from rival_jax.named import Named
from rival_jax.report.results import Results, Row, plain
from rival_jax.report.study import Means, Measure, Study, read_images

ROUNDING = 1e-6  # of a float32 probability


def paired(columns: dict[str, Named]) -> dict[str, Named]:
    """Differences within images; NaN if one lacks the attribute or, for swaps, has no donor."""
    found = {}
    names = columns["correct"].of("change")
    draws = [name for name in names if name.startswith("control_")]
    for name, column in (("accuracy", "correct"), ("probability", "probability")):
        one = columns[column]
        clean, grey = one.at(change="clean"), one.at(change="grey")
        # If the part is the whole object, it is its own control.
        control = one.where(change=draws).mean("change").map(_same_if_close, grey)
        found[f"{name}_drop"] = clean - grey
        found[f"control_{name}_drop"] = clean - control
        found[f"{name}_excess"] = control - grey
        if "swap" in names:
            found[f"swap_{name}_drop"] = clean - one.at(change="swap")
    if "swap" in names:
        own, other = columns["probability"], columns["other_probability"]
        found["swap_beyond_grey"] = own.at(change="grey") - own.at(change="swap")
        found["swap_lender_rise"] = other.at(change="swap") - other.at(change="clean")
    return found


def _same_if_close(control: Any, grey: Any) -> Any:
    return np.where(np.abs(control - grey) < ROUNDING, grey, control)


def measures(means: Means, pooling: str) -> Iterator[Measure]:
    """Means per class and over classes, and how models differ in a part's cost beyond its size.

    `pooling` "classes": means per class, then over the classes that have the attribute; "images":
    over all images (the study's released code).
    """
    for name, of_class in means.items():
        mean = of_class.mean("class", by="images" if pooling == "images" else "each")
        yield Measure(name, mean)
        if not name.startswith("swap"):
            yield Measure(name, of_class)
        if name == "probability_excess":
            yield Measure(name, mean.differences("model"))


STUDY = Study(
    "attributes",
    axes=("model", "attribute", "change"),
    columns=("correct", "probability", "other_probability"),
    measures=measures,
    sparse=True,
    derived=paired,
    signed=(
        *("accuracy_drop", "control_accuracy_drop", "accuracy_excess", "swap_accuracy_drop"),
        *("probability_drop", "control_probability_drop", "probability_excess"),
        *("swap_probability_drop", "swap_beyond_grey", "swap_lender_rise"),
    ),
)
AREA = Study(  # the part's share of the object, over all images
    "attributes",
    axes=("attribute",),
    columns=("area",),
    measures=lambda means: [Measure("area", means["area"].mean("class", by="images"))],
    averaged=("change",),
    sparse=True,
)
CLASSIFIER = Study(
    "attributes",
    axes=(),
    columns=("correct",),
    measures=lambda means: [Measure("classifier_accuracy", means["correct"].mean("class"))],
)


def results_of(
    files: Mapping[str, Path], classes: Sequence[str], pooling: str, **options: Any
) -> Results:
    """The table of results, from the files of all units, by name and in order."""
    labels, classifier = (files[f"attributes/{name}"] for name in ("labels", "classifier"))
    rows = [file for file in files.values() if file not in (labels, classifier)]
    found = STUDY.results(STUDY.read(rows, classes), pooling, **options)
    found += AREA.results(AREA.read(rows[:1], classes), **options)  # every unit has all pairs
    found += CLASSIFIER.results(CLASSIFIER.read([classifier], classes), **options)
    return found + Results(figure_3(labels, classes))


def figure_3(labels: Path, classes: Sequence[str]) -> Iterator[Row]:
    """How attribute labels go together, and with classes; without intervals.

    Rows of "label_share" (of a class's images that have an attribute) and of "label_correlation"
    (between two attributes; NaN for an attribute that all or no images have).
    """
    names = [name for name in pq.read_schema(labels).names if name not in ("example", "label")]
    images = read_images([labels], (), names, classes)
    shown = np.stack([images.values[name].values for name in names], axis=1)  # [n, a]
    counts = np.bincount(images.labels, minlength=len(classes))
    shares = statistics.class_means(shown, images.labels, len(classes))
    for c in np.flatnonzero(counts).tolist():
        for a, name in enumerate(names):
            words = {"class": classes[c], "attribute": name}
            yield plain(STUDY.name, "label_share", shares[c, a], int(counts[c]), 1, **words)
    size = len(images.labels), int((counts > 0).sum())
    for (a, b), value in np.ndenumerate(correlations(shown)):
        words = {"attribute": names[a], "other_attribute": names[b]}
        yield plain(STUDY.name, "label_correlation", value, *size, **words)


def correlations(shown: np.ndarray) -> np.ndarray:
    """Figure 3, left: [n, a] -> [a, a], Pearson; NaN for an attribute that all or none have."""
    centred = shown - shown.mean(0)
    spread = np.sqrt((centred**2).mean(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return centred.T @ centred / len(shown) / np.outer(spread, spread)
