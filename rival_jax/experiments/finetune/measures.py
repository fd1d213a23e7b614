"""What is measured on networks before and after: answers, maps, RFS, and the gains."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pyarrow.compute as pc

from rival_jax import alignment, metrics
from rival_jax.experiments.explained import explained
from rival_jax.experiments.finetune.trainings import Job
from rival_jax.experiments.finetune.variants import ORIGINAL
from rival_jax.metrics import answers
from rival_jax.named import Axis, Counts, Named
from rival_jax.report.results import NO_INTERVAL, Results, Row
from rival_jax.report.study import Means, Measure, Study
from rival_jax.runtime.results import read_rows
from rival_jax.types import Array, Batch, Model, Variables

MAPS = ("iou", "average_precision", "pixel_accuracy")
GAIN = f"minus {ORIGINAL}"
FIELDS = ("variant", "seed", "alpha")  # they identify a network in results, instead of its name


class Way(NamedTuple):
    """How maps are made, see `explained.Way`."""

    method: str
    target: str
    scaling: str = "minmax"


def scored(way: Way, model: Model, variables: Variables, batch: Batch) -> dict[str, Array]:
    """[b] each: the `answers`, and how well the map finds the object.

    The map is cut at its mean (RobustViT, table 3); an object is a mask above 1/2.
    """
    found = explained(way, model, variables, batch)
    inside = (jnp.asarray(batch["mask"]) > 0.5).astype(jnp.float32)
    marked = (found.maps > found.maps.mean((1, 2), keepdims=True)).astype(jnp.float32)
    both, either = alignment.intersection_and_union(marked, inside)
    return {
        **answers(found.logits, batch["label"]),
        "iou": both[:, 1] / jnp.maximum(either[:, 1], 1),
        "pixel_accuracy": alignment.pixel_accuracy(marked, inside),
        "average_precision": alignment.average_precision(found.maps, inside),
    }


@dataclasses.dataclass(frozen=True)
class Network:
    """A network to be tested: the original, a finetuned one, or a mixture of both."""

    name: str
    variant: str
    seed: int | None  # None: the original
    alpha: float  # share of the finetuned weights; also 1 for the original
    masked: tuple[str, ...]  # set A: classes whose masks it was trained with
    depends_on: dict[str, Any]  # everything that determines its weights
    job: Job | None = None  # its training


def tested(means: Means, networks: Sequence[Network]) -> Iterator[Measure]:
    """Every measure and its gain over the original; accuracy also by class, and on sets A and B."""
    means = {name: told_apart(one, networks) for name, one in means.items()}
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


def noisy(means: Means, networks: Sequence[Network]) -> Iterator[Measure]:
    """RFS of every network: from accuracies averaged over classes and levels, then over seeds."""
    level = told_apart(means["correct"], networks).mean("class").mean("level")
    sides = {"fg": level.at(region="foreground"), "bg": level.at(region="background")}
    ratio = sides["fg"].map(metrics.rfs, sides["bg"])
    yield from _with_gain("rfs", ratio.mean("seed"))
    for side, accuracy in sides.items():
        yield Measure(f"accuracy_{side}", accuracy.mean("seed"))
    yield Measure("rfs", ratio.without(variant=ORIGINAL))


TESTS = Study("finetune", ("test", "model"), ("correct", "probability", *MAPS), tested)
NOISE = Study("finetune", (("norm", "level"), "model", "region"), ("correct",), noisy, apart="each")


def results(
    files: Mapping[str, Path],
    networks: Sequence[Network],
    tests: Sequence[str],
    classes: Sequence[str],
    **options: Any,
) -> Results:
    """The table of results; `options`: of `statistics.bootstrap`.

    Rows with a seed are for that seed alone and have no interval; all others are means over seeds,
    averaged before images are resampled. "alpha" is 1 for networks that are not mixtures.

    Args:
      files: rows of every unit, such as "vit_seed0/decorrelated".
      networks: the original, then the finetuned ones.
      tests: names of the test sets; a network's other units are noise, or its training.
      classes: all classes of the data set.
    """
    found, rest = Results([]), dict(files)
    for test in tests:
        images = TESTS.read([rest.pop(f"{one.name}/{test}") for one in networks], classes)
        found += TESTS.results(images, networks, **options)
    noise = [path for name, path in rest.items() if not name.endswith("/training")]
    found += NOISE.results(NOISE.read(noise, classes), networks, **options)
    return found.changed(lambda row: row if row.get("seed") is None else {**row, **NO_INTERVAL})


def losses(files: Sequence[Path]) -> Results:
    """The total loss of some trainings, from their rows: by "model", "epoch" and "part".

    Epoch 0 is the original. Parts are "train", "held out" and "kept" (the held-out loss of the best
    epoch).
    """
    rows: list[Row] = []
    for row in read_rows(*files).filter(pc.field("term") == "total").to_pylist():
        told = {"measure": "loss", "model": row["model"], "epoch": row["epoch"] + 1}
        told |= {"estimate": row["value"], **NO_INTERVAL}
        kept = ["kept"] if row["best"] and row["part"] == "held_out" else []
        rows += [{**told, "part": part} for part in (row["part"].replace("_", " "), *kept)]
    return Results(rows)


def _with_gain(name: str, level: Named) -> Iterator[Measure]:
    yield Measure(name, level)
    yield Measure(name, level.without(variant=ORIGINAL) - _original(level), GAIN)


def _original(level: Named) -> Named:
    one = level.at(variant=ORIGINAL, alpha=1.0)
    return one.at(seed=None) if "seed" in one.fields else one


def _sets(correct: Named, networks: Sequence[Network]) -> Named:
    """Zeros; their counts say which classes each network had masks of (set A), or not (set B).

    Added to another array, they leave no images outside a set, so that a mean over classes becomes
    a mean over the classes of the set.
    """
    classes = correct.of("class")
    inside = np.array([[name in one.masked for one in networks] for name in classes])
    many = np.where(np.stack([inside, ~inside], axis=-1), np.iinfo(int).max, 0)
    keys = tuple((one.variant, one.seed, one.alpha) for one in networks)
    axes = (Axis(("class",), tuple((name,) for name in classes)), Axis(FIELDS, keys))
    axes += (Axis(("set",), (("A",), ("B",))),)
    return Named(np.zeros(many.shape, np.float32), axes, Counts(many, many, many, many))


def told_apart(one: Named, networks: Sequence[Network]) -> Named:
    """The same with `FIELDS` in place of the networks' names."""
    labels = {one.name: (one.variant, one.seed, one.alpha) for one in networks}
    return one.relabelled("model", FIELDS, labels)
