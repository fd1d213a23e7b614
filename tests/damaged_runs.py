"""Finished runs whose classes and models have names that do harm, and what a report makes of them.

Rows and JSON files are rewritten, so that no network has to run for it.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import unicodedata
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rival_jax.report import style
from rival_jax.runtime import row_files
from rival_jax.runtime.console import Terminal
from rival_jax.runtime.names import csv_cell
from rival_jax.runtime.results import Run

NAMES = ("$\\frac{$", "<b>x</b>", "=1+1", "a|b`", "[red]x[/red]", "\x1b[31m\x07", "..", "nul",
         "c\nd\te", "x" * 200, "\u202eevil", "\u05e9\u05dc\u05d5\u05dd \u72ac", "\U0001f993",
         "_", " ")  # fmt: skip


def saved(draw: style.Draw, target: Path) -> style.Files:
    """A figure drawn and written; whatever goes wrong is raised."""
    return style._write(style.drawn(draw), target)


def renamed(folder: Path, target: Path, names: Mapping[str, str]) -> Path:
    """A copy of a finished run in which some names are others."""
    shutil.copytree(
        folder, target, ignore=shutil.ignore_patterns(".lock", "figures", "report.html")
    )
    for path in target.glob("*.json"):
        path.write_text(json.dumps(_renamed(json.loads(path.read_text()), names)))
    for path in (target / "rows").rglob("*.parquet"):
        table = pq.read_table(path)
        for place, name in enumerate(table.column_names):
            column = table.column(place)
            if pa.types.is_dictionary(column.type):
                column = pc.cast(column, pa.string())
            if pa.types.is_string(column.type):
                words = pa.array([names.get(word, word) for word in column.to_pylist()])
                table = table.set_column(place, name, words)
        row_files.write([table], path, path.name)
    return target


def _renamed(value, names):
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


def reported(folder: Path, write: Callable[[Run, Terminal], object]) -> str:
    """Writes the report of a run and checks all that it is made of; returns what was printed."""
    run = Run(folder, json.loads((folder / "config.json").read_text()), extend=True)
    with (folder / "printed").open("w+", newline="") as file, warnings.catch_warnings():
        warnings.simplefilter("error")
        write(run, Terminal(file=file, soft_wrap=True))
        file.seek(0)
        printed = file.read()
    check(folder)
    shows(printed)
    return printed


def check(folder: Path) -> None:
    """Every file of a report is what it says it is, and says what it holds."""
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [event for event in events if event["event"] == "figure"] == [], "all are drawn"
    page = (folder / "report.html").read_text(encoding="utf-8")
    shows(page)
    assert not re.search(r"<b>|could not be drawn", page)
    assert page.count("<script") == 1  # the page's own
    regions = re.findall(
        r'<div class="wide" tabindex="0" role="region" aria-label="([^"]+)">', page
    )
    assert len(regions) == page.count("<table")  # each is reached by keys, under its name
    shows((folder / "tables.md").read_text(encoding="utf-8"))
    for table in (folder / "tables.md").read_text(encoding="utf-8").split("### ")[1:]:
        widths = {
            len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines() if "|" in line[:1]
        }
        assert len(widths) == 1, table
    assert list((folder / "figures").glob("*.svg"))
    for path in (folder / "figures").iterdir():
        assert path.parent == folder / "figures"
        if path.suffix == ".svg":
            ElementTree.parse(path)
        if path.suffix == ".csv":
            check_csv(path)


def check_csv(path: Path) -> None:
    """Cells that a spreadsheet would compute are numbers."""
    shows(path.read_text(encoding="utf-8"))
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert len({len(row) for row in rows}) == 1, path
    for cell in (cell for row in rows for cell in row):
        if cell != csv_cell(cell) and not cell.startswith("'"):
            float(cell)


def shows(text: str) -> None:
    """Nothing in a text acts on what shows it."""
    odd = {c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Cf")} - {"\n"}
    assert not odd, ascii(sorted(odd))
