"""The page of cures under one budget: the front, the best within the bound, all points."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from rival_jax import fronts
from rival_jax.configs.pareto import Config
from rival_jax.experiments.finetune.measures import GAIN
from rival_jax.experiments.finetune.page import WHOLE
from rival_jax.experiments.finetune.variants import ORIGINAL
from rival_jax.report import figures, tables
from rival_jax.report.document import Document, Section
from rival_jax.report.results import Results
from rival_jax.report.tables import Table, percent
from rival_jax.report.words import Words

WORDS = Words(__package__)
TERMS = WORDS.titles("terms")


def page(
    config: Config,
    document: Document,
    results: Results,
    cures: Mapping[str, Sequence[str]],
    taken: Mapping[str, Sequence[tuple[str, float]]],
) -> Document:
    """The page of a finetuning with the front before all else.

    Args:
      document: of the finetuning.
      cures: the settings of each.
      taken: of each, the setting and share that either half of the images chose.
    """
    bound, confidence = config.front.bound, config.statistics.confidence
    every = points(results, {name: cure for cure, names in cures.items() for name in names})
    first, last = results.of("test")[0], results.of("test")[-1]
    told: dict[str, Any] = {"first": first, "last": last, "bound": 100 * bound}
    told["alphas"] = ", ".join(f"{alpha:g}" for alpha in (*config.evaluate.alphas, 1))
    best = results.where(study="pareto", measure=("lost", "gained"))
    level, gained = best.where(contrast=""), best.where(measure="gained")
    titles = {"lost": f"lost on {first}", "gained": f"gained on {last}"}
    look: dict[str, Any] = {"label": f"{titles['gained']}, points", "percent": True}
    look["titles"] = {"lost": f"{titles['lost']}, points"}
    drawn = functools.partial(figures.curves, every, "lost", by="cure", **look)
    compared = WORDS.tables(gained, "differences", confidence=confidence)
    rule = _rule(results.where(study="pareto", measure=tuple(TERMS)), bound)
    shown = [_within(level, taken, titles), *compared, _points(every, titles), rule]
    pictures = [WORDS.picture("front", drawn, **told)]
    return document._replace(
        title=WORDS.text("title"),
        subtitle=f"{document.subtitle}; {WORDS.text('subtitle', **told)}",
        headline=[_sentence(level.where(cure=name), told) for name in cures],
        sections=[Section(WORDS.text("section"), (), pictures, shown), *document.sections],
        method=[*WORDS.texts("method", **told), *document.method],
        caveats=[*WORDS.caveats(), *document.caveats],
        source=f"{document.source} {WORDS.text('source')}",
    )


def points(results: Results, cures: Mapping[str, str]) -> Results:
    """What every setting gains on the last test set, with "lost" on the first, and "front".

    Args:
      cures: the cure of each setting.
    """
    pairs = results.where(**WHOLE, study="finetune", measure="accuracy", contrast=GAIN)
    first, last = (pairs.where(test=pairs.of("test")[place]).rows for place in (0, -1))
    price, gain = (jnp.array([row["estimate"] for row in rows]) for rows in (first, last))
    front = fronts.on_front(-price, gain).tolist()
    rows = []
    for before, after, is_best in zip(first, last, front, strict=True):
        lost = {"estimate": -before["estimate"], "low": -before["high"], "high": -before["low"]}
        told = {"cure": cures[after["variant"]], "lost": 100 * lost["estimate"], "price": lost}
        rows.append({**after, **told, "front": "yes" if is_best else ""})
    return Results(rows)


def _sentence(level: Results, told: Mapping[str, Any]) -> str:
    lost, gained = (level.one(measure=name) for name in ("lost", "gained"))
    if not gained["estimate"]:
        return WORDS.text("none", **gained)
    shown = {"lost": percent(lost), "gained": percent(gained)}
    return WORDS.text("headline", cure=gained["cure"], **shown, **told)


def _within(
    level: Results, taken: Mapping[str, Sequence[tuple[str, float]]], titles: Mapping[str, str]
) -> Table:
    """What each cure's best setting loses and gains, and which it is for either half."""
    table = tables.pivot(WORDS.text("within"), level, ("cure",), "measure", percent, titles=titles)
    words = lambda name, share: "none" if name == ORIGINAL else f"{name} x {share:g}"  # noqa: E731
    named = {k: "; ".join(dict.fromkeys(words(*one) for one in v)) for k, v in taken.items()}
    rows = [(*row, named[row[0]]) for row in table.rows]
    return Table(table.title, (*table.header, "settings"), rows)


def _points(every: Results, titles: Mapping[str, str]) -> Table:
    lines = [
        (row["variant"], f"{row['alpha']:g}", percent(row["price"]), percent(row), row["front"])
        for row in every
    ]
    header = ("setting", "share of finetuned weights", *titles.values(), "on the front")
    return Table(WORDS.text("points"), header, lines)


def _rule(found: Results, bound: float) -> Table:
    """Which learning rate RobustViT's rule takes for each cure."""
    taken: dict[str, tuple[float, str]] = {}
    for name in found.of("setting"):
        ends = [found.where(setting=name, measure=term).rows for term in TERMS]
        (before, after), loss = ([row["estimate"] for row in rows] for rows in ends)
        first = ends[0][0]
        if before - after <= bound and (not loss or loss[1] <= loss[0]):
            best = (first["rate"], name)
            taken[first["cure"]] = max(best, taken.get(first["cure"], best))
    marks = {name: "yes" for _, name in taken.values()}
    number = lambda row: f"{TERMS[row['measure']]} {row['when']}"  # noqa: E731
    told = found.changed(
        lambda row: {**row, "taken": marks.get(row["setting"], ""), "number": number(row)}
    )
    cell = lambda row: percent(row) if row["measure"] == "correct" else f"{row['estimate']:.3f}"  # noqa: E731
    return tables.pivot(WORDS.text("rule"), told, ("setting", "rate", "taken"), "number", cell)
