"""Rows of networks' answers: the photo, what was done to it, and the answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from rival_jax.data import Examples
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.metrics import answers
from rival_jax.runtime.finite import refuse_nan
from rival_jax.runtime.parallel import Rows
from rival_jax.runtime.results import Category, Columns
from rival_jax.types import Array, Batch, Forward, Variables

CLEAN = ("none", 0.0, ("clean",), -1)
"""What `trial_rows` calls unchanged photos."""


def clean_answers(forward: Forward, variables: Variables, batch: Batch) -> dict[str, Array]:
    """`answers` on unchanged photos."""
    return answers(forward(variables, jnp.asarray(batch["image"]), {})[0], batch["label"])


def tidy(
    subject: Subject,
    loaded: Loaded,
    words: Mapping[str, str],
    values: Mapping[str, Any],
    image: np.ndarray | None = None,
    examples: Examples | None = None,
) -> Columns:
    """Columns of one unit: model, dataset, the constant `words`, example, label and the `values`.

    Args:
      values: arrays or `Category` by column, "probability" among them; "predicted" as positions of
        outputs, which are the classes. "index" is dropped.
      image: each row's position in the examples, if that is not "index".
      examples: if not the evaluated split's.

    Raises:
      ValueError: if the network gives NaN.
    """
    image = np.asarray(values["index"] if image is None else image)
    examples = examples or subject.examples(loaded.geometry)
    name, classes = loaded.model.name, list(examples.classes)
    if (bad := np.isnan(values["probability"])).any():
        shown = np.unique(image)
        bad = np.isin(shown, image[bad])
        refuse_nan(name, bad, lambda i: examples.names[shown[i]], "images")
    constant = {"model": name, "dataset": subject.config.data.name, **words}
    found = {
        **{key: Category(0 * image, [value]) for key, value in constant.items()},
        "example": Category(image, list(examples.names)),
        "label": Category(examples.labels[image], classes),
        **{key: value for key, value in values.items() if key != "index"},
    }
    if "predicted" in values:
        found["predicted"] = Category(np.asarray(values["predicted"]), outputs(loaded, classes))
    return found


def outputs(loaded: Any, classes: list[str]) -> list[str]:
    """Names of a network's outputs: the classes, then others if its head has more."""
    if (count := loaded.model.num_classes) == len(classes):
        return classes
    return list(loaded.model.class_names or (f"output {i}" for i in range(count)))


def setting_rows(
    subject: Subject,
    loaded: Loaded,
    words: Mapping[str, str],
    settings: Mapping[str, Sequence[Any]],
    found: Rows,
) -> Columns:
    """A row for each image and setting, in that order.

    Args:
      subject, loaded, words: as for `tidy`.
      settings: columns that tell the settings apart, by name: words or numbers.
      found: for this host's images, `index` and values, [n, settings] or, for all of them, [n].
    """
    count = len(next(iter(settings.values())))
    image, place = np.divmod(np.arange(len(found["index"]) * count), count)
    values: dict[str, Any] = {n: v.ravel() if v.ndim > 1 else v[image] for n, v in found.items()}
    for name, column in settings.items():
        if isinstance(column[0], str):
            known = Category.of(column)
            values[name] = Category(known.positions[place], known.values)
        else:
            values[name] = np.array(column)[place]
    return tidy(subject, loaded, words, values, found["index"][image])


def trial_rows(
    subject: Subject, loaded: Loaded, unit: tuple[str, float, tuple[str, ...], int], found: Rows
) -> Columns:
    """One row for each image, trial and region, in that order.

    Args:
      unit: these rows' (norm, level, regions, number of the first trial); or `CLEAN`.
      found: for this host's images, `index` and the `answers`, [n] or [n, trials, regions].
    """
    (norm, level, regions, first), each = unit, math.prod(found["correct"].shape[1:])
    image, rest = np.divmod(np.arange(len(found["index"]) * each), each)
    trial, region = np.divmod(rest, len(regions))
    values = {
        "region": Category(region, list(regions)),
        "level": np.full(len(image), float(level)),
        "trial": (first + trial).astype(np.int16),
        **{key: found[key].ravel() for key in ("probability", "correct", "predicted")},
    }
    return tidy(subject, loaded, {"norm": norm}, values, found["index"][image])
