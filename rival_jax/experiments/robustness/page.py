"""The page of accuracy on shifted data sets: tables by protocol, differences, cells, galleries."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from rival_jax import protocols, significance
from rival_jax.configs.robustness import Config
from rival_jax.data import class_maps
from rival_jax.experiments.preprocessing import preprocessing
from rival_jax.experiments.sets import Set
from rival_jax.report import figures, tables, words
from rival_jax.report.document import Document, Section
from rival_jax.report.grids import contact
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, counted, percent
from rival_jax.report.verdicts import HOLM, METHOD

WORDS = words.Words(__package__)
Wrong = Sequence[tuple[str, str, Mapping[str, np.ndarray]]]
"""Photos to look at: (what they are and are taken for, example, {confidence: picture})."""
CHANGED = 20  # classes in the table of those that changed
OF = ("set", "protocol")
OTHERS = "other networks"


def page(
    config: Config, results: Results, sets: Sequence[Set], wrong: Mapping[str, Wrong]
) -> Document:
    """All that the results say, and photos of each set that were got wrong."""
    given = ", ".join(f"{key} {value}" for key, value in preprocessing(config).items())
    treatment = WORDS.text("given", given=given) if given else WORDS.text("own")
    whole = Results(r for r in results if not r.get("factor") and not r.get("class"))
    level = whole.where(contrast="")
    accuracy = level.where(measure="accuracy", average="micro")
    beside = functools.partial(_beside, {} if given else {one.name: one.published for one in sets})
    galleries = [
        WORDS.picture(f"wrong_{number}", draw, words="wrong", photos=True, set=name)
        for number, (name, some) in enumerate(wrong.items(), 1)
        if some and (draw := functools.partial(contact, some, ("class", "example")))
    ]
    likelihood = level.where(measure=("nll", "brier"))
    macro = level.where(measure="accuracy", average="macro")
    return Document(
        title=WORDS.text("title"),
        subtitle=f"{counted(len(level.of('model')), 'network')}, "
        f"{counted(len(sets), 'data set')}; {treatment}",
        headline=headline(accuracy),
        sections=[
            Section(
                "Accuracy",
                pictures=[_dots("accuracy", accuracy, "set"), *_curves(accuracy, sets)],
                tables=[
                    *_pivot("micro", accuracy, (*OF, "images"), beside),
                    *_pivot("macro", macro, OF),
                    *_pivot("drop", level.where(measure="accuracy_drop", average="micro"), OF),
                    *_pivot("calibration", level.where(measure="ece"), ("set",)),
                    *_pivot("likelihood", likelihood, ("set", "measure"), tables.ratio),
                ],
            ),
            Section("Differences", tables=_differences(config, results, whole)),
            Section(
                "Beyond the line",
                pictures=list(_lines(accuracy, sets)),
                tables=_pivot("beyond", level.where(measure="effective_robustness"), OF),
            ),
            *_cells(config, results),
            Section("Confidently wrong", pictures=galleries),
        ],
        method=[
            *WORDS.texts("method"),
            WORDS.text("treatment", treatment=treatment),
            METHOD.format(HOLM),
        ],
        caveats=WORDS.caveats(),
        source=WORDS.text("source"),
    )


def headline(accuracy: Results) -> list[str]:
    """One sentence for each set: every network, by the set's first protocol."""
    told = []
    for name in accuracy.of("set"):
        rows = accuracy.where(set=name, protocol=accuracy.where(set=name).of("protocol")[0]).rows
        each = ", ".join(f"{row['model']} {percent(row)} %" for row in rows)
        images = counted(rows[0]["images"], "photo")
        told.append(f"{name} ({rows[0]['protocol']}, {images}): {each}.")
    return told[:12]


def _differences(config: Config, results: Results, whole: Results) -> list[Table]:
    """Between networks: of sets, of photos one by one, of classes."""
    pairs = Results(row for row in whole if row["contrast"] and _top_1(row))
    pairs = pairs.where(average=("micro", None))
    classes = Results(row for row in results if row.get("class") and row["contrast"])
    told = functools.partial(_tested, config, ("model", *OF))
    each = functools.partial(_tested, config, ("model", "class", *OF))
    changed = each("classes", classes.where(measure="accuracy"), significance.benjamini_hochberg)
    single = pairs.where(measure=("gained", "lost")).changed(
        lambda row: {**row, "of": f"{row['model']} {row['contrast']}", "p": f"{row['p']:.3g}"}
    )
    return [
        *told("difference", pairs.where(measure="accuracy")),
        *_pivot("photos", single, ("of", *OF, "p"), _count, "measure"),
        *told("drop_difference", pairs.where(measure="accuracy_drop")),
        *told("beyond_difference", pairs.where(measure="effective_robustness")),
        *each("parts", classes.where(measure="class_accuracy")),
        *(t._replace(rows=[r for r in t.rows if r[-2] == "yes"][:CHANGED]) for t in changed),
    ]


def _cells(config: Config, results: Results) -> Iterator[Section]:
    """A part of the page for each factor of a set."""
    for number, name in enumerate(results.of("set"), 1):
        for factor in results.where(set=name).of("factor"):
            mine = results.where(set=name, factor=factor)
            level, pairs = mine.where(contrast=""), Results(r for r in mine if r["contrast"])
            accuracy, fields = level.where(measure="accuracy"), {"factor": factor, "set": name}
            rest = level.where(measure=("worst_accuracy", "mce"))
            told = functools.partial(_tested, config, ("model", "measure", "value", "protocol"))
            yield Section(
                f"{name} by {factor}",
                pictures=[_dots(f"cells_{number}_{factor}", accuracy, "value", "cells", **fields)],
                tables=[
                    *_pivot("cells", accuracy, ("value", "protocol", "images")),
                    *_pivot("worst", rest, ("measure", "protocol")),
                    *told("cell_difference", pairs),
                ],
            )


def _pivot(
    title: str,
    results: Results,
    rows: Sequence[str],
    cell: Callable[[Row], str] = percent,
    column: str = "model",
) -> list[Table]:
    return [tables.pivot(WORDS.text(title), results, rows, column, cell)] if results.rows else []


def _tested(
    config: Config,
    rows: Sequence[str],
    title: str,
    results: Results,
    adjust: Callable[[np.ndarray], np.ndarray] = significance.holm,
) -> list[Table]:
    if not results.rows:
        return []
    told = rows, percent, config.statistics.confidence
    quantity = "difference, points"
    return [tables.differences(WORDS.text(title), results, *told, quantity=quantity, adjust=adjust)]


def _count(row: Row) -> str:
    return f"{row['estimate']:.0f}"


def _beside(published: Mapping[str, Mapping[str, str]], row: Row) -> str:
    """An accuracy, and what timm publishes of the network by this protocol."""
    known = class_maps.published().get(row["model"].removeprefix("timm/"), {})
    keys = [key for key, name in published.get(row["set"], {}).items() if name == row["protocol"]]
    return percent(row) + "".join(f" (timm {100 * known[key]:.1f})" for key in keys if key in known)


def _top_1(row: Row) -> bool:
    return not str(row.get("protocol")).endswith("_5")


def _dots(name: str, accuracy: Results, y: str, told: str = "", **fields: Any) -> words.Picture:
    """Top-1 accuracies, a panel for each protocol."""
    first = Results(row for row in accuracy if _top_1(row))
    draw = functools.partial(figures.dots, first, y, panel="protocol", by="model", percent=True)
    draw = functools.partial(draw, label="accuracy, %")
    return WORDS.picture(name, draw, words=told or name, **fields)


def _curves(accuracy: Results, sets: Sequence[Set]) -> Iterator[words.Picture]:
    """Accuracy over an option, where sets of one kind differ in one number alone."""
    for kind in dict.fromkeys(one.kind for one in sets):
        mine = {one.name: one.options for one in sets if one.kind == kind}
        keys = dict.fromkeys(key for given in mine.values() for key in given)
        values = {key: [given.get(key) for given in mine.values()] for key in keys}
        varied = [key for key, some in values.items() if len(set(map(str, some))) > 1]
        if len(varied) == 1 and all(isinstance(value, (int, float)) for value in values[varied[0]]):
            (x,), found = varied, accuracy.where(set=list(mine))
            found = found.where(protocol=found.of("protocol")[0])
            rows = found.changed(lambda row, x=x, mine=mine: {**row, x: mine[row["set"]][x]})
            draw = functools.partial(figures.curves, rows, x, by="model", label="accuracy, %")
            draw = functools.partial(draw, percent=True)
            yield WORDS.picture(f"curve_{kind}", draw, words="curve", kind=kind, option=x)


def _lines(accuracy: Results, sets: Sequence[Set]) -> Iterator[words.Picture]:
    """Networks beside the line that others lie on, where both of its sets were run."""
    names = {key: (one.name, name) for one in sets for key, name in one.published.items()}
    rows = {
        key: accuracy.where(**dict(zip(OF, place, strict=True))) for key, place in names.items()
    }
    for key, fit in protocols.FITS.items():
        if not (rows.get(key) and rows.get(fit.base)):
            continue
        base = {row["model"]: 100 * row["estimate"] for row in rows[fit.base]}
        here = rows[key].changed(lambda row, base=base: {**row, "base": base[row["model"]]})
        ends = max(1, min(base.values()) - 10), min(99, max(base.values()) + 10)
        shares = jnp.linspace(*ends, 41) / 100
        line = {"slope": fit.slope, "intercept": fit.intercept}
        expected = -protocols.effective_robustness(0 * shares, shares, **line)
        drawn = [
            {"model": OTHERS, "base": 100 * x, **dict.fromkeys(figures.ENDS, y)}
            for x, y in zip(shares.tolist(), expected.tolist(), strict=True)
        ]
        fields: dict[str, Any] = {"set": names[key][0], "base": names[fit.base][0]}
        draw = functools.partial(
            figures.curves,
            here + Results(drawn),
            "base",
            by="model",
            label=f"accuracy on {fields['set']}, %",
            percent=True,
            titles={"base": f"accuracy on {fields['base']}, %"},
        )
        yield WORDS.picture(f"line_{key}", draw, words="line", r2=fit.r2, **fields)
