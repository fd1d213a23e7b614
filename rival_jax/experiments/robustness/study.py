"""Accuracy on shifted data sets, by the protocols of each, before and after a cure.

Sets x shards of photos x networks; a shard of a set by one network is a unit of work.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from rich.console import Console

from rival_jax import calibration, protocols, relative_errors
from rival_jax.configs import options, typed
from rival_jax.configs.robustness import Config
from rival_jax.experiments.cures import Pair, by_masks, compared_networks
from rival_jax.experiments.robustness.page import page
from rival_jax.experiments.sets import Set, places
from rival_jax.experiments.streamed import Streamed
from rival_jax.images import Images, confidence_gaps, joined, split
from rival_jax.named import Named, stacked
from rival_jax.report import exact
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.report.study import Means, Measure, Study, compared
from rival_jax.runtime.plugins import no_such
from rival_jax.runtime.results import Run

FEW = 8  # values of a factor up to which every two are compared
MOST = 100  # values of a factor whose cells are told; with more it is in the rows alone
LIKELIHOOD = ("nll", "brier")
STUDY = "robustness"
Numbers = Iterator[Measure]
Pairs = Sequence[Pair]


def accuracies(means: Means, pairs: Pairs) -> Numbers:
    """Of all photos and of all classes alike; drops from the first of like sets; calibration."""
    level = stacked("protocol", {name: one for name, one in means.items() if name != "gap"})
    yield from compared("accuracy", level, pairs)
    gap = means["gap"].at(average="micro").map(jnp.abs).mean("bin")
    yield from compared("ece", gap.map(lambda share: calibration.BINS * share), pairs)
    if len(sets := level.of("set")) > 1:
        drop = level.at(set=sets[0]) - level.without(set=sets[0])
        yield from compared("accuracy_drop", drop, pairs)


def likelihoods(means: Means, pairs: Pairs) -> Numbers:
    """Negative log likelihood and Brier score."""
    for name in LIKELIHOOD:
        yield from compared(name, means[name].at(average="micro"), pairs)


def cells(means: Means, pairs: Pairs) -> Numbers:
    """Accuracies in the cells of a factor, the worst of them; ImageNet-C's mean error."""
    level = stacked("protocol", {name: one.at(average="micro") for name, one in means.items()})
    yield from compared("accuracy", level, pairs)
    names = level.of("value")
    first, *others = (level.at(value=name) for name in names)
    worst = functools.reduce(lambda one, other: one.map(jnp.minimum, other), others, first)
    yield from compared("worst_accuracy", worst, pairs)
    if len(names) <= FEW:
        yield Measure("cell_difference", level.differences("value"))
    if set(names) == relative_errors.ALEXNET_ERROR.keys():

        def error(*found: Any) -> Any:
            return relative_errors.mean_corruption_error(dict(zip(names, found, strict=True)))

        yield from compared("mce", first.map(error, *others), pairs)


def beyond(means: Means, pairs: Pairs, fit: protocols.Fit) -> Numbers:
    """Effective robustness by a line, and what a cure changes of it."""
    level = means["joined"].at(average="micro")
    found = level.at(part="shifted").map(fit.beyond, level.at(part="base"))
    yield from compared("effective_robustness", found, pairs)


class Experiment:
    """Networks and data sets, checked."""

    def __init__(self, config: Any, console: Console):
        self.config = config = typed(Config, config)
        self.subject = Streamed(config, console)
        called = dict(zip(config.models, self.subject.names, strict=True))
        self.networks = compared_networks(config.pairs, called)
        self.statistics = options(config, "statistics")
        known = {name for one in self.subject.sets for name in one.protocols.names}
        if config.protocols and not known & set(config.protocols):
            raise ValueError("config.protocols: " + no_such(config.protocols[0], known))

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it."""
        subject, seen, results = self.subject, dict[str, Images](), Results([])
        for family, found in subject.images(files):
            results += self._of_family(family, found)
            seen |= {one.name: found for one in family}
        results += self._beyond(seen)
        wrong = {one.name: subject.mistaken(one, files) for one in subject.sets}
        return results, page(self.config, results, subject.sets, wrong)

    def _of_family(self, sets: Sequence[Set], found: Images) -> Results:
        """Of sets of the same photos in other forms, which are compared photo by photo."""
        every, shown = sets[0].protocols.names, self.config.protocols
        first, *_ = names = [n for n in every if not shown or n in shown] or [every[0]]
        hits = {name: found.values[name] for name in names}
        gap = {"gap": confidence_gaps(found.values["confidence"], hits[first])}
        results = self._results(accuracies, sets[0].drawn(found, {**hits, **gap}))
        del gap  # the largest array
        likelihood = {name: found.values[name] for name in LIKELIHOOD}
        results += self._results(likelihoods, sets[0].drawn(found, likelihood))
        for one in sets:
            mine = {name: hit.at(set=one.name) for name, hit in hits.items()}
            told, hit = self._of_cells(one, found, mine), mine[first]
            if not one.clustered:
                level = self.statistics["confidence"]
                exactly = Results(exact.of_classes(hit, found, self.networks.pairs, level))
                told += exactly.having(study=STUDY, protocol=first)
            parts = by_masks(STUDY, hit, found, self.networks, one.named, **self.statistics)
            told += parts.having(protocol=first)
            results += told.having(set=one.name, average="micro")
        return results

    def _of_cells(self, one: Set, found: Images, hits: Mapping[str, Named]) -> Results:
        """Of the values of each factor, by top-1 protocols."""
        results, top_1 = Results([]), {n: hit for n, hit in hits.items() if "_5" not in n}
        for factor, words in one.words(found.names).items():
            if len(set(words)) <= MOST:
                some = {name: split(hit, "value", words) for name, hit in top_1.items()}
                told = self._results(cells, one.drawn(found, some))
                results += told.having(set=one.name, average="micro", factor=factor)
        return results

    def _beyond(self, seen: Mapping[str, Images]) -> Results:
        """Effective robustness, where a set and the one that it is expected from were run."""
        hits = {
            key: (seen[name], seen[name].values[protocol].at(set=name))
            for key, (name, protocol) in places(self.subject.sets).items()
        }
        results = Results([])
        for key, fit in protocols.FITS.items():
            if key in hits and fit.base in hits:
                both = joined("part", {"shifted": hits[key], "base": hits[fit.base]})
                name, protocol = places(self.subject.sets)[key]
                told = self._results(beyond, both, fit)
                results += told.having(set=name, protocol=protocol, average="micro")
        return results

    def _results(self, measures: Callable[..., Numbers], found: Images, *given: Any) -> Results:
        options = {"signed": ("gap",), "within": {"ece": (-1.0, 1.0)}}
        study = Study(STUDY, (), (), measures, averages=("micro", "macro"), **options)
        return study.results(found, self.networks.pairs, *given, **self.statistics)
