"""Before and after: the models of two runs in pairs, every number beside its difference."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rival_jax.experiments.rfs.measures import SIDES, WORDS, Found
from rival_jax.report import figures, verdicts
from rival_jax.report.document import Section
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, as_latex, percent, ratio
from rival_jax.runtime.workdir import atomic

NAME = "before_after"  # of figures
FILE = f"{NAME}.tex"
MEASURES = WORDS.titles("measures")


def sections(found: Found, fields: Mapping[str, Any]) -> list[Section]:
    """The part of the page; none unless two runs have models in common, or one each."""
    if not found.runs.pairs:
        return []
    pictures = []
    for number, (before, after) in enumerate(found.runs.pairs, 1):
        name = NAME if len(found.runs.pairs) == 1 else f"{NAME}_{number}"
        draw = functools.partial(_drawn, found, before, after)
        told = {**fields, "before": before, "after": after}
        pictures.append(WORDS.picture(name, draw, words=NAME, **told))
    tables = {NAME: [table(found, *pair) for pair in found.runs.pairs]}
    return WORDS.sections(found.paired, fields, NAME, pictures={NAME: pictures}, tables=tables)


def write(found: Found, path: Path) -> None:
    """Writes the tables as LaTeX, for the package booktabs; nothing without pairs."""
    if found.runs.pairs:
        text = "\n".join(as_latex(table(found, *pair)) for pair in found.runs.pairs)
        with atomic(path) as partial:
            partial.write_text(text, encoding="utf-8")


def table(found: Found, before: str, after: str) -> Table:
    """A line for each measure: before, after, and the paired difference with its test."""
    lines = [*_lines(found, before, after)]
    judged = verdicts.of_rows((line[-1] for _, line in lines), found.options["confidence"])
    rows = []
    for (named, line), verdict in zip(lines, judged, strict=True):
        cell = percent if line[-1]["measure"] == "accuracy" else ratio
        rows.append((named, *map(cell, line), verdict.word, verdict.p))
    header = ("", before, after, "difference", "differs", "p")
    return Table(WORDS.text(NAME, before=before, after=after), header, rows)


def _lines(found: Found, before: str, after: str) -> Iterator[tuple[str, tuple[Row, ...]]]:
    """What is measured, in words, and its results: before, after, their difference."""
    for row in found.paired.where(model=after, contrast=f"minus {before}"):
        region, measure = row.get("region"), row["measure"]
        if region in (None, "clean", *SIDES):
            named, place = MEASURES[region or measure], {"norm": row.get("norm"), "region": region}
            norm = f", {row['norm']}" if row.get("norm") else ""
            both = (found.rows(measure, **place, model=m).one() for m in (before, after))
            yield named + norm, (*both, row)


def _drawn(found: Found, before: str, after: str) -> figures.Drawn:
    """All measures before and after, and the differences beside them."""
    rows = []
    for named, line in _lines(found, before, after):
        for panel, by, row in zip((0, 0, 1), (before, after, "difference"), line, strict=True):
            rows.append({**row, "what": named, "panel": panel, "by": by})
    titles = {0: "before and after", 1: "after minus before"}
    look = {"panel": "panel", "by": "by", "titles": titles, "apart": True}
    return figures.dots(Results(rows), "what", label=WORDS.text("shares"), **look)
