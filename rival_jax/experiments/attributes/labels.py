"""What attribute labels alone say of the class (RIVAL10 study, section 3.1, figure 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq

from rival_jax import metrics, probe, statistics
from rival_jax.data import Examples
from rival_jax.experiments.runner import Unit
from rival_jax.report.results import Results, Row
from rival_jax.report.study import Measure, Study, read_images
from rival_jax.runtime.results import Category, Columns

ROWS_VERSION = 1
CLASSIFIER_L2 = 1e-4  # keeps the classifier finite where attributes separate the classes
SHARE, CORRELATION, ACCURACY = "label_share", "label_correlation", "classifier_accuracy"
_fit = jax.jit(probe.fit_converged, static_argnames="num_classes")

CLASSIFIER = Study(
    "attributes",
    axes=(),
    columns=("correct",),
    measures=lambda means: [Measure(ACCURACY, means["correct"].mean("class"))],
)


def units(train: Examples, test: Examples) -> Iterator[Unit]:
    """The training split's attribute labels, and the classifier fitted on them."""
    yield _unit("labels", labels, train)
    yield _unit("classifier", classified, train, test)


def _unit(name: str, columns: Callable[..., Columns], *splits: Examples) -> Unit:
    key = {"version": ROWS_VERSION, "data": [split.attribute_fingerprint for split in splits]}
    return Unit(f"attributes/{name}", key, lambda on_batch: columns(*splits), everywhere=True)


def labels(examples: Examples) -> Columns:
    """Attribute labels of a split as rows: example, label, and a column for each attribute."""
    image = np.arange(len(examples))
    return {
        "example": Category(image, list(examples.names)),
        "label": Category(examples.labels, list(examples.classes)),
        **{
            name: examples.attribute_labels[:, place].astype(np.int8)
            for place, name in enumerate(examples.attributes)
        },
    }


def classified(train: Examples, test: Examples) -> Columns:
    """The test split as a linear classifier sees it that was fitted on attribute labels alone."""
    seen, shown = (jnp.asarray(e.attribute_labels, jnp.float32) for e in (train, test))
    count = len(train.classes)
    logits = _fit(seen, jnp.asarray(train.labels), CLASSIFIER_L2, num_classes=count)(shown)
    probability, correct = metrics.true_class(logits, jnp.asarray(test.labels))
    guess = np.asarray(logits.argmax(1))
    return {
        "example": Category(np.arange(len(test)), list(test.names)),
        "label": Category(test.labels, list(test.classes)),
        "predicted": Category(guess, list(test.classes)),
        "probability": np.asarray(probability),
        "correct": np.asarray(correct),
    }


def results(labels: Path, classifier: Path, classes: Sequence[str], **options: Any) -> Results:
    """The classifier's accuracy, and figure 3's numbers, which have no intervals.

    Args:
      labels, classifier: the files of `units`.
      classes: of the data set, in order.
      options: of `statistics.bootstrap`.

    Returns:
      Rows of `ACCURACY`, of `SHARE` (of each class's images that have an attribute) and of
      `CORRELATION` between two attributes; NaN for an attribute that all or no images have.
    """
    found = CLASSIFIER.results(CLASSIFIER.read([classifier], classes), **options)
    names = [name for name in pq.read_schema(labels).names if name not in ("example", "label")]
    images = read_images([labels], (), names, classes)
    shown = np.stack([images.values[name].values for name in names], axis=1)  # [n, a]
    counts = np.bincount(images.labels, minlength=len(classes))
    shares = statistics.class_means(shown, images.labels, len(classes))
    every = len(images.labels), int((counts > 0).sum())
    rows = [
        _row(SHARE, shares[c, a], (int(counts[c]), 1), {"class": classes[c], "attribute": name})
        for c in np.flatnonzero(counts).tolist()
        for a, name in enumerate(names)
    ] + [
        _row(CORRELATION, value, every, {"attribute": names[a], "other_attribute": names[b]})
        for (a, b), value in np.ndenumerate(correlations(shown))
    ]
    return found + Results(rows)


def correlations(shown: np.ndarray) -> np.ndarray:
    """Figure 3, left: [n, a] -> [a, a], Pearson; NaN for an attribute that all or none have."""
    centred = shown - shown.mean(0)
    spread = np.sqrt((centred**2).mean(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return centred.T @ centred / len(shown) / np.outer(spread, spread)


def _row(measure: str, value: float, size: tuple[int, int], place: dict[str, str]) -> Row:
    nothing = dict.fromkeys(("low", "high", "p"), float("nan"))
    row = {"study": "attributes", "measure": measure, **place, "contrast": "", **nothing}
    return {**row, "estimate": float(value), "images": size[0], "classes": size[1]}
