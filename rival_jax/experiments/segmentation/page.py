"""The page of segmentation: table 3, its differences, precision and recall, photos."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from rival_jax.configs.segmentation import Config
from rival_jax.report import figures, tables
from rival_jax.report.document import Document, Section
from rival_jax.report.grids import contact
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, counted, percent
from rival_jax.report.verdicts import HOLM, METHOD
from rival_jax.report.words import Words

WORDS = Words(__package__)
TITLES = WORDS.titles("measures")


def page(config: Config, results: Results, shown: Callable[[], Any]) -> Document:
    """All results, and some photos with what networks mark in them (`shown`, see `contact`)."""
    c, results = config.segmentation, results.changed(_named)
    level, metrics = results.where(contrast=""), results.where(measure=list(c.metrics))
    told, pairs = metrics.where(contrast=""), Results(row for row in metrics if row["contrast"])
    first = told.where(rule=(None, c.rules[0]))
    words = {"flat": WORDS.text(c.flat)}
    words |= {"mask": WORDS.text(config.data.mask), "target": WORDS.text(config.saliency.target)}
    words |= {"rules": "; ".join(map(WORDS.text, c.rules)), "levels": str(c.levels)}
    flat = [
        WORDS.text("some_flat", **row) for row in level.where(measure="flat") if row["estimate"]
    ]
    dots = functools.partial(figures.dots, first, "network", panel="measure", label="percent")
    dots = functools.partial(dots, percent=True, titles=TITLES)
    photos = lambda: contact(shown(), ("class", "example"))  # noqa: E731
    cut = _table("cut", Results(row for row in told if row.get("rule")), ("network", "rule"))
    sections = [
        Section(
            "What maps find of the object",
            flat,
            [WORDS.picture("metrics", dots)],
            [*cut, *_table("whole", told.where(rule=None), ("network",))],
        ),
        Section("Differences", tables=_differences(config, pairs)),
        Section(
            "Precision and recall",
            pictures=[WORDS.picture("curve", functools.partial(_curve, level))],
        ),
        Section("Photos", pictures=[WORDS.picture("photos", photos, photos=True)]),
    ]
    return Document(
        title=WORDS.text("title"),
        subtitle=f"{counted(len(level.of('model')), 'network')}, "
        f"{', '.join(level.of('method'))}; {counted(level.rows[0]['images'], 'photo')}",
        headline=[_sentence(first.where(network=name)) for name in first.of("network")][:8],
        sections=sections,
        method=[*WORDS.texts("method", **words), METHOD.format(HOLM)],
        caveats=WORDS.caveats(),
        source=WORDS.text("source"),
    )


def _named(row: Row) -> Row:
    return {**row, "network": f"{row['model']} {row['method']}"}


def _sentence(mine: Results) -> str:
    """One network's numbers."""
    numbers = ", ".join(f"{TITLES[row['measure']]} {percent(row)}" for row in mine)
    return f"{mine.rows[0]['network']}: {numbers}, in percent."


def _table(title: str, results: Results, rows: Sequence[str]) -> list[Table]:
    told = WORDS.text(title), results, rows, "measure", percent
    return [tables.pivot(*told, titles=TITLES)] if results.rows else []


def _differences(config: Config, pairs: Results) -> list[Table]:
    """Every metric's, for each pair of networks."""
    rows, confidence = ("network", "measure", "rule"), config.statistics.confidence
    told = WORDS.text("differences"), pairs, rows, percent, confidence
    titles = {**TITLES, None: ""}  # of metrics without a rule
    return [tables.differences(*told, quantity="points", titles=titles)] if pairs.rows else []


def _curve(level: Results) -> figures.Drawn:
    """Precision over recall, as maps are cut lower and lower."""
    recall = {(row["network"], row["level"]): row for row in level.where(measure="recall")}
    rows = level.where(measure="precision").changed(
        lambda row: {**row, "recall": recall[row["network"], row["level"]]["estimate"]}
    )
    look = {"percent": True, "label": "precision, %", "at_end": True}
    return figures.curves(rows, "recall", by="network", **look)
