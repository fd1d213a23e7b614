"""The page of sufficient input subsets: how many, how large, and how much of the object."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rival_jax.configs.sis import Config
from rival_jax.report import figures, tables
from rival_jax.report.document import Document, Section
from rival_jax.report.grids import contact
from rival_jax.report.results import Results
from rival_jax.report.tables import Table, counted, percent
from rival_jax.report.words import Words

Shown = Callable[[], Sequence[tuple[str, str, Mapping[str, np.ndarray]]]]
"""Gives images to look at: (class, example, {whose subset: uint8 [h, w, 3]})."""

WORDS = Words(__package__)
TOLD = ("reached", "size", "inside")


def page(config: Config, results: Results, shown: Shown) -> Document:
    """All results, and the subsets of some photos."""
    named = results.changed(lambda row: {**row, "how": f"{row['method']}, {row['target']}"})
    level = named.where(contrast="")
    inside, area = (level.where(measure=name) for name in ("inside", "area"))
    look = {"panel": "model", "percent": True, "label": "on the object, %", "lines": area}
    pictures = (
        WORDS.picture("inside", lambda: figures.dots(inside, "how", **look)),
        WORDS.picture("photos", lambda: contact(shown(), ("class", "example"))),
    )
    shares = [(WORDS.text(name), level.where(measure=name)) for name in TOLD]
    enough = [tables.pivot(*share, ("model",), "how", percent) for share in shares]
    by_method = [f"minus {method}" for method in config.sis.methods]
    differ = Results(r for r in named if r["contrast"] not in ("", *by_method))
    control = Results(r for r in named.where(method="random") if r["contrast"] in by_method)
    compared = [*_told(config, "networks", differ), *_told(config, "control", control)]
    return Document(
        title=WORDS.text("title"),
        subtitle=f"{counted(len(level.of('model')), 'network')}, "
        f"{counted(area.rows[0]['images'], 'photo')}",
        headline=headline(level),
        sections=[
            Section("What is enough", pictures=pictures[:1], tables=enough),
            Section("Comparisons", tables=compared),
            Section("What the networks are content with", pictures=pictures[1:]),
        ],
        method=[_method(config, percent(area.rows[0])), WORDS.text("tested")],
        caveats=WORDS.caveats(),
        source=WORDS.text("source"),
    )


def headline(level: Results) -> list[str]:
    """One sentence for each network, by the first method and class."""
    found = []
    for model in level.of("model"):
        mine = level.where(model=model, how=level.of("how")[0])
        told = dict.fromkeys(TOLD, "none") | {r["measure"]: f"{percent(r)} %" for r in mine}
        found.append(WORDS.text("headline", model=model, how=mine.rows[0]["how"], **told))
    return found


def _told(config: Config, title: str, results: Results) -> list[Table]:
    """Differences of what is told, with their tests."""
    some, rows = results.where(measure=TOLD), ("model", "how", "measure")
    told = WORDS.text(title), some, rows, percent, config.statistics.confidence
    return [tables.differences(*told, quantity="difference, points")] if some.rows else []


def _method(config: Config, area: str) -> str:
    c = config.sis
    how = "; ".join(WORDS.text(method, pixels=c.pixels) for method in c.methods)
    told = {"threshold": c.threshold, "targets": ", ".join(c.targets), "how": how, "area": area}
    return WORDS.text("method", **told)
