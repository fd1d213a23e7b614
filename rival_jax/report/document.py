"""Any experiment's report: sections of text, tables and pictures, in files and on one page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from rival_jax.report import explorer, html, tables
from rival_jax.report.explorer import Explorer
from rival_jax.report.figures import Drawn
from rival_jax.report.printed import show_tables
from rival_jax.report.results import Row
from rival_jax.report.style import attempt, noted
from rival_jax.report.tables import Table
from rival_jax.runtime import buckets
from rival_jax.runtime.progress import Meter
from rival_jax.runtime.results import Run, parsed
from rival_jax.runtime.workdir import write_text


class Picture(NamedTuple):
    """A figure: `figures/<name>.png`, `.svg`, and the `.csv` of its numbers."""

    name: str
    draw: Callable[[], Drawn]
    caption: str
    alt: str  # for readers who cannot see it: what it shows, not how it looks
    photos: bool = False  # made of photos: JPEG on the page, else SVG


class Section(NamedTuple):
    """A part of the page between two headings."""

    title: str
    text: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()


class Document(NamedTuple):
    """Everything an experiment reports; data, models and config are added automatically."""

    title: str
    subtitle: str
    headline: Sequence[str]  # the result in sentences, first thing on the page
    sections: Sequence[Section]
    method: Sequence[str]  # how it was measured, in sentences
    caveats: Sequence[tuple[str, str]]  # what it does not establish, and why
    source: str  # "The measurement is due to ..."
    runs: Sequence[Path] = ()  # finished runs that it joins; default: the run itself
    groups: Mapping[str, Sequence[str]] | None = None  # of models
    clean: Mapping[str, Row] | None = None  # networks' accuracy on photos, if not from data.json
    explorer: Explorer | None = None  # a page of all images beside this one


def write_document(
    run: Run, console: Console, document: Document, masks: tuple[str, str] = ("", "")
) -> None:
    """Writes figures/, tables in three formats and report.html, and prints the tables.

    Args:
      run: holds data.json (`Subject.facts`) and models.json (`Loaded.facts` of each model).
      console: gets the tables and the report's path.
      document: what to show; tables without rows and empty sections are left out. Tables come
        first; a picture that cannot be drawn is replaced by a notice.
      masks: where they can be looked at: a page, relative to this one, or a command.
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
        write_text(run.path / name, text)
    shown = _drawn([one for section in sections for one in section.pictures], run, console)
    parts = []
    for number, section in enumerate(sections, 1):
        figures = [shown[picture.name] for picture in section.pictures]
        parts.append({**section._asdict(), "id": f"part{number}", "figures": figures})
    data = parsed(run.path / "data.json")
    named = ("data", "models", "protocol", "limits", "reproduce")
    folders = document.runs or [run.path]
    configs = [parsed(folder / "config.json") for folder in document.runs] or [run.config]
    clean = data.get("clean", {}) if document.clean is None else document.clean
    text = html.render(
        "document.html.jinja",
        title=document.title,
        subtitle=document.subtitle,
        sections=[*((p["id"], p["title"]) for p in parts), *((n, n.title()) for n in named)],
        headline=[*document.headline, *html.clean(clean)],
        explorer=_explorer(run, console, document.explorer),
        parts=parts,
        data=html.data_facts(data),
        models=html.models_table(parsed(run.path / "models.json"), document.groups or {}),
        method=document.method,
        protocol=html.config_table(configs),
        caveats=document.caveats,
        runs=[html.run_facts(folder) for folder in folders],
        source=document.source,
        masks=masks,
    )
    write_text(run.path / "report.html", text)
    page, command = masks
    if page or command:
        said = f"to look at the masks: {run.path / page if page else command}"
        console.print(said, markup=False, soft_wrap=True)
    console.print(f"report: {run.path / 'report.html'}")


def _drawn(pictures: Sequence[Picture], run: Run, console: Console) -> dict[str, Mapping[str, str]]:
    """The figures as the page has them, by name."""
    found = {}
    with Meter(len(pictures), "figures", console) as meter:
        for one in pictures:
            meter.say(f"drawing {one.name}")
            files = attempt(one.draw, run.path / "figures" / one.name, run, console)
            found[one.name] = html.inlined(files, one.caption, one.alt, photos=one.photos)
            meter.advance(1)
    return found


def _explorer(run: Run, console: Console, wanted: Explorer | None) -> str:
    """The file of the page of all images, "" if there is none."""
    if wanted is None:
        return ""
    try:
        explorer.write_explorer(run.path / explorer.FILE, wanted)
    except Exception as error:  # any kind, as for figures
        buckets.remove(run.path / explorer.FILE)
        noted("explorer", error, run, console)
        return ""
    return explorer.FILE


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
