"""What is reported of accuracy under noise: RFS, iRFS and differences, with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rival_jax import metrics, trials
from rival_jax.configs.rfs import Noise
from rival_jax.experiments.rfs.joined import Joined
from rival_jax.named import Named
from rival_jax.report import paired
from rival_jax.report.results import NO_INTERVAL, Results, Row
from rival_jax.report.study import Means, Measure, Study, rows_of
from rival_jax.report.style import look
from rival_jax.report.tables import counted
from rival_jax.report.words import Words
from rival_jax.runtime.row_arrays import read_images

WORDS = Words(__package__)
NORMS = WORDS.titles("norms")
SIDES = ("foreground", "background")


def rfs(accuracy: Named) -> Named:
    """RFS of the accuracies under foreground noise and under background noise."""
    fg, bg = (accuracy.at(region=side) for side in SIDES)
    if not isinstance(fg.values, np.ndarray):  # traced, under the bootstrap
        return fg.map(metrics.rfs, bg)
    numbers = lambda *sides: [np.asarray(side, np.float32) for side in sides]  # noqa: E731
    return fg.map(lambda *sides: metrics.share_of_room(np, *numbers(*sides)), bg)


def derived(columns: dict[str, Named]) -> dict[str, Named]:
    """Measures of every image.

    "correct" at every level, and averaged over levels ("overall"); iRFS of the probabilities, each
    averaged over trials: its mean over levels ("irfs"), whether it is below 0 at a level
    ("irfs_negative_at"), and at what share of the levels ("irfs_negative"). Averages over levels
    are made for each image, not of class means: where nothing varies, the interval then still
    allows for images that were not seen.
    """
    correct, probability = columns["correct"], columns["probability"].without(norm="none")
    irfs = rfs(probability)
    negative = irfs.map(lambda value: (value < 0).astype(np.float64))
    return {
        "correct": correct,
        "overall": correct.without(norm="none").mean("level"),
        "irfs": irfs.mean("level"),
        "irfs_negative": negative.mean("level"),
        "irfs_negative_at": negative,
    }


def measures(means: Means, members: Mapping[str, Sequence[str]]) -> Iterator[Measure]:
    """Everything of every model, and of groups, whose accuracies are averaged before RFS.

    Groups have no iRFS: that of averaged probabilities is not an average of the models' iRFS.
    """
    correct, overall = means["correct"], means["overall"]
    yield from _of_accuracy(correct, overall, "model")
    for name in ("irfs", "irfs_negative"):
        yield Measure(name, means[name].mean("class"))
        yield Measure(name, means[name])
    yield Measure("irfs_negative", means["irfs_negative_at"].mean("class"))
    if members:
        correct, overall = (one.grouped("model", members) for one in (correct, overall))
        yield from _of_accuracy(correct, overall, "group")


def _of_accuracy(correct: Named, overall: Named, field: str) -> Iterator[Measure]:
    """Accuracies and RFS; those without a level are of accuracies averaged over levels."""
    every = correct.mean("class")
    yield Measure("accuracy", every.at(norm="none", level=0.0))
    by_level, mean = every.without(norm="none"), overall.mean("class")
    for accuracy in (by_level, mean, overall):
        yield Measure("accuracy", accuracy)
    drop = by_level.at(region="background") - by_level.at(region="foreground")
    yield Measure("accuracy", drop, "background minus foreground")
    yield Measure("rfs", rfs(by_level))
    yield Measure("mean_of_rfs", rfs(by_level).mean("level"))
    yield Measure("rfs_of_means", rfs(mean))  # the study's figure 6
    yield Measure("rfs_of_means", rfs(overall))
    yield Measure("rfs_of_means", rfs(mean).differences(field))


STUDY = Study(
    "rfs",
    axes=("model", ("norm", "level", "region")),
    columns=("probability", "correct"),
    measures=measures,
    derived=derived,
    averaged=("trial",),
    signed=("irfs",),
    apart="each",
)


def noise_errors(by_trial: Named, members: Mapping[str, Sequence[str]]) -> Iterator[Measure]:
    """What the finite number of noise draws adds: standard errors over trials, norm by norm.

    If some models or levels have more trials than others, over those that all have.

    Args:
      by_trial: accuracy of single trials, NaN for missing ones; one of its axes is "trial".
      members: models of every group; may be empty.
    """
    for norm in by_trial.of("norm"):
        some = by_trial.where(norm=norm)
        whole = [
            trial for trial in some.of("trial") if np.isfinite(some.at(trial=trial).values).all()
        ]
        if len(whole) < 2:
            continue
        shared = some.where(trial=whole)
        groups = {"group": shared.grouped("model", members)} if members else {}
        for field, one in {"model": shared, **groups}.items():
            accuracy = one.mean("level")
            ratio = rfs(accuracy)
            parts = [("accuracy", accuracy), ("rfs_of_means", ratio)]
            if len(one.of(field)) > 1:
                parts.append(("rfs_of_means", ratio.differences(field)))
            for name, found in parts:
                yield Measure(f"{name}_noise_error", found.standard_error("trial"))


def relative_differences(results: Results) -> Iterator[Row]:
    """`(a_bg - a_fg) / a_bg` at every level where a_bg is not 0; the study compares RFS with it."""
    under = results.where(measure="accuracy", region="background", **{"class": None})
    for row in results.where(measure="accuracy", contrast="background minus foreground"):
        told = {name: row.get(name) for name in ("model", "group", "norm", "level")}
        if accuracy := under.one(**told)["estimate"]:
            share = row["estimate"] / accuracy
            yield {**row, "measure": "relative_difference", "estimate": share, **NO_INTERVAL}


def wanting(
    files: Mapping[float, Sequence[Path]], classes: Sequence[str], noise: Noise
) -> list[float]:
    """The levels that need more trials for RFS of their mean; none if they are enough.

    Levels with draws of their own follow one by one, the neediest first, see `trials.Spread`; those
    that share draws have the same trials.

    Args:
      files: of a network's rows under noise of one norm, by level.
      classes: of the data set.
    """
    axes, right = ("region", "trial"), []
    for some in files.values():
        found = read_images(some, axes, ("correct",), classes, whole=True)
        sides = (found.values["correct"].at(region=side).values for side in SIDES)
        right.append(np.stack([np.asarray(side) for side in sides]))
    shared, levels = noise.draws == "shared", [*files]
    spread = trials.spread([np.mean(right, 0)] if shared else right, found.labels)
    if spread.widening(noise.most_trials) <= noise.widening:
        return []
    return levels if shared else [levels[spread.neediest(noise.most_trials)]]


class Found(NamedTuple):
    """What figures, tables and sentences are made from."""

    runs: Joined
    results: Results
    members: Mapping[str, Sequence[str]]  # models of every group; {}: there are no groups
    options: Mapping[str, Any]  # of `statistics.bootstrap`
    changed: Results  # of `Joined.pairs`

    @property
    def norms(self) -> list[str]:
        """The norms of the noise."""
        return self.results.of("norm")

    @property
    def images(self) -> str:
        """How many, in words."""
        return counted(len(self.runs.images.names), "image")

    @property
    def curves(self) -> tuple[str, Sequence[str]]:
        """Whose curves are drawn: ("group" or "model", their names)."""
        return ("group", [*self.members]) if self.members else ("model", self.runs.models)

    def levels(self, norm: str) -> list[float]:
        """The levels of a norm, ascending."""
        return self.results.where(norm=norm).of("level")

    def rows(self, measure: str | tuple[str, ...], norm: Any = None, **wanted: Any) -> Results:
        """Numbers of models, means over levels and classes, unless `wanted` says otherwise."""
        usual = {"group": None, "level": None, "class": None, "contrast": ""}
        return self.results.where(measure=measure, norm=norm, **{**usual, **wanted})

    def pairs(self, norm: str, field: str = "model", measure: str = "rfs_of_means") -> Results:
        """Differences between models or groups."""
        told = self.results.where(measure=measure, norm=norm)
        return Results(row for row in told if row["contrast"] and row.get(field))

    def ranked(self, norm: str, most: int | None = None) -> list[str]:
        """Names of models, highest RFS first; no more than `most`, at evenly spaced ranks."""
        names = self.rows("rfs_of_means", norm).ranked("model")
        if most is None or len(names) <= most:
            return names
        return [names[round(k * (len(names) - 1) / (most - 1))] for k in range(most)]

    def look(self, model: str) -> tuple[str, str]:
        """Colour and marker of a model: those of its group."""
        members = self.members or {name: [name] for name in self.runs.models}
        return look(next(g for g, names in enumerate(members.values()) if model in names))


def tabled(runs: Joined, named: Mapping[str, Sequence[str]], **options: Any) -> Found:
    """The table of results, with the runs that it is of; `options`: of `statistics.bootstrap`."""
    members = runs.groups(named)
    images = runs.images._replace(values=STUDY.derived(runs.images.values))
    results = STUDY.results(images, members, **options)
    errors = noise_errors(runs.by_trial, members)
    rows = Results(row for error in errors for row in rows_of(STUDY.name, error))
    sizes = {name: results.rows[0][name] for name in ("images", "classes")}
    results += rows.having(**sizes) + Results(relative_differences(results))
    changed = paired.changes(STUDY, runs.pairs, {}).results(images, **options) if runs.pairs else []
    return Found(runs, results, members, options, Results(changed))


def levels_text(norm: str, levels: Sequence[float]) -> str:
    """The levels of a norm in words, whole steps of pixel values as such.

    >>> levels_text("linf", [30 / 255, 60 / 255]), levels_text("l2", [25.0])
    ('sigma 30/255 to 60/255 (2 levels)', 'eps 25')
    """
    steps = 255 * np.array(levels)
    whole = norm == "linf" and np.allclose(steps, steps.round(), rtol=0, atol=1e-3)
    words = [f"{step:.0f}/255" if whole else f"{step / 255:.3g}" for step in steps]
    text = f"{'sigma' if norm == 'linf' else 'eps'} {words[0]}"
    return text if len(words) == 1 else f"{text} to {words[-1]} ({len(words)} levels)"
