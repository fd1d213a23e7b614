"""Which cure, and at what price: every setting of every cure, judged under one bound.

Trainings, tests and their rows are those of experiment finetune. A cure's points are its settings,
each at every share of the finetuned weights; the best one within the bound is chosen on one half of
the test images and judged on the other (`fronts.cross_fitted`), anew in every resample.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from rich.console import Console

from rival_jax import fronts
from rival_jax.configs import options, typed
from rival_jax.configs.pareto import Config
from rival_jax.data.source import name_hash
from rival_jax.experiments import finetune
from rival_jax.experiments.finetune.measures import NO_INTERVAL, TESTS, told_apart
from rival_jax.experiments.finetune.variants import ORIGINAL
from rival_jax.experiments.pareto.page import TERMS, page
from rival_jax.named import Axis, Counts, Named
from rival_jax.report.document import Document
from rival_jax.report.images import Images, joined, split
from rival_jax.report.results import Results, Row
from rival_jax.report.study import Means, Measure, Study
from rival_jax.runtime import row_files
from rival_jax.runtime.results import Run


class Experiment(finetune.Experiment):
    """A network, cures and their settings, checked."""

    def __init__(self, config: Any, console: Console):
        self.whole = typed(Config, config)
        super().__init__(config, console)
        if len(self.tests) < 2:
            raise ValueError(
                "config.shifted.name is empty: a cure's gain is measured on a second test set"
            )
        self.cures: dict[str, list[str]] = {}  # each one's settings
        for setting in self.trainings.settings:
            self.cures.setdefault(setting.variant, []).append(setting.name)

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The results of finetuning and of the choice within the bound, and the page."""
        results, document = super().report(run, files)
        parts = {}
        for name, subject in self.tests.items():
            units = [files[f"{network.name}/{name}"] for network in self.networks]
            found = TESTS.read(units, subject.first_examples().classes)
            found = told_apart(found, self.networks)
            correct = found.values["correct"].at(test=name)
            parts[name] = found, split(correct, "half", halves(found))
        study = Study("pareto", (), (), chosen)
        given = self.cures, tuple(self.tests), self.whole.front.bound
        told = options(self.config, "statistics")
        results += study.results(joined("test", parts), *given, **told)
        results += self._validated(files)
        return results, page(self.whole, document, results, self.cures)

    def _validated(self, files: Mapping[str, Path]) -> Results:
        """Each setting on its validation images, before and after; means over seeds."""
        rows: list[Row] = []
        for setting in self.trainings.settings:
            mine = [job.name for job in self.trainings.jobs if job.setting is setting]
            read = [row_files.read(files[f"{name}/training"]).to_pylist() for name in mine]
            for term in TERMS:
                ends = [self._ends(rows, term) for rows in read]
                for when, values in zip(("before", "after"), zip(*ends, strict=True), strict=True):
                    if None not in values:
                        row = {"study": "pareto", "measure": term, "cure": setting.variant}
                        row |= {"setting": setting.name, "rate": setting.learning_rate}
                        row |= {"when": when, "estimate": float(np.mean(values)), **NO_INTERVAL}
                        rows.append(row)
        return Results(rows)

    def _ends(self, rows: Sequence[Row], term: str) -> tuple[float | None, float | None]:
        """A term on the validation images: of the original, and of the tested checkpoint."""
        kept = [row for row in rows if row["part"] == "held_out" and row["term"] == term]
        if not kept:
            return None, None
        best = [row for row in kept if row["best"]]
        tested = best[0] if self.config.evaluate.checkpoint == "best" else kept[-1]
        return kept[0]["value"], tested["value"]


def halves(found: Images) -> list[str]:
    """Each image's half, "0" or "1", by the hashes of their names; each class is halved."""
    order, half = [name_hash(f"half {name}", 8) for name in found.names], [""] * len(found.names)
    for label in np.unique(found.labels):
        mine = np.flatnonzero(found.labels == label).tolist()
        for number, place in enumerate(sorted(mine, key=order.__getitem__)):
            half[place] = str(number % 2)
    return half


def chosen(
    means: Means, cures: Mapping[str, Sequence[str]], tests: Sequence[str], bound: float
) -> Iterator[Measure]:
    """Each cure's accuracy lost on the first of `tests` and gained on the last, and differences."""
    level = means["joined"].mean("class").mean("seed")
    before = level.at(variant=ORIGINAL, alpha=1.0)
    points = level.without(variant=ORIGINAL) - before
    lost = points.at(test=tests[0]).map(jnp.negative)
    parts = [
        [one.where(variant=list(names)) for one in (lost, points.at(test=tests[-1]))]
        for names in cures.values()
    ]
    best = functools.partial(fronts.cross_fitted, bound=bound)
    found = [best(jnp.asarray(price.values), jnp.asarray(gain.values)) for price, gain in parts]
    counts = Counts(*(_pooled([gain for _, gain in parts], name) for name in Counts._fields))
    axis = Axis(("cure",), tuple((name,) for name in cures))
    for name, values in zip(("lost", "gained"), zip(*found, strict=True), strict=True):
        one = Named(jnp.stack(values), (axis,), counts)
        yield Measure(name, one)
        yield Measure(name, one.differences("cure"))


def _pooled(gains: Sequence[Named], name: str) -> np.ndarray:
    """Counts of each cure: of both halves together."""
    counted = [getattr(gain.counts, name).min(-1) for gain in gains]
    return np.array([one.max() if name == "classes" else one.sum() for one in counted])
