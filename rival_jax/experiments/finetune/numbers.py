"""What finetuning changed, from rows to the table of results: levels, gains over the original."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from rival_jax import metrics
from rival_jax.experiments.finetune.tests import Network
from rival_jax.experiments.finetune.variants import ORIGINAL
from rival_jax.named import Axis, Counts, Named
from rival_jax.report.results import Results, Row
from rival_jax.report.study import Images, Means, Measure, Study
from rival_jax.runtime import row_files

MAPS = ("iou", "average_precision", "pixel_accuracy")
GAIN = f"minus {ORIGINAL}"
FIELDS = ("variant", "seed", "alpha")  # what a network is told apart by, in place of its name
NO_INTERVAL = dict.fromkeys(("low", "high", "p"), np.nan)


def tested(means: Means, networks: Sequence[Network]) -> Iterator[Measure]:
    """Levels and gains of every measure; accuracy of classes, and of set A and set B, as well."""
    correct = means["correct"]
    for name, one in {"accuracy": correct, **means}.items():
        if name != "correct":
            yield from _with_gain(name, one.mean("class").mean("seed"))
    yield from _with_gain("accuracy", correct.mean("seed"))
    sets = _sets(correct, networks)
    own, before = (
        one.map(jnp.add, sets).mean("class").mean("seed") for one in (correct, _original(correct))
    )
    yield Measure("accuracy", own)
    yield Measure("accuracy", (own - before).without(variant=ORIGINAL), GAIN)
    yield Measure("accuracy", correct.mean("class").without(variant=ORIGINAL))


def noisy(means: Means) -> Iterator[Measure]:
    """RFS of every network, from accuracies averaged over classes and levels, then over seeds."""
    level = means["correct"].mean("class").mean("level")
    sides = {"fg": level.at(region="foreground"), "bg": level.at(region="background")}
    ratio = sides["fg"].map(metrics.rfs, sides["bg"])
    yield from _with_gain("rfs", ratio.mean("seed"))
    for side, accuracy in sides.items():
        yield Measure(f"accuracy_{side}", accuracy.mean("seed"))
    yield Measure("rfs", ratio.without(variant=ORIGINAL))


TESTS = Study("finetune", ("test", "model"), ("correct", "probability", *MAPS), tested)
NOISE = Study("finetune", (("norm", "level"), "model", "region"), ("correct",), noisy)


def results(
    files: Mapping[str, Path],
    networks: Sequence[Network],
    tests: Sequence[str],
    classes: Sequence[str],
    **options: Any,
) -> Results:
    """The table of results.

    Rows with a seed are that seed's alone and have no interval; all others are means over seeds,
    which are averaged before images are resampled. "alpha" is 1 for networks that are no mixtures.

    Args:
      files: rows of every unit: "vit_seed0/decorrelated".
      networks: the original, then the finetuned ones.
      tests: names of the test sets; what else a network has is noise, or its training.
      classes: all of the data set.
      options: of `statistics.bootstrap`.
    """
    found, rest = Results([]), dict(files)
    for test in tests:
        images = TESTS.read([rest.pop(f"{one.name}/{test}") for one in networks], classes)
        found += TESTS.results(_told_apart(images, networks), networks, **options)
    noise = [path for name, path in rest.items() if not name.endswith("/training")]
    if noise:
        images = NOISE.read(noise, classes)
        found += NOISE.results(_told_apart(images, networks), **options)
    return found.changed(lambda row: row if row.get("seed") is None else {**row, **NO_INTERVAL})


def losses(files: Sequence[Path], term: str = "total") -> Results:
    """Training curves: "model", "epoch" (0: the original), "part" ("train" | "held out" | "kept").

    Args:
      files: rows of trainings.
      term: of the loss.
    """
    rows: list[Row] = []
    for file in files:
        for row in row_files.read(file).to_pylist():
            if row["term"] != term:
                continue
            told = {"measure": "loss", "model": row["model"], "epoch": row["epoch"] + 1}
            told |= {"estimate": row["value"], **NO_INTERVAL}
            parts = [row["part"].replace("_", " ")]
            parts += ["kept"] if row["best"] and row["part"] == "held_out" else []
            rows += [{**told, "part": part} for part in parts]
    return Results(rows)


def _with_gain(name: str, level: Named) -> Iterator[Measure]:
    yield Measure(name, level)
    yield Measure(name, level.without(variant=ORIGINAL) - _original(level), GAIN)


def _original(level: Named) -> Named:
    one = level.at(variant=ORIGINAL, alpha=1.0)
    return one.at(seed=None) if "seed" in one.fields else one


def _sets(correct: Named, networks: Sequence[Network]) -> Named:
    """Which classes each network had masks of (set A) or not (set B): nothing but counts.

    What is put together with it has no images elsewhere, so that a mean over classes is over a set.
    """
    classes = correct.of("class")
    inside = np.array([[name in one.masked for one in networks] for name in classes])
    many = np.where(np.stack([inside, ~inside], axis=-1), np.iinfo(int).max, 0)
    keys = tuple((one.variant, one.seed, one.alpha) for one in networks)
    axes = (Axis(("class",), tuple((name,) for name in classes)), Axis(FIELDS, keys))
    axes += (Axis(("set",), (("A",), ("B",))),)
    return Named(np.zeros(many.shape, np.float32), axes, Counts(many, many, many, many))


def _told_apart(found: Images, networks: Sequence[Network]) -> Images:
    """The same with `FIELDS` in the place of the networks' names."""
    facts = {one.name: (one.variant, one.seed, one.alpha) for one in networks}

    def told(axis: Axis) -> Axis:
        if axis.fields != ("model",):
            return axis
        return Axis(FIELDS, tuple(facts[name] for (name,) in axis.keys))

    values = {
        name: dataclasses.replace(one, axes=tuple(map(told, one.axes)))
        for name, one in found.values.items()
    }
    return found._replace(values=values)
