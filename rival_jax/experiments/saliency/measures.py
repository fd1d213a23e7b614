"""What is told of saliency maps: from rows to the table of results (RIVAL10 study, 5.4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rival_jax.experiments.saliency.hits import PROBABILITIES, lowest
from rival_jax.experiments.saliency.unit import REGIONS
from rival_jax.named import Axis, Counts, Named, stacked
from rival_jax.report.images import Images, per_image
from rival_jax.report.results import Results, Row
from rival_jax.report.study import Means, Measure, Study

METRICS = {
    "iou": "IoU",
    "dice": "Dice",
    "average_precision": "average precision",
    "density_gap": "density gap",
    "precision": "mass inside",
    "coverage_25": "coverage, 25 %",
    "coverage_50": "coverage, 50 %",
    "coverage_75": "coverage, 75 %",
    "pointing_game": "pointing game",
}
GREYED = REGIONS[1:]
EFFECTS = {
    f"{of}_{name}": f"{title}, p({words})"
    for of, words in (("target", "explained class"), ("true", "true class"))
    for name, title in (
        *((f"drop_{region}", f"drop, {region} greyed") for region in GREYED),
        ("excess", "drop, salient beyond random"),
    )
}
MEASURES = {
    "accuracy": "accuracy",
    **METRICS,
    **EFFECTS,
    "area": "the object's share of the image",
    "flat": "maps without a highest place",
}
SIGNED = ("density_gap", *EFFECTS)
SHARES = {"on_background": "gap below 0", "missed": "maximum off the object", "wrong": "wrong"}


def derived(columns: dict[str, Named]) -> dict[str, Named]:
    """`MEASURES` and `SHARES` of every image: metrics as they are, probabilities as drops."""
    accuracy = columns["predicted"].map(lambda said, label: 1.0 * (said == label), columns["label"])
    found = {"accuracy": accuracy, **{name: columns[name] for name in METRICS}}
    for of in ("target", "true"):
        for region in GREYED:
            found[f"{of}_drop_{region}"] = columns[f"{of}_none"] - columns[f"{of}_{region}"]
        found[f"{of}_excess"] = found[f"{of}_drop_salient"] - found[f"{of}_drop_random"]
    return found | {
        "area": columns["area"],
        "flat": columns["flat"],
        "on_background": columns["density_gap"].map(
            lambda gap: np.where(np.isnan(gap), gap, gap < 0)
        ),
        "missed": columns["pointing_game"].map(lambda share: 1 - share),
        "wrong": accuracy.map(lambda right: 1 - right),
    }


def measures(means: Means, members: Mapping[str, Sequence[str]]) -> Iterator[Measure]:
    """Of every model and method, by class, by group, and what two of them differ by."""
    for of_class in means.values():
        level = of_class.mean("class")
        yield from _own(of_class)
        yield Measure("", _over_all(of_class))
        for group, models in members.items():
            one = level.where(model=list(models)).mean("model")
            yield Measure("", stacked("group", {group: one}))
        yield Measure("", level.differences("model"))
        yield Measure("", level.differences("method"))


STUDY = Study(
    "saliency",
    axes=(("model", "method"),),
    columns=("label", "predicted", "flat", "area", *METRICS, *PROBABILITIES),
    measures=measures,
    derived=derived,
    signed=("signed", "signed, of some"),
)
# Where images are filed differently for each model, models have no images in common to resample.
ALONE = dataclasses.replace(
    STUDY, measures=lambda means: (part for one in means.values() for part in _own(one))
)
HITS = dataclasses.replace(
    STUDY, measures=lambda means: (Measure("", one.mean("class")) for one in means.values())
)


def tabled(
    raw: Images,
    members: Mapping[str, Sequence[str]],
    filed: str,
    count: int,
    options: Mapping[str, Any],
) -> Results:
    """The table of results. Besides the study's axes it has two columns:

    "filed": whether images are in the "true" or in the "predicted" class, over which means are.
    "subset": "all" images, or the "hits": those of each class with the lowest density gap.

    Args:
      raw: columns of the rows, as `read_images` gives them.
      members: groups of models.
      filed: what hits are chosen by.
      count: hits of each class.
      options: of `statistics.bootstrap`.

    Raises:
      ValueError: if the models were not measured on the same images.
    """
    _check(raw)
    found = raw._replace(values=derived(raw.values))
    every = _marked(STUDY.results(_joined(found), members, **options), "true", "all")
    for s, (model, method) in enumerate(subjects(raw)):
        mine = {n: one.where(model=model, method=method) for n, one in found.values.items()}
        predicted, labels = (filed_under(raw, s, by) for by in ("predicted", filed))
        alone = ALONE.results(_joined(Images(mine, predicted, raw.classes)), **options)
        every += _marked(alone, "predicted", "all")
        rows = lowest(np.asarray(mine["density_gap"].values)[:, 0], labels, count)
        if len(rows):
            some = _taken(Images(mine, labels, raw.classes), rows)
            every += _marked(HITS.results(_joined(some), **options), filed, "hits")
    alone = every.where(filed="predicted", subset="all")
    return every + _marked(_without_intervals(alone, members), "predicted", "all")


def subjects(raw: Images) -> tuple[tuple[str, str], ...]:
    """(model, method) of all maps, in order."""
    return raw.values["predicted"].axes[1].keys


def filed_under(raw: Images, s: int, filed: str) -> np.ndarray:
    """The class that every image is filed under, int [n]: its "true" or "predicted" one."""
    if filed == "true":
        return raw.labels
    return np.asarray(raw.values["predicted"].values)[:, s].astype(np.int32)


def _joined(found: Images) -> Images:
    """Several measures in one array each, so that there is less to compile.

    Measures share an array if their values have the same bounds, and none lacks an image or all do.
    """
    alike: dict[str, list[str]] = {}
    for name, one in found.values.items():
        block = "signed" if name in SIGNED else "shares"
        some = "" if np.isfinite(np.asarray(one.values)).all() else ", of some"
        alike.setdefault(block + some, []).append(name)
    values = {}
    for block, names in alike.items():
        example, *others = found.values[names[0]].axes
        axes = (example, Axis(("measure",), tuple((name,) for name in names)), *others)
        columns = np.stack([np.asarray(found.values[name].values) for name in names], 1)
        values[block] = per_image(columns, axes)
    return found._replace(values=values)


def _own(of_class: Named) -> Iterator[Measure]:
    yield Measure("", of_class.mean("class"))
    yield Measure("", of_class)


def _over_all(of_class: Named) -> Named:
    """The mean over all models and methods that have a number in a class, alike."""
    *others, subject = of_class.axes
    keys = tuple((key,) for key in subject.keys)
    joined = dataclasses.replace(of_class, axes=(*others, Axis(("subject",), keys)))
    counts = Counts(*(array.max(-1) for array in of_class.counts))
    return dataclasses.replace(joined.mean("subject"), counts=counts)


def _without_intervals(alone: Results, members: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """Means over models whose images are filed differently: of each class, and of each group."""
    groups = {
        (group, method): alone.where(model=list(models), method=method, **{"class": None})
        for group, models in members.items()
        for method in alone.of("method")
    }
    parts = [({"class": c}, alone.where(**{"class": c})) for c in alone.of("class")]
    parts += [({"group": g, "method": m}, rows) for (g, m), rows in groups.items()]
    for words, every in parts:
        for measure in every.of("measure"):
            rows = every.where(measure=measure).rows
            told = {"study": STUDY.name, "measure": measure, **words, "contrast": ""}
            told |= dict.fromkeys(("low", "high", "p"), np.nan)
            told["estimate"] = float(np.mean([row["estimate"] for row in rows]))
            yield told | {name: min(row[name] for row in rows) for name in ("images", "classes")}


def _marked(rows: Any, filed: str, subset: str) -> Results:
    return Results({**row, "filed": filed, "subset": subset} for row in rows)


def _taken(found: Images, rows: np.ndarray) -> Images:
    """Some images, in the order of `rows`."""
    names = Axis(("example",), tuple((found.names[row],) for row in rows))
    values = {
        name: per_image(np.asarray(one.values)[rows], (names, *one.axes[1:]))
        for name, one in found.values.items()
    }
    return Images(values, found.labels[rows], found.classes)


def _check(raw: Images) -> None:
    predicted = raw.values["predicted"]
    for (model, _), missing in zip(subjects(raw), np.isnan(predicted.values).T, strict=True):
        if missing.any():
            raise ValueError(
                f"model {model} was measured on {(~missing).sum()} of {len(missing)} images; "
                "models are compared on the same images: run those whose photos were skipped in a "
                "--workdir of their own"
            )
