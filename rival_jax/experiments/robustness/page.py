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
from rival_jax.experiments.sets import Set, varied
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
EACH = ("model", *OF)
DOTS = {"panel": "protocol", "by": "model", "percent": True, "label": "accuracy, %"}


def page(
    config: Config, results: Results, sets: Sequence[Set], wrong: Mapping[str, Wrong]
) -> Document:
    """All that the results say, and photos of each set that were got wrong."""
    given = ", ".join(f"{key} {value}" for key, value in preprocessing(config).items())
    treatment = WORDS.text("given", given=given) if given else WORDS.text("own")
    whole = Results(r for r in results if not r.get("factor") and not r.get("class"))
    level, pairs = whole.where(contrast=""), Results(r for r in whole if r["contrast"])
    accuracy = level.where(measure="accuracy", average="micro")
    beside = functools.partial(_beside, {} if given else {one.name: one.published for one in sets})
    macro = level.where(measure="accuracy", average="macro")
    beyond = {"measure": "effective_robustness"}
    pairs = Results(filter(_top_1, pairs.where(average=("micro", None))))
    told = functools.partial(_tested, config)
    pictures = [_dots("accuracy", accuracy, "set"), *_curves(accuracy, sets)]
    return Document(
        title=WORDS.text("title"),
        subtitle=f"{counted(len(level.of('model')), 'network')}, "
        f"{counted(len(sets), 'data set')}; {treatment}",
        headline=[*map(functools.partial(_sentence, accuracy), accuracy.of("set"))][:12],
        sections=[
            Section(
                "Accuracy",
                pictures=pictures,
                tables=[
                    *_pivot("micro", accuracy, (*OF, "images"), beside, treatment=treatment),
                    *_pivot("macro", macro, OF, treatment=treatment),
                    *_pivot("drop", level.where(measure="accuracy_drop", average="micro"), OF),
                    *_pivot("calibration", level.where(measure="ece"), ("set",)),
                    *_pivot("nll", level.where(measure="nll"), ("set",), tables.ratio),
                    *_pivot("brier", level.where(measure="brier"), ("set",), tables.ratio),
                ],
            ),
            Section(
                "Differences",
                tables=[
                    *told("difference", pairs.where(measure="accuracy"), EACH),
                    *_photos(pairs),
                    *told("drop_difference", pairs.where(measure="accuracy_drop"), EACH),
                    *_classes(told, results),
                ],
            ),
            Section(
                "Beyond the line",
                pictures=[*_lines(accuracy, sets)],
                tables=[
                    *_pivot("beyond", level.where(**beyond), OF),
                    *told("beyond_difference", pairs.where(**beyond), EACH),
                ],
            ),
            *_cells(told, results),
            Section("Confidently wrong", pictures=[*_galleries(wrong)]),
        ],
        method=[*WORDS.texts("method", treatment=treatment), METHOD.format(HOLM)],
        caveats=WORDS.caveats(),
        source=WORDS.text("source"),
    )


def _sentence(accuracy: Results, name: str) -> str:
    """A set's accuracies by its first protocol."""
    rows = accuracy.where(set=name, protocol=accuracy.where(set=name).of("protocol")[0]).rows
    each = ", ".join(f"{row['model']} {percent(row)} %" for row in rows)
    return f"{name} ({rows[0]['protocol']}, {counted(rows[0]['images'], 'photo')}): {each}."


def _pivot(
    title: str,
    results: Results,
    rows: Sequence[str],
    cell: Callable[[Row], str] = percent,
    column: str = "model",
    **told: str,
) -> list[Table]:
    title = WORDS.text(title, **told)
    return [tables.pivot(title, results, rows, column, cell)] if results.rows else []


def _tested(
    config: Config, title: str, results: Results, rows: Sequence[str], **options: Any
) -> list[Table]:
    told = WORDS.text(title), results, rows, percent, config.statistics.confidence
    quantity = "difference, points"
    return [tables.differences(*told, quantity=quantity, **options)] if results.rows else []


def _photos(pairs: Results) -> list[Table]:
    """How many photos one network of a pair alone has right, and McNemar's test."""
    told = pairs.where(measure=("gained", "lost")).changed(
        lambda row: {**row, "of": f"{row['model']} {row['contrast']}", "p": f"{row['p']:.3g}"}
    )
    return _pivot("photos", told, ("of", *OF, "p"), lambda row: f"{row['estimate']:.0f}", "measure")


def _classes(told: Callable[..., list[Table]], results: Results) -> list[Table]:
    """Classes with masks and without, and single classes that changed."""
    pairs, rows = Results(r for r in results if r.get("class") and r["contrast"]), ("class", *OF)
    rate = {"adjust": significance.benjamini_hochberg}
    found = told("classes", pairs.where(measure="accuracy"), ("model", *rows), **rate)
    return [
        *told("parts", pairs.where(measure="class_accuracy"), ("model", *rows)),
        *(t._replace(rows=[row for row in t.rows if row[-2] == "yes"][:CHANGED]) for t in found),
    ]


def _cells(told: Callable[..., list[Table]], results: Results) -> Iterator[Section]:
    """A part of the page for each factor of a set."""
    for number, name in enumerate(results.of("set"), 1):
        for factor in results.where(set=name).of("factor"):
            mine = results.where(set=name, factor=factor)
            level, pairs = mine.where(contrast=""), Results(r for r in mine if r["contrast"])
            accuracy, fields = level.where(measure="accuracy"), {"factor": factor, "set": name}
            rest = level.where(measure=("worst_accuracy", "mce"))
            yield Section(
                f"{name} by {factor}",
                pictures=[_dots(f"cells_{number}_{factor}", accuracy, "value", "cells", fields)],
                tables=[
                    *_pivot("cells", accuracy, ("value", "protocol", "images")),
                    *_pivot("worst", rest, ("measure", "protocol")),
                    *told("cell_difference", pairs, ("model", "measure", "value", "protocol")),
                ],
            )


def _beside(published: Mapping[str, Mapping[str, str]], row: Row) -> str:
    """An accuracy, and what timm publishes of the network by this protocol."""
    known = class_maps.published().get(row["model"].removeprefix("timm/"), {})
    keys = [key for key, name in published.get(row["set"], {}).items() if name == row["protocol"]]
    return percent(row) + "".join(f" (timm {100 * known[key]:.1f})" for key in keys if key in known)


def _top_1(row: Row) -> bool:
    return not str(row.get("protocol")).endswith("_5")


def _dots(
    name: str, accuracy: Results, y: str, told: str = "", fields: Mapping[str, Any] | None = None
) -> words.Picture:
    """Top-1 accuracies, a panel for each protocol."""
    draw = functools.partial(figures.dots, Results(filter(_top_1, accuracy)), y, **DOTS)
    return WORDS.picture(name, draw, words=told or name, **(fields or {}))


def _curves(accuracy: Results, sets: Sequence[Set]) -> Iterator[words.Picture]:
    """Accuracy over an option, where sets of one kind differ in one number alone."""
    for kind, option, values in varied(sets):
        found = accuracy.where(set=list(values))
        rows = found.where(protocol=found.of("protocol")[0]).changed(
            lambda row, option=option, values=values: {**row, option: values[row["set"]]}
        )
        draw = functools.partial(figures.curves, rows, option, by="model", percent=True)
        draw = functools.partial(draw, label="accuracy, %")
        yield WORDS.picture(f"curve_{kind}", draw, words="curve", kind=kind, option=option)


def _lines(accuracy: Results, sets: Sequence[Set]) -> Iterator[words.Picture]:
    """Networks beside the line that others lie on, where both of its sets were run."""
    places = {key: (one.name, name) for one in sets for key, name in one.published.items()}
    rows = {k: accuracy.where(set=place[0], protocol=place[1]) for k, place in places.items()}
    for key, fit in protocols.FITS.items():
        if not (rows.get(key) and rows.get(fit.base)):
            continue
        base = {row["model"]: 100 * row["estimate"] for row in rows[fit.base]}
        here = rows[key].changed(lambda row, base=base: {**row, "base": base[row["model"]]})
        ends = max(1, min(base.values()) - 10), min(99, max(base.values()) + 10)
        x, line = jnp.linspace(*ends, 41) / 100, {"slope": fit.slope, "intercept": fit.intercept}
        y = -protocols.effective_robustness(0 * x, x, **line)
        drawn = [
            {"model": "other networks", "base": 100 * float(a), **dict.fromkeys(figures.ENDS, b)}
            for a, b in zip(x, y.tolist(), strict=True)
        ]
        told: dict[str, Any] = {"set": places[key][0], "base": places[fit.base][0], "r2": fit.r2}
        axes = {"base": f"accuracy on {told['base']}, %"}, f"accuracy on {told['set']}, %"
        both = here + Results(drawn)
        draw = functools.partial(figures.curves, both, "base", by="model", percent=True)
        draw = functools.partial(draw, titles=axes[0], label=axes[1])
        yield WORDS.picture(f"line_{key}", draw, words="line", **told)


def _galleries(wrong: Mapping[str, Wrong]) -> Iterator[words.Picture]:
    for number, (name, some) in enumerate(wrong.items(), 1):
        if some:
            told: dict[str, Any] = {"words": "wrong", "photos": True, "set": name}
            draw = functools.partial(contact, some, ("class", "example"))
            yield WORDS.picture(f"wrong_{number}", draw, **told)
