"""The page of perturbation: curves, the areas under them, what cures change, photos."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from rival_jax.configs.perturbation import Config
from rival_jax.report import figures, tables
from rival_jax.report.document import Document, Section
from rival_jax.report.grids import contact
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, counted, percent
from rival_jax.report.verdicts import HOLM, METHOD
from rival_jax.report.words import Picture, Words

WORDS = Words(__package__)
AREAS = ("accuracy_area", "explained_probability_area")


def page(config: Config, results: Results, shown: Callable[[], Any]) -> Document:
    """All results, and some photos with what is taken away (`shown`, see `contact`)."""
    c, results = config.perturbation, results.changed(_named)
    level, pairs = results.where(contrast=""), Results(row for row in results if row["contrast"])
    fills = {row["fill"]: None for row in level.where(measure=AREAS)}
    words = {"area": WORDS.text(c.area), "target": WORDS.text(config.saliency.target)}
    words |= {"steps": str(c.steps), "sigma": f"{100 * c.blur:.3g}"}
    words["fills"] = "; ".join(WORDS.text(f"by_{fill}", **words) for fill in fills)
    curves = [level.where(measure=name) for name in ("explained_probability", "inside")]
    curves = [level.where(measure="accuracy", fill=c.fills[0]), *curves]
    photos = lambda: contact(shown(), ("class", "example"))  # noqa: E731
    table = lambda name: tables.pivot(  # noqa: E731
        WORDS.text(name), level.where(measure=name), ("by",), "curve", percent
    )
    told = {by: level.where(by=by, measure=AREAS) for by in level.of("by")}
    told = {by: ", ".join(f"{r['curve']} {percent(r)}" for r in rows) for by, rows in told.items()}
    return Document(
        title=WORDS.text("title"),
        subtitle=f"{counted(len(level.of('model')), 'network')}, "
        f"{', '.join(level.of('method'))}; {counted(level.rows[0]['images'], 'photo')}",
        headline=[f"{by}: areas {areas}, in percent." for by, areas in told.items()][:8],
        sections=[
            Section("Curves", pictures=[*filter(None, map(_curves, curves))]),
            Section("Areas", tables=[table(name) for name in AREAS if name in level.of("measure")]),
            Section("Differences", tables=[*_differences(config, pairs)]),
            Section("Photos", pictures=[WORDS.picture("photos", photos, photos=True)]),
        ],
        method=[*WORDS.texts("method", **words), METHOD.format(HOLM)],
        caveats=WORDS.caveats(),
        source=WORDS.text("source"),
    )


def _named(row: Row) -> Row:
    """With "by": the network, and whose maps order its pixels; "curve": what is done to them."""
    model, maps, method = (row.get(name) for name in ("model", "map", "method"))
    of = f"{method} of {maps}" if maps not in (None, "own") else method
    by = f"{model} {'random order' if maps == 'random' else of}" if model else f"({method})"
    return {**row, "by": by, "curve": f"{row['test']}, {row['fill']}"}


def _curves(rows: Results) -> Picture | None:
    """A panel for each test."""
    rows = Results(row for row in rows if row["test"] != "none")
    if not rows.rows:
        return None
    name, look = rows.rows[0]["measure"], {"titles": {"share": "share of pixels"}, "percent": True}
    draw = functools.partial(figures.curves, rows, "share", by="by", panel="test", at_end=True)
    return WORDS.picture(name, functools.partial(draw, label=WORDS.text(name), **look))


def _differences(config: Config, pairs: Results) -> Iterator[Table]:
    """Of areas: against a random order, between networks, and of one network by two maps."""
    for name in (*AREAS, "inside"):
        rows, keys = pairs.where(measure=name), ("by", "curve", "share")
        told = WORDS.text(f"{name}_differences"), rows, keys[: 2 + (name == "inside")], percent
        if rows.rows:
            yield tables.differences(*told, config.statistics.confidence, quantity="points")
