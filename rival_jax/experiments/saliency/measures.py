"""What is reported about saliency maps: from rows to the table of results (RIVAL10 study, 5.4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rival_jax.alignment import METRICS
from rival_jax.configs.saliency import Saliency
from rival_jax.experiments.saliency.unit import REGIONS
from rival_jax.named import Axis, Counts, Named
from rival_jax.report.images import Images, per_image
from rival_jax.report.results import Results, Row, plain
from rival_jax.report.study import Means, Measure, Study

GREYED = REGIONS[1:]
EFFECTS = tuple(  # on the probability of the explained and of the true class
    f"{of}_{effect}"
    for of in ("target", "true")
    for effect in (*(f"drop_{region}" for region in GREYED), "excess")
)
SIGNED = ("density_gap", *EFFECTS)
PROBABILITIES = tuple(f"{of}_{region}" for of in ("target", "true") for region in REGIONS)
# What is reported about a hit.
HIT = (
    *("model", "method", "class", "example", "label", "predicted"),
    *("density_gap", *PROBABILITIES),
)


def derived(columns: dict[str, Named]) -> dict[str, Named]:
    """Measures of every image: metrics, drops of probabilities, and faults as 0 or 1."""
    accuracy = columns["predicted"].map(lambda said, label: 1.0 * (said == label), columns["label"])
    found = {"accuracy": accuracy, **{name: columns[name] for name in METRICS}}
    for of in ("target", "true"):
        for region in GREYED:
            found[f"{of}_drop_{region}"] = columns[f"{of}_none"] - columns[f"{of}_{region}"]
        found[f"{of}_excess"] = found[f"{of}_drop_salient"] - found[f"{of}_drop_random"]
    below = columns["density_gap"].map(lambda gap: np.where(np.isnan(gap), gap, gap < 0))
    return found | {
        **{name: columns[name] for name in ("area", "flat")},
        "on_background": below,
        "missed": columns["pointing_game"].map(lambda share: 1 - share),
        "wrong": accuracy.map(lambda right: 1 - right),
    }


def measures(means: Means, members: Mapping[str, Sequence[str]]) -> Iterator[Measure]:
    """Measures of every model and method, by class and by group, and paired differences."""
    for of_class in means.values():
        level = of_class.mean("class")
        groups = (level.grouped("model", {group: of}) for group, of in members.items())
        parts = (level, of_class, _over_all(of_class), *groups)
        for part in (*parts, level.differences("model"), level.differences("method")):
            yield Measure("", part)


STUDY = Study(
    "saliency",
    axes=(("model", "method"),),
    columns=("label", "predicted", "flat", "area", *METRICS, *PROBABILITIES),
    measures=measures,
    signed=("signed", "signed, of some"),
)
# If images are filed differently for each model, models share no images to resample.
ALONE = dataclasses.replace(
    STUDY,
    measures=lambda means: (
        Measure("", part) for one in means.values() for part in (one.mean("class"), one)
    ),
)


def tabled(
    raw: Images, members: Mapping[str, Sequence[str]], c: Saliency, **options: Any
) -> Results:
    """The table of results, of the columns of the rows. Besides the study's axes it has:

    "filed": whether means are over "true" or "predicted" classes.
    "subset": "all" images, or the "hits": images of each class with the lowest density gap.
    """
    found = raw._replace(values=derived(raw.values))
    every = _marked(STUDY.results(_joined(found), members, **options), "true", "all")
    for s, (model, method) in enumerate(subjects(raw)):
        mine = {n: one.where(model=model, method=method) for n, one in found.values.items()}
        by_said = Images(mine, filed_under(raw, s, "predicted"), raw.classes)
        every += _marked(ALONE.results(_joined(by_said), **options), "predicted", "all")
        rows, labels = lowest(raw, s, c)
        if len(rows):
            some = ALONE.results(_joined(Images(mine, labels, raw.classes), rows), **options)
            every += _marked(some.where(**{"class": None}), c.classes, "hits")
    alone = every.where(filed="predicted", subset="all")
    return every + _marked(_without_intervals(alone, members), "predicted", "all")


def subjects(raw: Images) -> tuple[tuple[str, str], ...]:
    """(model, method) of all maps, in order."""
    return raw.values["predicted"].axes[1].keys


def filed_under(raw: Images, s: int, filed: str) -> np.ndarray:
    """The class every image is filed under, int [n]: the "true" or the "predicted" one."""
    if filed == "true":
        return raw.labels
    return np.asarray(raw.values["predicted"].values)[:, s].astype(np.int32)


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


def hits_of(raw: Images, c: Saliency) -> list[dict[str, Any]]:
    """`HIT` for the lowest images of every model and method; see `lowest`."""
    found, names = [], raw.names
    for s, subject in enumerate(subjects(raw)):
        columns = {name: np.asarray(one.values)[:, s] for name, one in raw.values.items()}
        rows, labels = lowest(raw, s, c)
        for row in rows.tolist():
            label, said = raw.classes[raw.labels[row]], raw.classes[int(columns["predicted"][row])]
            words = (*subject, raw.classes[labels[row]], names[row], label, said)
            numbers = (float(columns[name][row]) for name in ("density_gap", *PROBABILITIES))
            found.append(dict(zip(HIT, (*words, *numbers), strict=True)))
    return found


def _joined(found: Images, rows: np.ndarray | None = None) -> Images:
    """Measures grouped into few arrays, so that less is compiled; of `rows`, or of all images.

    Measures share an array if their values have the same bounds, and either all or none lack
    images.
    """
    rows = np.arange(len(found.labels)) if rows is None else rows
    alike: dict[str, dict[str, np.ndarray]] = {}
    for name, one in found.values.items():
        values = np.asarray(one.values)[rows]
        block = "signed" if name in SIGNED else "shares"
        some = "" if np.isfinite(values).all() else ", of some"
        alike.setdefault(block + some, {})[name] = values
    example, *others = next(iter(found.values.values())).axes
    first = Axis(example.fields, tuple(example.keys[row] for row in rows))
    joined = {
        block: per_image(
            np.stack(list(columns.values()), 1),
            (first, Axis(("measure",), tuple((name,) for name in columns)), *others),
        )
        for block, columns in alike.items()
    }
    return Images(joined, found.labels[rows], found.classes)


def _over_all(of_class: Named) -> Named:
    """The mean of a class over all models and methods that have a number there."""
    *others, subject = of_class.axes
    keys = tuple((key,) for key in subject.keys)
    joined = dataclasses.replace(of_class, axes=(*others, Axis(("subject",), keys)))
    counts = Counts(*(array.max(-1) for array in of_class.counts))
    return dataclasses.replace(joined.mean("subject"), counts=counts)


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


def _marked(rows: Any, filed: str, subset: str) -> Results:
    return Results({**row, "filed": filed, "subset": subset} for row in rows)
