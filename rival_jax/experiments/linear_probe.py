"""Linear heads on frozen networks: fitted, saved, scored on the test split (RIVAL10 study, 4)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from safetensors.numpy import save_file

from rival_jax import models
from rival_jax.configs import options, typed
from rival_jax.configs.linear_probe import Config
from rival_jax.experiments.rows import CLEAN, clean_answers, trial_rows
from rival_jax.experiments.runner import Bench, Pass, Unit
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.report.study import Measure, Study
from rival_jax.report.tables import Table, counted, percent
from rival_jax.report.words import Words
from rival_jax.runtime import hosts
from rival_jax.runtime.names import file_path
from rival_jax.runtime.parallel import Bound
from rival_jax.runtime.results import Run, atomic

WORDS = Words(__package__, "linear_probe.toml")
STUDY = Study(
    "linear_probe",
    axes=("model",),
    columns=("correct",),
    measures=lambda means: [Measure("accuracy", means["correct"].mean("class"))],
    apart="each",
)


class Experiment:
    """Networks and their fitted heads, checked."""

    counted = "images"

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        self.config, self.subject, self.console = config, Subject(config, console), console

    def total(self) -> int:
        """Images, once for each network; without the fit."""
        return len(self.subject.first_examples()) * len(self.config.models)

    def work(self, bench: Bench) -> Iterator[Unit]:
        """Fits and saves each network's head; its unit is the unchanged photos."""
        for name in self.config.models:
            loaded = self.subject.load(name)
            model, examples = loaded.model.name, self.subject.examples(loaded.geometry)
            plan = bench.plan(loaded, self.subject.pick, images=len(examples))
            if hosts.first():
                head = {k: np.asarray(v) for k, v in loaded.variables["head"]._asdict().items()}
                file = bench.run.path / "heads" / f"{file_path(model)}.safetensors"
                with atomic(file) as partial:
                    save_file(head, partial)
                self._keep(loaded, bench.run, head)
            clean = Bound(clean_answers, (loaded.model.forward,))
            columns = functools.partial(trial_rows, self.subject, loaded, CLEAN)
            compute = Pass(self.subject, loaded, plan["images"], clean, (), columns)
            depends_on = {"model": loaded.digest, "data": examples.fingerprint}
            yield Unit(f"{model}/probe", depends_on, compute, flops=plan["flops"], clean=model)

    def _keep(self, loaded: Loaded, run: Run, head: Mapping[str, np.ndarray]) -> None:
        """Saves the network with its head as one of these classes, which can be finetuned."""
        forward: Any = loaded.model.forward
        network = dataclasses.replace(loaded.model, forward=forward.network)
        classes = tuple(self.subject.first_examples().classes)
        told, folder = loaded.variables["network"], run.path / "models" / file_path(network.name)
        try:
            models.save(folder, *models.with_head(network, told, **head, classes=classes))
        except ValueError as error:
            self.console.print(f"no network is kept: {error}", markup=False)
        else:
            self.console.print(f"the network with its head: {folder}", markup=False)

    def costs(self) -> Iterator[tuple[str, float]]:
        """The cost of the features that heads are fitted on, for a dry run."""
        subject, probe = self.subject, self.config.probe
        subject.read_training()
        images = sum(len(source) for source in subject.sources.values())
        passes = probe.epochs if probe.recipe == "study" else 1
        for name in self.config.models:
            model, _, cost = subject.bare(name)
            text = f"{model.name}: features of {images} images, {passes} x"
            yield text, images * passes * cost().seconds

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The accuracies, and the page about them."""
        found = STUDY.read(list(files.values()), self.subject.first_examples().classes)
        results = STUDY.results(found, **options(self.config, "statistics"))
        return results, page(self.config, results)


def page(config: Config, results: Results) -> Document:
    """All results."""
    header = ("model", "accuracy", "images", "classes")
    rows = [
        (row["model"], percent(row), str(row["images"]), str(row["classes"])) for row in results
    ]
    table = Table(WORDS.text("accuracy", **vars(config.data)), header, rows)
    return WORDS.document(
        {},
        subtitle=f"{counted(len(rows), 'model')}, {counted(results.rows[0]['images'], 'image')}",
        headline=[f"{name}: {share} % accuracy with a linear head." for name, share, *_ in rows],
        sections=WORDS.sections(results, {}, tables={"accuracy": [table]}),
    )
