"""Before and after: networks in pairs, every number beside its difference."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rival_jax.report import figures, verdicts
from rival_jax.report.results import Results, Row
from rival_jax.report.study import Means, Measure, Study
from rival_jax.report.tables import Table, as_latex
from rival_jax.runtime.workdir import write_text

NAME = "before_after"  # of figures, and the study that rows of differences name
FILE = f"{NAME}.tex"
Pair = tuple[str, str]
"""Names of two networks: before and after."""


def changes(study: Study, pairs: Iterable[Pair], *given: Any) -> Study:
    """The study of what changes: each of a study's numbers of networks, after minus before.

    Without numbers of single classes, and without those that are differences themselves.

    Args:
      given: further arguments of the study's `measures`.
    """

    def measures(means: Means) -> Iterator[Measure]:
        for part in study.measures(means, *given):
            fields = part.numbers.fields
            if "model" in fields and not (part.contrast or {"minus", "class"} & {*fields}):
                for pair in pairs:
                    change = part.numbers.where(model=pair).differences("model")
                    yield Measure(part.name, change)

    return dataclasses.replace(study, name=NAME, measures=measures)


class Line(NamedTuple):
    """A number before and after, and the difference of both."""

    named: str
    before: Row
    after: Row
    change: Row


def lines(
    results: Results, changed: Results, pair: Pair, named: Callable[[Row], str]
) -> list[Line]:
    """Every change of a pair.

    Args:
      results: of a study.
      changed: of `changes` of that study.
      named: what a number is called; "" leaves it out.
    """
    before, after = pair
    axes = [axis for axis in results.axes() if axis != "model"]
    found = []
    for row in changed.where(model=after, contrast=f"minus {before}"):
        if called := named(row):
            place = {axis: row.get(axis) for axis in ("measure", *axes)}
            first, second = (results.one(model=name, contrast="", **place) for name in pair)
            found.append(Line(called, first, second, row))
    return found


def table(
    title: str,
    pair: Pair,
    told: Sequence[Line],
    confidence: float,
    cell: Callable[[Row], str],
) -> Table:
    """A line for each number: before, after, and the paired difference with its test."""
    judged = verdicts.of_rows((line.change for line in told), confidence)
    rows = [
        (line.named, *map(cell, line[1:]), verdict.word, verdict.p)
        for line, verdict in zip(told, judged, strict=True)
    ]
    return Table(title, ("", *pair, "difference", "differs", "p"), rows)


def drawn(told: Sequence[Line], pair: Pair, label: str) -> figures.Drawn:
    """All numbers before and after, and the differences beside them."""
    rows = []
    for line in told:
        for panel, by, row in zip((0, 0, 1), (*pair, "difference"), line[1:], strict=True):
            rows.append({**row, "what": line.named, "panel": panel, "by": by})
    titles = {0: "before and after", 1: "after minus before"}
    look = {"panel": "panel", "by": "by", "titles": titles, "apart": True}
    return figures.dots(Results(rows), "what", label=label, **look)


def write(told: Sequence[Table], path: Path) -> None:
    """Writes tables as LaTeX, for the package booktabs; nothing if there are none."""
    if told:
        write_text(path, "\n".join(map(as_latex, told)))
