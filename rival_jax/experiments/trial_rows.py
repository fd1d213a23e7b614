"""Rows of networks' answers: probability and correct of every image, trial and region."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from rival_jax import metrics
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.runtime.parallel import Rows
from rival_jax.runtime.results import Category, Columns
from rival_jax.types import Array, Batch, Forward, Variables


def trial_rows(
    subject: Subject, loaded: Loaded, unit: tuple[str, float, tuple[str, ...]], found: Rows
) -> Columns:
    """One row for each image, trial and region, in that order; the trial of clean images is -1.

    Args:
      unit: (norm, level, regions) of these rows.
      found: of this host's images: `index`, and probability and correct, [n] or
        [n, trials, regions].

    Raises:
      ValueError: if the network gives NaN.
    """
    examples, (norm, level, regions) = subject.examples(loaded.geometry), unit
    name, mine, each = loaded.model.name, found["index"], math.prod(found["correct"].shape[1:])
    probability = found["probability"].reshape(-1, each)
    bad = mine[np.isnan(probability).any(1)]
    if bad.size:
        raise ValueError(
            f"{name} gives NaN for {bad.size} of {len(mine)} images, the first "
            f"{examples.names[bad[0]]}; its weights or config.dtype are not usable"
        )
    image, rest = np.divmod(np.arange(len(mine) * each), each)
    image = mine[image]
    trial, region = np.divmod(rest, len(regions))
    return {
        "model": Category(0 * image, [name]),
        "dataset": Category(0 * image, [subject.config.data.name]),
        "example": Category(image, list(examples.names)),
        "label": Category(examples.labels[image], list(examples.classes)),
        "region": Category(region, list(regions)),
        "norm": Category(0 * image, [norm]),
        "level": np.full(len(image), float(level)),
        "trial": (trial - (norm == "none")).astype(np.int16),
        "probability": probability.ravel(),
        "correct": found["correct"].ravel(),
    }


def clean_trial(forward: Forward, variables: Variables, batch: Batch) -> dict[str, Array]:
    """The images as they are: probability [b] of the true class, and correct."""
    logits, _ = forward(variables, jnp.asarray(batch["image"]), {})
    probability, correct = metrics.true_class(logits, jnp.asarray(batch["label"]))
    return {"probability": probability, "correct": correct}
