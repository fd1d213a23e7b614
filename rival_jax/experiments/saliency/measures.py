"""What is reported about saliency maps: from rows to the table of results (RIVAL10 study, 5.4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rival_jax.alignment import METRICS
from rival_jax.configs.saliency import Saliency
from rival_jax.images import Images, alike
from rival_jax.named import Axis, Counts, Named
from rival_jax.report.results import Results, Row, plain
from rival_jax.report.study import Means, Measure, Study

REGIONS = ("none", "salient", "random", "least")  # of the background, greyed
GREYED = REGIONS[1:]
SIGNED = (  # effects are on the probability of the explained and of the true class
    *("density_gap", "target_drop_salient", "target_drop_random", "target_drop_least"),
    *("target_excess", "true_drop_salient", "true_drop_random", "true_drop_least", "true_excess"),
)
PROBABILITIES = tuple(f"{of}_{region}" for of in ("target", "true") for region in REGIONS)
# What is reported about a hit.
HIT = ("model", "method", "class", "example", "label", "predicted", "density_gap", *PROBABILITIES)


def derived(columns: dict[str, Named]) -> dict[str, Named]:
    """Measures of every image: metrics, drops of probabilities, and faults as 0 or 1."""
    accuracy = columns["predicted"].map(lambda said, label: 1.0 * (said == label), columns["label"])
    found = {"accuracy": accuracy, **{name: columns[name] for name in METRICS}}
    for of in ("target", "true"):
        for region in GREYED:
            found[f"{of}_drop_{region}"] = columns[f"{of}_none"] - columns[f"{of}_{region}"]
        found[f"{of}_excess"] = found[f"{of}_drop_salient"] - found[f"{of}_drop_random"]
    found |= {name: columns[name] for name in ("area", "flat")}
    below = columns["density_gap"].map(lambda gap: np.where(np.isnan(gap), gap, gap < 0))
    missed = columns["pointing_game"].map(lambda share: 1 - share)
    wrong = accuracy.map(lambda right: 1 - right)
    return found | {"on_background": below, "missed": missed, "wrong": wrong}


def measures(means: Means, members: Mapping[str, Sequence[str]] | None) -> Iterator[Measure]:
    """Measures of every model and method, by class and by group, and paired differences.

    Without `members`, of one model alone: if images are filed differently for each model, models
    share no images to resample.
    """
    for of_class in means.values():
        level = of_class.mean("class")
        parts = [level, of_class]
        if members is not None:
            groups = (level.grouped("model", {group: of}) for group, of in members.items())
            parts += [_over_all(of_class), *groups]
            parts += [level.differences("model"), level.differences("method")]
        yield from (Measure("", part) for part in parts)


def _over_all(of_class: Named) -> Named:
    """The mean of a class over all models and methods that have a number there."""
    *others, subject = of_class.axes
    keys = tuple((key,) for key in subject.keys)
    joined = dataclasses.replace(of_class, axes=(*others, Axis(("subject",), keys)))
    counts = Counts(*(array.max(-1) for array in of_class.counts))
    return dataclasses.replace(joined.mean("subject"), counts=counts)


STUDY = Study(
    "saliency",
    axes=(("model", "method"),),
    columns=("label", "predicted", "flat", "area", *METRICS, *PROBABILITIES),
    measures=measures,
    derived=lambda columns: alike(derived(columns), SIGNED),
    alone=lambda config: (None,),  # of networks of two runs: over the true classes
    signed=("signed", "signed, of some"),
    apart="each",
)


def tabled(
    raw: Images, members: Mapping[str, Sequence[str]], c: Saliency, **options: Any
) -> Results:
    """The table of results, of the columns of the rows. Besides the study's axes it has:

    "filed": whether means are over "true" or "predicted" classes.
    "subset": "all" images, or the "hits": images of each class with the lowest density gap.
    """
    found, said = raw._replace(values=derived(raw.values)), {"filed": "predicted", "subset": "all"}

    def told(images: Images, members: Mapping[str, Sequence[str]] | None = None) -> Results:
        joined = images._replace(values=alike(images.values, SIGNED))
        return STUDY.results(joined, members, **options)

    every = told(found, members).having(filed="true", subset="all")
    for s, (model, method) in enumerate(subjects(raw)):
        mine = {n: one.where(model=model, method=method) for n, one in found.values.items()}
        every += told(Images(mine, filed_under(raw, s, "predicted"), raw.classes)).having(**said)
        rows, labels = lowest(raw, s, c)
        if len(rows):
            some = told(Images(mine, labels, raw.classes).at(rows)).where(**{"class": None})
            every += some.having(filed=c.classes, subset="hits")
    return every + Results(_without_intervals(every.where(**said), members)).having(**said)


def _without_intervals(alone: Results, members: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """Means over models whose images are filed differently: for each class, and for each group."""
    parts = [({"class": c}, alone.where(**{"class": c})) for c in alone.of("class")]
    level = alone.where(**{"class": None})
    for group, models in members.items():
        for method in alone.of("method"):
            rows = level.where(model=list(models), method=method)
            parts.append(({"group": group, "method": method}, rows))
    for words, every in parts:
        for measure in every.of("measure"):
            rows = every.where(measure=measure).rows
            images, classes = (min(row[name] for row in rows) for name in ("images", "classes"))
            mean = float(np.mean([row["estimate"] for row in rows]))
            yield plain(STUDY.name, measure, mean, images, classes, **words)


def subjects(raw: Images) -> tuple[tuple[str, str], ...]:
    """(model, method) of all maps, in order."""
    return tuple(raw.values["predicted"].axes[1].keys)


def filed_under(raw: Images, s: int, filed: str) -> np.ndarray:
    """The class every image is filed under, int [n]: the "true" or the "predicted" one."""
    said = np.asarray(raw.values["predicted"].values)[:, s].astype(np.int32)
    return raw.labels if filed == "true" else said


def lowest(raw: Images, s: int, c: Saliency) -> tuple[np.ndarray, np.ndarray]:
    """The images of each class with the lowest density gap, for model and method number `s`.

    Returns:
      positions of images that have a gap, by class and then by gap, lowest first; and the class
      every image is filed under, int [n].
    """
    gap, labels = np.asarray(raw.values["density_gap"].values)[:, s], filed_under(raw, s, c.classes)
    order = np.lexsort((gap, labels))
    order = order[np.isfinite(gap[order])]
    first = np.searchsorted(labels[order], labels[order])
    return order[np.arange(len(order)) - first < c.hits], labels


def hits_of(raw: Images, c: Saliency) -> Results:
    """`HIT` for the lowest images of every model and method; see `lowest`."""
    found, names = [], raw.names
    for s, subject in enumerate(subjects(raw)):
        rows, labels = lowest(raw, s, c)
        for row in rows.tolist():
            places = labels[row], raw.labels[row], filed_under(raw, s, "predicted")[row]
            filed, *words = (raw.classes[place] for place in places)
            numbers = (float(raw.values[name].values[row, s]) for name in HIT[6:])
            told = (*subject, filed, names[row], *words, *numbers)
            found.append(dict(zip(HIT, told, strict=True)))
    return Results(found)
