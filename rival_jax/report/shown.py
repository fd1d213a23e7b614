"""Finished runs' tables read again, and their numbers set beside each other."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rival_jax.report.results import NUMBERS, Results
from rival_jax.report.tables import Table
from rival_jax.runtime.names import of_csv_cell


def read_tables(folder: Path) -> list[Table]:
    """The tables of a finished run, as its page has them.

    Raises:
      FileNotFoundError: for a folder without any.
    """
    if not (folder / "tables.md").is_file():
        raise FileNotFoundError(f"{folder / 'tables.md'} is missing; name a finished run's folder")
    text = (folder / "tables.md").read_text(encoding="utf-8")
    titles = [html.unescape(line[4:]) for line in text.splitlines() if line.startswith("### ")]
    found = []
    for title, path in zip(titles, sorted((folder / "tables").glob("*.csv")), strict=True):
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = [tuple(of_csv_cell(cell) for cell in row) for row in csv.reader(file)]
        found.append(Table(re.sub(r"\\(.)", r"\1", title), header, rows))
    return found


def side_by_side(found: dict[str, Results]) -> Iterator[Table]:
    """A table for each measure: the runs' estimates with intervals, and their differences.

    Args:
      found: results by run; a run with one network has it in the column's title, not the lines'.
    """
    single = all(len(results.of("model")) == 1 for results in found.values())
    cells: dict[tuple[str, str], dict[tuple[tuple[str, str], ...], dict[str, Any]]] = {}
    for run, results in found.items():
        for row in results:
            left_out = {"study", "measure", *NUMBERS, *(("model",) if single else ())}
            key = tuple((k, str(v)) for k, v in row.items() if k not in left_out and v)
            table = cells.setdefault((row["study"], row["measure"]), {})
            table.setdefault(key, {})[run] = row
    titles = [
        f"{run} ({results.of('model')[0]})" if single else run for run, results in found.items()
    ]
    for (study, measure), lines in cells.items():
        rows = [_beside(key, by_run, list(found)) for key, by_run in lines.items()]
        header = ("", *titles, *(("difference",) if len(found) == 2 else ()))
        yield Table(f"{study}: {measure}", header, rows)


def _beside(
    key: tuple[tuple[str, str], ...], rows: dict[str, Any], runs: Sequence[str]
) -> tuple[str, ...]:
    there = [rows.get(run) for run in runs]
    cells = ["" if row is None else _number(row) for row in there]
    if len(runs) == 2:
        a, b = there
        cells.append(f"{b['estimate'] - a['estimate']:+.4f}" if a and b else "")
    return (" ".join(value for _, value in key), *cells)


def _number(row: Any) -> str:
    ends = "" if row["low"] != row["low"] else f" [{row['low']:.4f}, {row['high']:.4f}]"
    return f"{row['estimate']:.4f}{ends}"
