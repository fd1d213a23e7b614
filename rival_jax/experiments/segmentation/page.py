"""The page of segmentation: table 3, its differences, precision and recall, photos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rival_jax.configs.segmentation import Config
from rival_jax.report.document import Document
from rival_jax.report.grids import contact
from rival_jax.report.results import Results
from rival_jax.report.tables import counted, percent
from rival_jax.report.words import Pictures, Words

WORDS = Words(__package__)
TITLES = WORDS.titles("measures")


def page(config: Config, results: Results, shown: Callable[[], Any]) -> Document:
    """All results, and some photos with what networks mark in them (`shown`, see `contact`)."""
    c = config.segmentation
    results = results.changed(lambda row: {**row, "network": f"{row['model']} {row['method']}"})
    level, metrics = results.where(contrast=""), list(c.metrics)
    told = {"flat": WORDS.text(c.flat), "metrics": metrics, "first": c.rules[0]}
    told |= {"mask": WORDS.text(config.data.mask), "target": WORDS.text(config.saliency.target)}
    told |= {"rules": "; ".join(map(WORDS.text, c.rules)), "levels": str(c.levels)}
    pictures: Pictures = {"photos": lambda: contact(shown(), ("class", "example"))}
    given = {"pictures": pictures, "confidence": config.statistics.confidence}
    first, *rest = WORDS.sections(results, told, of={"curve": _curve(level)}, **given)
    flat = [row for row in level.where(measure="flat") if row["estimate"]]
    first = first._replace(text=[WORDS.text("some_flat", **row) for row in flat])
    by_rule = level.where(measure=metrics, rule=(None, c.rules[0]))
    return WORDS.document(
        told,
        subtitle=f"{counted(len(level.of('model')), 'network')}, "
        f"{', '.join(level.of('method'))}; {counted(level.rows[0]['images'], 'photo')}",
        headline=[_sentence(by_rule.where(network=name)) for name in by_rule.of("network")][:8],
        sections=[first, *rest],
    )


def _sentence(mine: Results) -> str:
    """One network's numbers."""
    numbers = ", ".join(f"{TITLES[row['measure']]} {percent(row)}" for row in mine)
    return f"{mine.rows[0]['network']}: {numbers}, in percent."


def _curve(level: Results) -> Results:
    """Precision, with the recall at the same level, as maps are cut lower and lower."""
    recall = {(row["network"], row["level"]): row for row in level.where(measure="recall")}
    return level.where(measure="precision").changed(
        lambda row: {**row, "recall": recall[row["network"], row["level"]]["estimate"]}
    )
