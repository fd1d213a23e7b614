"""Any experiment's report: sections of text, tables and pictures, in files and on one page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rival_jax.report import explorer, html, tables, words
from rival_jax.report.parts import Document as Document
from rival_jax.report.parts import Picture as Picture
from rival_jax.report.parts import Section as Section
from rival_jax.report.printed import show_tables
from rival_jax.report.run_files import read_argv, read_json
from rival_jax.report.style import attempt
from rival_jax.report.tables import Table
from rival_jax.runtime import buckets
from rival_jax.runtime.results import Run, atomic


def write_document(run: Run, console: Console, document: Document) -> None:
    """Writes figures/, tables in three formats and report.html, and prints the tables.

    Args:
      run: holds data.json (`Subject.facts`) and models.json (`Loaded.facts` of each model).
      console: gets the tables and the report's path.
      document: what to show; tables without rows and empty sections are left out. Tables come
        first; a picture that cannot be drawn is replaced by a notice.
    """
    sections = [s._replace(tables=[t for t in s.tables if t.rows]) for s in document.sections]
    sections = [s for s in sections if s.text or s.pictures or s.tables]
    everything = [table for section in sections for table in section.tables]
    show_tables(everything, console)
    files = _files(everything)
    for old in sorted((run.path / "tables").glob("*.csv")):
        if old.relative_to(run.path).as_posix() not in files:
            buckets.remove(old)  # from an earlier report, with other numbers
    for name, text in files.items():
        with atomic(run.path / name) as partial:
            partial.write_text(text, encoding="utf-8")
    data = read_json(run.path / "data.json")
    counts = dict(zip(data["classes"], data["counts"], strict=True))
    parts = [
        {"id": f"part{i}", **_part(run, console, section)} for i, section in enumerate(sections, 1)
    ]
    named = ("data", "models", "protocol", "limits", "reproduce")
    folders = document.runs or [run.path]
    configs = [read_json(folder / "config.json") for folder in document.runs] or [run.config]
    clean = data.get("clean", {}) if document.clean is None else document.clean
    text = html.render(
        "document.html.jinja",
        title=document.title,
        subtitle=document.subtitle,
        sections=[*((p["id"], p["title"]) for p in parts), *((n, n.title()) for n in named)],
        headline=[*document.headline, *words.clean(clean)],
        explorer=explorer.FILE if (run.path / explorer.FILE).is_file() else "",
        parts=parts,
        data=html.data_facts(data, {name: count for name, count in counts.items() if count}),
        models=html.models_table(read_json(run.path / "models.json"), document.groups or {}),
        method=document.method,
        protocol=words.config_table(configs),
        run_names=[str(folder) for folder in folders],
        caveats=document.caveats,
        runs=[html.run_facts(_facts(folder)) for folder in folders],
        source=document.source,
    )
    with atomic(run.path / "report.html") as partial:
        partial.write_text(text, encoding="utf-8")
    console.print(f"report: {run.path / 'report.html'}")


def _facts(folder: Path) -> dict[str, Any]:
    """How a run was made."""
    environment = read_json(folder / "environment.json")
    return {"path": str(folder), "argv": read_argv(folder), "environment": environment}


def _files(shown: Sequence[Table]) -> dict[str, str]:
    """The tables as Markdown, as LaTeX, and each as a CSV file: name -> text."""
    found = {
        "tables.md": "\n".join(map(tables.as_markdown, shown)),
        "tables.tex": "\n".join(map(tables.as_latex, shown)),
    }
    for number, table in enumerate(shown, 1):
        word = re.sub(r"[^a-z0-9]+", "_", table.title.lower())[:60].strip("_")
        found[f"tables/{number:02}_{word}.csv"] = tables.as_csv(table.header, table.rows)
    return found


def shown_again(run: Run, console: Console) -> None:
    """Prints the tables of a finished run."""
    console.print((run.path / "tables.md").read_text(encoding="utf-8"), markup=False)
    console.print(f"nothing new to report: {run.path / 'report.html'}")


def _part(run: Run, console: Console, section: Section) -> dict:
    figures = [
        html.inlined(
            attempt(picture.draw, run.path / "figures" / picture.name, run, console),
            picture.caption,
            picture.alt,
            photos=picture.photos,
        )
        for picture in section.pictures
    ]
    return {
        "title": section.title,
        "text": section.text,
        "figures": figures,
        "tables": section.tables,
    }
