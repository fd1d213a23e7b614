"""Tables and figures that a words.toml declares: a filter over results, and how they are shown."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from rival_jax import significance
from rival_jax.report import figures, grids, tables, verdicts
from rival_jax.report.figures import Drawn
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table

Look = Mapping[str, Any]
Cells = Mapping[str, Callable[[Row], str]]
CELLS: Cells = {
    "percent": tables.percent,
    "ratio": tables.ratio,
    "plain": tables.plain,
    "count": lambda row: f"{row['estimate']:.0f}",
    "whole": lambda row: f"{100 * row['estimate']:.0f}",  # in percent
    "bare": lambda row: f"{row['estimate']:.3f}",
    "fine": lambda row: f"{row['estimate']:.4f}",
}
ADJUST = {"holm": significance.holm, "rate": significance.benjamini_hochberg}


def chosen(results: Results, where: Look) -> Results:
    """The rows with some values; "" stands for no value in a column, "*" for any value."""

    def meant(value: Any) -> Any:
        several = value if isinstance(value, (tuple, list)) else [value]
        return bool if value == "*" else [*several, None] if "" in several else several

    return results.where(**{column: meant(value) for column, value in where.items()})


def table(look: Look, results: Results, title: str, confidence: float, cells: Cells) -> list[Table]:
    """The table, or none if no result belongs in it.

    Args:
      look: `lines`, the columns of results that identify a line, and optionally
        `where`: the values that results must have, see `chosen`.
        `cell`: how a number is written, one of `CELLS` or `cells`; `cells`: how those of some
        measures are.
        `column`: whose values become columns, "model" if not given; `columns`: those shown.
        `titles`: see `tables.pivot`.
        `grouped`: whether lines alike in the first of `lines` are put together.
        `ranked`: what the results that order the lines have in place of some of `where`, the
        largest first.
        `starred`: whether numbers that differ from 0 get a star.
        `tested`: the heading of the numbers of a table of differences; then `adjust` is "holm" or
        "rate", and with `most` it has only lines that differ from 0, at most so many.
      results: differences have a contrast, all other numbers have none. Where a row has a "cell",
        that is what is written.
    """
    lines, tested, where = look["lines"], look.get("tested"), look.get("where", {})
    where = {"contrast": "*" if tested else "", **where}
    column = look.get("column", "model")
    shown = {column: look["columns"]} if "columns" in look else {}
    rows = chosen(results, where).where(**shown)
    named, usual, special = {**CELLS, **cells}, look.get("cell", "percent"), look.get("cells", {})

    def number(row: Row) -> str:
        return named[special.get(row["measure"], usual)](row)

    def cell(row: Row) -> str:
        return row["cell"] if "cell" in row else number(row)

    if not rows.rows:
        return []
    if not tested:
        options = {name: look[name] for name in ("columns", "titles") if name in look}
        if "ranked" in look or look.get("grouped"):
            first = chosen(results, {**where, **look["ranked"]}) if "ranked" in look else rows
            order = [*first.ranked(lines[0])] if "ranked" in look else []
            options["order"] = list(dict.fromkeys([*order, *rows.of(lines[0])]))
        if look.get("starred"):
            told = Results(row for row in rows if "cell" in row)
            numbers = Results(row for row in rows if "cell" not in row)
            rows = told + verdicts.starred(numbers, confidence, number)
        return [tables.pivot(title, rows, lines, column, cell, **options)]
    options = {"quantity": tested, "adjust": ADJUST[look.get("adjust", "holm")]}
    options |= {"titles": look["titles"]} if "titles" in look else {}
    found = tables.differences(title, rows, lines, cell, confidence, **options)
    if "most" in look:
        found = found._replace(rows=[row for row in found.rows if row[-2] == "yes"][: look["most"]])
    return [found]


def figure(look: Look, results: Results) -> Callable[[], Drawn]:
    """A function that draws results.

    Args:
      look: `kind`, a function of `figures` or `grids`, and its keywords; `where`, `lines` and
        `marks` are the values of the results that are drawn as such; `ranked`: as for `table`, the
        results that order the rows `y`.
    """
    options = {name: value for name, value in look.items() if name not in ("kind", "where")}
    where = look.get("where", {})
    rows = chosen(results, where)
    if "ranked" in options:
        options["names"] = chosen(results, {**where, **options.pop("ranked")}).ranked(look["y"])
    for name in ("lines", "marks"):
        if name in options:
            options[name] = chosen(results, options[name])
    kind = getattr(figures, look["kind"], None) or getattr(grids, look["kind"])
    return functools.partial(kind, rows, **options)
