"""The page of perturbation: curves, the areas under them, what cures change, photos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rival_jax.configs.perturbation import Config
from rival_jax.report.document import Document
from rival_jax.report.grids import contact
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import counted, percent
from rival_jax.report.words import Pictures, Words

WORDS = Words(__package__)
AREAS = ("accuracy_area", "explained_probability_area")


def page(config: Config, results: Results, shown: Callable[[], Any]) -> Document:
    """All results, and some photos with what is taken away (`shown`, see `contact`)."""
    c, results = config.perturbation, results.changed(_named)
    level = results.where(contrast="")
    areas = level.where(measure=AREAS)
    told = {"area": WORDS.text(c.area), "target": WORDS.text(config.saliency.target)}
    told |= {"steps": str(c.steps), "sigma": f"{100 * c.blur:.3g}", "fill": c.fills[0]}
    told["fills"] = "; ".join(WORDS.text(f"by_{fill}", **told) for fill in areas.of("fill"))
    every = {by: areas.where(by=by) for by in level.of("by")}
    said = {by: ", ".join(f"{r['curve']} {percent(r)}" for r in rows) for by, rows in every.items()}
    pictures: Pictures = {"photos": lambda: contact(shown(), ("class", "example"))}
    given = {"pictures": pictures, "confidence": config.statistics.confidence}
    return WORDS.document(
        told,
        subtitle=f"{counted(len(level.of('model')), 'network')}, "
        f"{', '.join(level.of('method'))}; {counted(level.rows[0]['images'], 'photo')}",
        headline=[f"{by}: areas {some}, in percent." for by, some in said.items()][:8],
        sections=WORDS.sections(results, told, **given),
    )


def _named(row: Row) -> Row:
    """With "by": the network, and whose maps order its pixels; "curve": what is done to them."""
    model, maps, method = (row.get(name) for name in ("model", "map", "method"))
    of = f"{method} of {maps}" if maps not in (None, "own") else method
    by = f"{model} {'random order' if maps == 'random' else of}" if model else f"({method})"
    return {**row, "by": by, "curve": f"{row['test']}, {row['fill']}"}
