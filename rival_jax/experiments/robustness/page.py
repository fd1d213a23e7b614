"""The page of accuracy on shifted data sets: tables by protocol, differences, cells, galleries."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rival_jax import protocols
from rival_jax.configs.robustness import Config
from rival_jax.experiments.preprocessing import preprocessing
from rival_jax.experiments.sets import Set, beside_published, places, varied
from rival_jax.experiments.streamed import Mistaken
from rival_jax.report import figures, words
from rival_jax.report.document import Document, Section
from rival_jax.report.grids import contact
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, counted, percent

WORDS = words.Words(__package__)
LEVELS = ("micro", "macro", "drop", "calibration", "nll", "brier")


def page(
    config: Config, results: Results, sets: Sequence[Set], wrong: Mapping[str, Mistaken]
) -> Document:
    """All that the results say, and photos of each set that were got wrong."""
    given = ", ".join(f"{key} {value}" for key, value in preprocessing(config).items())
    treatment = WORDS.text("given", given=given) if given else WORDS.text("own")
    whole = results.where(factor=None, **{"class": None})
    accuracy = whole.where(measure="accuracy", average="micro", contrast="")
    pairs = _top_1(whole.where(average=("micro", None)))
    classes = Results(row for row in results if row.get("class"))
    cells = {"beside": functools.partial(beside_published, () if given else sets)}
    told = functools.partial(
        WORDS.tables, confidence=config.statistics.confidence, cells=cells, treatment=treatment
    )
    curves = [
        WORDS.drawn(f"curve_{kind}", rows, words="curve", kind=kind, option=option)
        for kind, option, rows in varied(sets, accuracy)
    ]
    return Document(
        title=WORDS.text("title"),
        subtitle=f"{counted(len(accuracy.of('model')), 'network')}, "
        f"{counted(len(sets), 'data set')}; {treatment}",
        headline=[_sentence(accuracy.where(set=name)) for name in accuracy.of("set")][:12],
        sections=[
            Section(
                "Accuracy",
                pictures=[WORDS.drawn("accuracy", _top_1(accuracy)), *curves],
                tables=told(whole, *LEVELS),
            ),
            Section(
                "Differences",
                tables=[
                    *told(pairs, "difference"),
                    *told(pairs.changed(_of_pair), "photos"),
                    *told(pairs, "drop_difference"),
                    *told(classes, "parts", "classes"),
                ],
            ),
            Section(
                "Beyond the line",
                pictures=[*_lines(accuracy, sets)],
                tables=[*told(whole, "beyond"), *told(pairs, "beyond_difference")],
            ),
            *_cells(told, results),
            Section("Confidently wrong", pictures=[*_galleries(wrong)]),
        ],
        method=WORDS.texts("method", treatment=treatment),
        caveats=WORDS.caveats(),
        source=WORDS.text("source"),
    )


def _top_1(results: Results) -> Results:
    return Results(row for row in results if not str(row.get("protocol")).endswith("_5"))


def _sentence(accuracy: Results) -> str:
    """A set's accuracies by its first protocol."""
    rows = accuracy.where(protocol=accuracy.of("protocol")[0]).rows
    each = ", ".join(f"{row['model']} {percent(row)} %" for row in rows)
    photos = counted(rows[0]["images"], "photo")
    return f"{rows[0]['set']} ({rows[0]['protocol']}, {photos}): {each}."


def _of_pair(row: Row) -> Row:
    """Counts of photos with their pair and McNemar's p as words, to identify a line."""
    pair = f"{row['model']} {row['contrast']}"
    return {**row, "of": pair, "p": f"{row['p']:.3g}", "contrast": ""}


def _cells(told: Callable[..., list[Table]], results: Results) -> Iterator[Section]:
    """A part of the page for each factor of a set."""
    for number, name in enumerate(results.of("set"), 1):
        for factor in results.where(set=name).of("factor"):
            mine, told_of = results.where(set=name, factor=factor), {"factor": factor, "set": name}
            accuracy = mine.where(measure="accuracy", contrast="")
            picture = f"cells_{number}_{factor}"
            yield Section(
                f"{name} by {factor}",
                pictures=[WORDS.drawn(picture, accuracy, words="cells", **told_of)],
                tables=told(mine, "cells", "worst", "cell_difference"),
            )


def _lines(accuracy: Results, sets: Sequence[Set]) -> Iterator[words.Picture]:
    """Networks beside the line that others lie on, where both of its sets were run."""
    known = places(sets)
    rows = {key: accuracy.where(set=a, protocol=b) for key, (a, b) in known.items()}
    for key, fit in protocols.FITS.items():
        if rows.get(key) and rows.get(fit.base):
            told: dict[str, Any] = {"set": known[key][0], "base": known[fit.base][0], "r2": fit.r2}
            titles = (WORDS.text("on", set=told[name]) for name in ("base", "set"))
            look = {"by": "model", "named": "other networks", "titles": tuple(titles)}
            draw = functools.partial(figures.against, rows[key], rows[fit.base], **look)
            draw = functools.partial(draw, line=fit.expected)
            yield WORDS.picture(f"line_{key}", draw, words="line", **told)


def _galleries(wrong: Mapping[str, Mistaken]) -> Iterator[words.Picture]:
    for number, (name, some) in enumerate(wrong.items(), 1):
        if some:
            draw = functools.partial(contact, some, ("class", "example"))
            yield WORDS.picture(f"wrong_{number}", draw, words="wrong", set=name)
