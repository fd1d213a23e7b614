"""The page of parts taken away: which matter most beyond their size, and what labels tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rival_jax import significance
from rival_jax.configs.attributes import Config
from rival_jax.report import verdicts
from rival_jax.report.document import Document
from rival_jax.report.grids import Shown, contact
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import counted, percent
from rival_jax.report.words import Words

WORDS = Words(__package__)
FIRST = 3  # attributes named in the headline
PANELS = 4  # models shown in the figures by attribute and by class


def page(config: Config, results: Results, shown: Callable[[], Shown]) -> Document:
    """All results, and the photos as they were shown, if a part can be swapped."""
    c, confidence = config.ablation, config.statistics.confidence
    excess = results.where(measure="probability_excess", contrast="", **{"class": None})
    judged, names = _judged(excess, confidence), excess.of("attribute")
    every, models = results, judged.of("model")
    for name, field in (("differs", "word"), ("p", "p")):  # columns of the models' tables
        cells = ({**row, "cell": getattr(row["verdict"], field)} for row in judged)
        every += Results(cells).having(measure=name)
    told = {"background": WORDS.text(c.background), "pooling": WORDS.text(c.pooling)}
    told |= {"grey": c.grey, "draws": counted(c.draws, "draw"), "first": models[:PANELS]}
    parts = [table for model in models for table in WORDS.tables(every, "parts", model=model)]
    swapped = any(measure.startswith("swap") for measure in results.of("measure"))
    photos = (lambda: contact(shown(), ("attribute", "example"))) if swapped else ()
    shares = results.where(measure="label_share").changed(
        lambda row: {**row, "attribute": row["class"], "other_attribute": row["attribute"]}
    )
    given: dict[str, Any] = {
        "pictures": {"photos": photos},
        "tables": {"parts": parts},
        "of": {"fig3": results.where(measure="label_correlation") + shares},
    }
    return WORDS.document(
        told,
        subtitle=f"{counted(len(models), 'model')}, {counted(len(names), 'attribute')}",
        headline=headline(judged, results.one(measure="classifier_accuracy")),
        sections=WORDS.sections(every, told, confidence=confidence, **given),
    )


def _judged(excess: Results, confidence: float) -> Results:
    """The cost of attributes to each model beyond the control's, largest first, and verdicts."""
    rows: list[Row] = []
    for model in excess.of("model"):
        found = excess.where(model=model)
        told = verdicts.of_rows(found, confidence, significance.benjamini_hochberg)
        mine = [{**row, "verdict": verdict} for row, verdict in zip(found, told, strict=True)]
        rows += sorted(mine, key=lambda row: -row["estimate"])
    return Results(rows)


def headline(judged: Results, classifier: Row) -> list[str]:
    """Which parts matter most to each model, beyond their size; and what attributes alone tell."""
    sentences = []
    for model in judged.of("model")[:6]:
        rows = [row for row in judged.where(model=model) if row["verdict"].differs]
        sure = [row for row in rows if row["estimate"] > 0][:FIRST]
        most = ", ".join(f"{row['attribute']} ({percent(row)} points)" for row in sure)
        sentences.append(WORDS.text("most" if sure else "none", model=model, most=most))
    return [*sentences, WORDS.text("labels", accuracy=percent(classifier))]
