"""From rows to the table of results: accuracy by protocol, differences, cells, calibration."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from rival_jax import protocols, relative_errors
from rival_jax.experiments.cures import Pair
from rival_jax.experiments.sets import Set
from rival_jax.named import Axis, Named, stacked
from rival_jax.report import exact
from rival_jax.report.images import Images, by_unit, joined, per_image, split
from rival_jax.report.results import Results
from rival_jax.report.study import Means, Measure, Study

BINS = 15  # of confidence
FEW = 8  # values of a factor up to which every two are compared
MOST = 100  # values of a factor whose cells are told; with more it is in the rows alone
LIKELIHOOD = ("nll", "brier")
Numbers = Iterator[Measure]


def between(name: str, level: Named, pairs: Sequence[Pair]) -> Numbers:
    """A number, and every pair's later network minus its earlier one."""
    yield Measure(name, level)
    for pair in pairs:
        yield Measure(name, level.where(model=pair).differences("model"))


def accuracies(means: Means, pairs: Sequence[Pair]) -> Numbers:
    """Of all photos and of all classes alike; drops from the first of like sets; calibration."""
    level = stacked("protocol", {name: one for name, one in means.items() if name != "gap"})
    yield from between("accuracy", level, pairs)
    gap = means["gap"].at(average="micro").map(jnp.abs).mean("bin")
    yield from between("ece", gap.map(lambda share: BINS * share), pairs)
    if len(sets := level.of("set")) > 1:
        drop = level.at(set=sets[0]) - level.without(set=sets[0])
        yield from between("accuracy_drop", drop, pairs)


def likelihoods(means: Means, pairs: Sequence[Pair]) -> Numbers:
    """Negative log likelihood and Brier score."""
    for name in LIKELIHOOD:
        yield from between(name, means[name].at(average="micro"), pairs)


def cells(means: Means, pairs: Sequence[Pair]) -> Numbers:
    """Accuracies in the cells of a factor, the worst of them; ImageNet-C's mean error."""
    level = stacked("protocol", {name: one.at(average="micro") for name, one in means.items()})
    yield from between("accuracy", level, pairs)
    names = level.of("value")
    first, *others = (level.at(value=name) for name in names)
    worst = functools.reduce(lambda one, other: one.map(jnp.minimum, other), others, first)
    yield from between("worst_accuracy", worst, pairs)
    if len(names) <= FEW:
        yield Measure("cell_difference", level.differences("value"))
    if set(names) == relative_errors.ALEXNET_ERROR.keys():

        def error(*found: Any) -> Any:
            return relative_errors.mean_corruption_error(dict(zip(names, found, strict=True)))

        yield from between("mce", first.map(error, *others), pairs)


def beyond(means: Means, pairs: Sequence[Pair], key: str) -> Numbers:
    """Effective robustness, and what a cure changes of it."""
    level, fit = means["joined"].at(average="micro"), protocols.FITS[key]
    expect = functools.partial(
        protocols.effective_robustness, slope=fit.slope, intercept=fit.intercept
    )
    found = level.at(part="shifted").map(expect, level.at(part="base"))
    yield from between("effective_robustness", found, pairs)


def masked(means: Means, pairs: Sequence[Pair]) -> Numbers:
    """What a cure changes in classes with masks (A) and without (B), and the difference of both."""
    change = means["share"].where(model=pairs[0]).differences("model")
    parts = {name: change.at(**{"class": name}) for name in ("A", "B")}
    parts["A minus B"] = parts["A"] - parts["B"]
    yield Measure("class_accuracy", stacked("class", parts))


@dataclasses.dataclass(frozen=True)
class Teller:
    """Makes the table of results from what was measured of photos, axes set and model.

    Attributes:
      pairs: of networks that are compared.
      masks: of cured networks, the classes whose masks they were trained with.
      shown: protocols that are told; (): all.
      options: of `statistics.bootstrap`.
    """

    pairs: Sequence[Pair]
    masks: Mapping[str, Sequence[str]]
    shown: Sequence[str]
    options: Mapping[str, Any]

    def family(self, sets: Sequence[Set], found: Images) -> Results:
        """Of sets of the same photos in other forms, which are compared photo by photo."""
        every = sets[0].protocols.names
        first, *_ = names = [n for n in every if not self.shown or n in self.shown] or [every[0]]
        hits = {name: found.values[name] for name in names}
        gap = gaps(found.values["confidence"], found.values[first])
        results = self._study(accuracies, _drawn(sets[0], found, {**hits, "gap": gap}))
        likelihood = {name: found.values[name] for name in LIKELIHOOD}
        results += self._study(likelihoods, _drawn(sets[0], found, likelihood))
        for one in sets:
            about = {"set": one.name, "average": "micro"}
            mine = {name: hit.at(set=one.name) for name, hit in hits.items()}
            for factor, words in one.words(found.names).items():
                if len(set(words)) > MOST:
                    continue
                some = {n: split(hit, "value", words) for n, hit in mine.items() if "_5" not in n}
                some = self._study(cells, _drawn(one, found, some))
                results += _with(some, **about, factor=factor)
            if not one.clustered:
                confidence = self.options.get("confidence", 0.95)
                told = exact.of_classes(mine[first], found, self.pairs, confidence)
                results += _with(Results(told), **about, study="robustness", protocol=first)
            results += _with(self._masked(one, mine[first], found), **about, protocol=first)
        return results

    def line(self, key: str, shifted: tuple[Images, Named], base: tuple[Images, Named]) -> Results:
        """Effective robustness by the line `key`; hits have the axes example and model."""
        return self._study(beyond, joined("part", {"shifted": shifted, "base": base}), key)

    def _masked(self, one: Set, hit: Named, found: Images) -> Results:
        """Classes with masks against the others; it is these that are resampled."""
        some, told = np.isfinite(hit.values).all(1), Results([])
        count = np.bincount(found.labels[some], minlength=len(found.classes))
        there = np.flatnonzero(count)
        right = [np.bincount(found.labels[some], v[some], len(count)) for v in hit.values.T]
        axis = Axis(("example",), tuple((found.classes[label],) for label in there))
        share = per_image(np.stack(right, 1)[there] / count[there, None], (axis, *hit.axes[1:]))
        for pair in self.pairs:
            inside = one.named(self.masks.get(pair[1], ()))[there]
            if inside.any() and not inside.all():
                parts = Images({"share": share}, (~inside).astype(int), ("A", "B"))
                told += dataclasses.replace(self, pairs=[pair])._study(masked, parts)
        return told

    def _study(self, measures: Callable[..., Numbers], found: Images, *given: Any) -> Results:
        averages = () if measures is masked else ("micro", "macro")
        study = Study("robustness", (), (), measures, signed=("gap",), averages=averages)
        return study.results(found, self.pairs, *given, **self.options)


def _with(results: Results, **words: str) -> Results:
    return results.changed(lambda row: {**row, **words})


def _drawn(one: Set, found: Images, values: dict[str, Named]) -> Images:
    """Photos with other values, those that are drawn together as one."""
    units = dict(zip(one.names, one.units, strict=True))
    some = found._replace(values=values)
    return by_unit(some, [units[name] for name in found.names]) if one.clustered else some


def gaps(confidence: Named, right: Named) -> Named:
    """How far each photo is from its confidence, in the bin of that; 0 in the others."""
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    place = np.digitize(np.asarray(confidence.values), edges, right=True)
    gap = np.asarray(right.values) - np.asarray(confidence.values)
    values = np.where(place[..., None] == np.arange(BINS), gap[..., None], 0.0)
    return per_image(values, (*confidence.axes, Axis(("bin",), tuple((i,) for i in range(BINS)))))
