"""Which cure, and at what price: every setting of every cure, judged under one bound.

Trainings, tests and their rows are those of experiment finetune. A cure's points are its settings,
each at every share of the finetuned weights; the best one within the bound is chosen on one half of
the test images and judged on the other: on the images that chose it, it looks better than it is.
"""

from __future__ import annotations

import itertools
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
from rival_jax.images import Images, joined, per_image
from rival_jax.named import Axis, Named
from rival_jax.report.document import Document
from rival_jax.report.results import Results, Row
from rival_jax.report.study import Means, Measure, Study
from rival_jax.runtime import row_files
from rival_jax.runtime.results import Run

Point = tuple[str, float]
"""A setting and the share of the finetuned weights."""


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
            correct = told_apart(found.values["correct"], self.networks).at(test=name)
            parts[name] = found, correct.mean("seed")
        found, taken = chosen(parts, self.cures, self.whole.front.bound)
        study, told = Study("pareto", (), (), gains), options(self.config, "statistics")
        results += study.results(found, tuple(self.tests), **told) + self._validated(files)
        return results, page(self.whole, document, results, self.cures, taken)

    def _validated(self, files: Mapping[str, Path]) -> Results:
        """Each setting on its validation images, before and after; means over seeds."""
        rows: list[Row] = []
        best = self.config.evaluate.checkpoint == "best"
        for one, term in itertools.product(self.trainings.settings, TERMS):
            mine = [job.name for job in self.trainings.jobs if job.setting is one]
            read = [row_files.read(files[f"{name}/training"]).to_pylist() for name in mine]
            kept = [[r for r in rs if (r["part"], r["term"]) == ("held_out", term)] for rs in read]
            if all(kept):
                told = {"cure": one.variant, "setting": one.name, "rate": one.learning_rate}
                tested = [[r for r in rs if r["best"] or not best][-1] for rs in kept]
                for when, some in (("before", [rs[0] for rs in kept]), ("after", tested)):
                    value = float(np.mean([row["value"] for row in some]))
                    row = {"study": "pareto", "measure": term, **told, "when": when}
                    rows.append({**row, "estimate": value, **NO_INTERVAL})
        return Results(rows)


def halves(found: Images) -> np.ndarray:
    """Each image's half, 0 or 1, by the hashes of their names; each class is halved."""
    order, half = [name_hash(f"half {name}", 8) for name in found.names], 0 * found.labels
    for label in np.unique(found.labels):
        mine = np.flatnonzero(found.labels == label).tolist()
        half[sorted(mine, key=order.__getitem__)] = np.arange(len(mine)) % 2
    return half


def chosen(
    parts: Mapping[str, tuple[Images, Named]], cures: Mapping[str, Sequence[str]], bound: float
) -> tuple[Images, dict[str, list[Point]]]:
    """Every image's answers by the points that the other half of the images chose.

    Args:
      parts: by test set; whether each network is right [images, points], with the original.
      cures: the settings of each.
      bound: the largest price, see `fronts.within`.

    Returns:
      `images.joined` of the test sets, with an axis "cure" that the original is first on;
      and the points that halves 0 and 1 chose for each cure, the original's if none is worth it.
    """
    points: Sequence[Point] = next(iter(parts.values()))[1].axes[1].keys
    original = points.index((ORIGINAL, 1.0))
    half = {name: halves(found) for name, (found, _) in parts.items()}
    level = [_by_half(found, hits, half[name]) for name, (found, hits) in parts.items()]
    change = [one - one[:, [original]] for one in level]
    taken = {ORIGINAL: [original, original]}
    for cure, names in cures.items():
        mine = np.array([place for place, (name, _) in enumerate(points) if name in names])
        price, gain = jnp.asarray(-change[0][:, mine]), jnp.asarray(change[-1][:, mine])
        best = np.asarray(fronts.within(price, gain, bound=bound))
        taken[cure] = np.where(best < 0, original, mine[best]).tolist()
    axis, places = Axis(("cure",), tuple((cure,) for cure in taken)), np.array([*taken.values()])
    answers = {}
    for name, (found, hits) in parts.items():
        others = places[:, 1 - half[name]].T  # [images, cures], chosen by the other half
        values = np.take_along_axis(np.asarray(hits.values), others, axis=1)
        answers[name] = found, per_image(values, (hits.axes[0], axis))
    return joined("test", answers), {cure: [points[k] for k in taken[cure]] for cure in cures}


def _by_half(found: Images, hits: Named, half: np.ndarray) -> np.ndarray:
    """Accuracies [2, points] of either half, averaged over its classes."""
    values, means = np.asarray(hits.values), []
    for number in (0, 1):
        labels = np.where(half == number, found.labels, -1)
        means.append([values[labels == c].mean(0) for c in np.unique(labels) if c >= 0])
    return np.stack([np.mean(one, axis=0) for one in means])


def gains(means: Means, tests: Sequence[str]) -> Iterator[Measure]:
    """Each cure's accuracy lost on the first test set and gained on the last, and differences."""
    level = means["joined"].mean("class")
    change = level.without(cure=ORIGINAL) - level.at(cure=ORIGINAL)
    lost = change.at(test=tests[0]).map(jnp.negative)
    for name, one in (("lost", lost), ("gained", change.at(test=tests[-1]))):
        yield Measure(name, one)
        yield Measure(name, one.differences("cure"))
