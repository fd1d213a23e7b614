"""The page of nearest neighbours: accuracy by their number, and what a cure changed."""

from __future__ import annotations

from rival_jax.configs.knn import Config
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.report.tables import counted, percent
from rival_jax.report.words import Words

WORDS = Words(__package__)
CHOSEN = 20  # the number of neighbours that a headline tells, if it is there


def page(config: Config, results: Results, neighbours: int) -> Document:
    """All results; `neighbours`: how many photos may be some."""
    level = results.where(measure="accuracy", contrast="")
    votes = (WORDS.tables(results, "accuracy", vote=vote) for vote in level.of("vote"))
    told = {"split": config.data.train_split, "images": counted(neighbours, "photo")}
    told |= {"temperature": config.knn.temperature}
    shown = {"accuracy": [table for some in votes for table in some]}
    confidence = config.statistics.confidence
    return WORDS.document(
        told,
        subtitle=f"{counted(len(level.of('model')), 'network')}, "
        f"{counted(level.rows[0]['images'], 'photo')}",
        headline=headline(level),
        sections=WORDS.sections(results, told, tables=shown, confidence=confidence),
    )


def headline(level: Results) -> list[str]:
    """One sentence for each network, by the first vote."""
    numbers = level.of("k")
    k = CHOSEN if CHOSEN in numbers else numbers[0]
    vote = level.of("vote")[0]
    rows = level.where(k=k, vote=vote)
    return [f"{r['model']}: {percent(r)} % right by {k} neighbours ({vote} vote)." for r in rows]
