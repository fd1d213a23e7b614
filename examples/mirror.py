"""An experiment: what is lost on photos that are mirrored, or turned upside down.

  python -m rival_jax.main --config=examples/mirror_config.py
  python -m rival_jax.main --config=examples/mirror_config.py:clean \
      --config.models="('path/to/model',)" --config.data.root=path/to/photos --dry_run

The runner does the rest: the dry run, progress, files that are skipped when they are there, several
hosts, the bootstrap, tables in all formats, figures and the page.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from rich.console import Console

from examples.mirror_config import Config
from rival_jax.configs import typed
from rival_jax.experiments.rows import tidy
from rival_jax.experiments.runner import Pass, Unit
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.metrics import answers
from rival_jax.report import figures, tables
from rival_jax.report.document import Document, Picture, Section
from rival_jax.report.results import Results
from rival_jax.report.study import Means, Measure, Study
from rival_jax.report.verdicts import HOLM, METHOD
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Run
from rival_jax.types import Array, Batch, Forward, Variables

CHANGES = {
    "none": lambda images: images,  # [b, h, w, c]
    "mirrored": lambda images: images[:, :, ::-1],
    "turned": lambda images: images[:, ::-1, ::-1],
}
VERSION = 1  # in what every file follows from: raise it when the same inputs give other rows


def measures(means: Means) -> Iterator[Measure]:
    """What is told of the class means: accuracy, its paired drop, and that between models."""
    accuracy = means["correct"].mean("class")
    drop = accuracy.at(treatment="none") - accuracy.without(treatment="none")
    yield Measure("accuracy", accuracy)
    yield Measure("accuracy_drop", drop)
    yield Measure("accuracy_drop", drop.differences("model"))


STUDY = Study("mirror", axes=("model", "treatment"), columns=("correct",), measures=measures)


def scored(forward: Forward, change: str, variables: Variables, batch: Batch) -> dict[str, Array]:
    """What a network says of every photo [b], see `answers`."""
    logits, _ = forward(variables, CHANGES[change](jnp.asarray(batch["image"])), {})
    return answers(logits, batch["label"])


class Experiment:
    """Networks and changes; making one checks all that can be wrong."""

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        self.config, self.subject = config, Subject(config, console)
        self.shown = ("none", *config.changes)

    def forwards(self) -> int:
        """Forward passes per image and network: what the dry run and the progress bar count."""
        return len(self.shown)

    def units(self, loaded: Loaded, plan: Mapping[str, Any], head: str) -> Iterator[Unit]:
        """A file of rows for every change, and everything that determines its contents."""
        model, same = loaded.model, self.subject.identity(loaded, VERSION, head=head)
        for name in self.shown:
            fn = parallel.Bound(scored, (model.forward, name))  # equal ones are compiled once
            # Rows of this host's images; the runner joins those of all hosts.
            columns = functools.partial(tidy, self.subject, loaded, {"treatment": name})
            yield Unit(
                f"{model.name}/{name}",
                {**same, "treatment": name},
                Pass(self.subject, loaded, plan["images"], fn, (), columns),
                flops=plan["flops"],
                clean=model.name if name == "none" else "",  # the page says how well it does
            )

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results, and the page about it."""
        found = STUDY.read(list(files.values()), self.subject.first_examples().classes)
        results = STUDY.results(found, **run.config["statistics"])
        return results, page(results, run.config["statistics"]["confidence"])


def page(results: Results, confidence: float) -> Document:
    """All that the results say."""
    levels = results.where(contrast="")
    accuracy, drop = levels.where(measure="accuracy"), levels.where(measure="accuracy_drop")
    draw = functools.partial(figures.dots, drop, "treatment", panel="model", percent=True)
    shown = [tables.pivot("Accuracy, percent", accuracy, ("model",), "treatment", tables.percent)]
    shown.append(tables.pivot("Drop, points", drop, ("model",), "treatment", tables.percent))
    pairs = Results(row for row in results if row["contrast"])
    if pairs.rows:
        columns = ("model", "treatment")
        shown.append(
            tables.differences("Between models", pairs, columns, tables.percent, confidence)
        )
    return Document(
        title="Photos mirrored and turned",
        subtitle=tables.counted(accuracy.rows[0]["images"], "image"),
        headline=[
            f"{row['model']} loses {tables.percent(row)} points on photos {row['treatment']}."
            for row in drop
        ],
        sections=[Section("What is lost", (), [Picture("drops", draw, *CAPTION)], shown)],
        method=["Every photo is shown as it is, and changed.", METHOD.format(HOLM)],
        caveats=[("Why something is lost.", "Letters, shadows and poses change all at once.")],
        source="The measurement is an example of this package.",
    )


CAPTION = (
    "Drop in accuracy, points, paired with the photos as they are; lines are intervals.",
    "Dot plot of the drop by change and model; numbers in the CSV",
)
