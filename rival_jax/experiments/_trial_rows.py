"""Rows of rfs: probability and correct of every image, trial and region, clean or under noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from rival_jax import metrics
from rival_jax.experiments._subject import Loaded, Subject
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Category, Columns
from rival_jax.types import Array, Batch, Forward, Variables


def trial_rows(
    subject: Subject,
    loaded: Loaded,
    batch_size: int,
    fn: parallel.PerExample,
    unit: tuple[str, float, tuple[str, ...]],
    *args: Any,
    on_batch: Callable[[int], None],
) -> Columns:
    """Tidy columns of `fn`'s probability and correct, [b] or [b, trials, regions].

    One row for each of this host's images, trials and regions, in that order; the trial of
    clean images is -1.

    Args:
      unit: (norm, level, regions) of these rows.
      args: traced arguments of `fn`.
      on_batch: called with the number of forward passes done.

    Raises:
      ValueError: if the network gives NaN.
    """
    examples, (norm, level, regions) = subject.examples(loaded.geometry), unit
    name, each = loaded.model.name, len(regions)
    if norm != "none":
        each *= subject.config.noise.trials
    found = parallel.map_examples(
        fn,
        loaded.variables,
        examples.batches(batch_size),
        subject.mesh,
        *args,
        on_batch=lambda images: on_batch(images * each),
        sharding=subject.sharding,
    )
    mine, probability = found["index"], found["probability"].reshape(-1, each)
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
