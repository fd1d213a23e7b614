"""Tables and figures that a words.toml declares: a filter over results, and how they are shown."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from rival_jax import significance
from rival_jax.report import figures, tables
from rival_jax.report.figures import Drawn
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table

Look = Mapping[str, Any]
Cells = Mapping[str, Callable[[Row], str]]
CELLS: Cells = {"percent": tables.percent, "ratio": tables.ratio}
ADJUST = {"holm": significance.holm, "rate": significance.benjamini_hochberg}


def table(look: Look, results: Results, title: str, confidence: float, cells: Cells) -> list[Table]:
    """The table, or none if no result belongs in it.

    Args:
      look: `lines`, the columns of results that identify a line, and optionally `where`, the values
        that results must have; `cell`, how a number is written: "percent", "ratio" or one of
        `cells`; `column`, whose values become columns, "model" if not given; `columns` and
        `titles`, see `tables.pivot`; `grouped`, whether lines alike in the first of `lines` are put
        together. With `tested`, the heading of the numbers, it is a table of differences; then
        `adjust` is "holm" or "rate", and with `most` it has only lines that differ from 0, at most
        so many.
      results: differences have a contrast, all other numbers have none.
    """
    lines, tested = look["lines"], look.get("tested")
    rows = results.where(**look.get("where", {}))
    rows = Results(row for row in rows if bool(row["contrast"]) == bool(tested))
    cell = {**CELLS, **cells}[look.get("cell", "percent")]
    if not rows.rows:
        return []
    if not tested:
        options = {name: look[name] for name in ("columns", "titles") if name in look}
        options |= {"order": rows.of(lines[0])} if look.get("grouped") else {}
        return [tables.pivot(title, rows, lines, look.get("column", "model"), cell, **options)]
    options = {"quantity": tested, "adjust": ADJUST[look.get("adjust", "holm")]}
    found = tables.differences(title, rows, lines, cell, confidence, **options)
    if "most" in look:
        found = found._replace(rows=[row for row in found.rows if row[-2] == "yes"][: look["most"]])
    return [found]


def figure(look: Look, results: Results) -> Callable[[], Drawn]:
    """A function that draws results.

    Args:
      look: `kind`, a function of `figures`, and its keywords; `lines` says which of the results.
    """
    options = {name: value for name, value in look.items() if name != "kind"}
    if "lines" in options:
        options["lines"] = results.where(**options["lines"])
    return functools.partial(getattr(figures, look["kind"]), results, **options)
