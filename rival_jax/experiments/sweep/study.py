"""How much labelled data a cure needs: each cure on every number of photos, classes and seed.

Trainings, tests and their rows are those of experiment finetune. Training sets of a seed are
nested, and all trainings make equally many updates on equally large batches: a smaller set is shown
more often. So networks differ by the photos that they saw, not by how long they were trained.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from rival_jax.configs import options, typed
from rival_jax.configs.sweep import Config
from rival_jax.experiments import finetune
from rival_jax.experiments.finetune.measures import TESTS, told_apart
from rival_jax.experiments.finetune.variants import SIZES, Setting
from rival_jax.experiments.sweep.page import SIDES, WORDS, page
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.report.study import Means, Measure, Study
from rival_jax.runtime.results import Run


class Experiment(finetune.Experiment):
    """A network, cures, and the sizes of their training sets, checked."""

    def __init__(self, config: Any, console: Console):
        c = self.whole = typed(Config, config)
        for words in c.settings:
            if any(f"{name}=" in words for name in SIZES):
                raise ValueError(f"config.settings: {words!r}; sizes are those of config.sizes")
        if len(c.sizes.per_class) + len(c.sizes.num_classes) < 3:
            raise ValueError("config.sizes: give several numbers in per_class or num_classes")
        sizes = itertools.product(sorted(c.sizes.num_classes), sorted(c.sizes.per_class))
        settings = [f"num_classes={classes} per_class={photos}" for classes, photos in sizes]
        every = tuple(f"{words} {size}".strip() for words in c.settings for size in settings)
        super().__init__(dataclasses.replace(c, settings=every), console)
        self.sizes = {one.name: told(one) for one in self.trainings.settings}

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The results of finetuning, with what more photos add, and the page."""
        results, document = super().report(run, files)
        for name, subject in self.tests.items():
            units = [files[f"{network.name}/{name}"] for network in self.networks]
            found = TESTS.read(units, subject.first_examples().classes)
            correct = told_apart(found.values["correct"], self.networks).at(test=name, alpha=1.0)
            study = Study("sweep", (), (), added)
            given = found._replace(values={"correct": correct})
            more = study.results(given, self.sizes, **options(self.config, "statistics"))
            results += more.having(test=name)
        results = results.changed(lambda row: {**row, **self.sizes.get(row.get("variant", ""), {})})
        return results, page(self.whole, document, results)


def told(setting: Setting) -> dict[str, Any]:
    """The columns of a setting in the table of results: its cure, and its training set's size."""
    classes, photos = (dict(setting.sizes)[name] for name in ("num_classes", "per_class"))
    cure = setting.name.rpartition("+num_classes=")[0]
    return {"cure": cure, "num_classes": classes, "per_class": photos, "photos": classes * photos}


def added(means: Means, sizes: Mapping[str, Mapping[str, Any]]) -> Iterator[Measure]:
    """What the most photos of each class add to fewer, and the most classes to fewer."""
    level = means["correct"].mean("class").mean("seed")
    for along, held in SIDES.items():
        alike: dict[Any, list[str]] = {}
        for name in sorted(sizes, key=lambda name: sizes[name][along]):
            alike.setdefault((sizes[name]["cure"], sizes[name][held]), []).append(name)
        for *fewer, most in alike.values():
            if fewer:
                contrast = WORDS.text("contrast", most=sizes[most][along], along=along)
                rest = level.where(variant=fewer)
                yield Measure("added", level.at(variant=most) - rest, contrast)
