"""What attribute labels alone say of the class, as rows (RIVAL10 study, section 3.1, figure 3)."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import metrics, probe
from rival_jax.data import Examples
from rival_jax.runtime.results import Category, Columns, Run

ROWS_VERSION = 1
CLASSIFIER_L2 = 1e-4  # keeps the classifier finite where attributes separate the classes
_fit = jax.jit(probe.fit_converged, static_argnames="num_classes")


def label_units(run: Run, train: Examples, test: Examples) -> dict[str, Path]:
    """Files of the training split's attribute labels, and of the classifier fitted on them."""
    files = {}
    for name, splits, compute in (
        ("labels", [train], functools.partial(labels, train)),
        ("classifier", [train, test], functools.partial(classified, train, test)),
    ):
        key = {"version": ROWS_VERSION, "data": [split.attribute_fingerprint for split in splits]}
        run.rows(f"attributes/{name}", key, compute, everywhere=True)
        files[name] = run.unit_path(f"attributes/{name}", key)
    return files


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
