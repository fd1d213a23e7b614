"""The page of nearest neighbours: accuracy by their number, and what a cure changed."""

from __future__ import annotations

import functools

from rival_jax.configs.knn import Config
from rival_jax.report import figures, tables
from rival_jax.report.document import Document, Section
from rival_jax.report.results import Results
from rival_jax.report.tables import counted, percent
from rival_jax.report.verdicts import HOLM, METHOD
from rival_jax.report.words import Words

WORDS = Words(__package__)
POINTS = "difference, points"
CHOSEN = 20  # the number of neighbours that a headline tells, if it is there


def page(config: Config, results: Results, neighbours: int) -> Document:
    """All results; `neighbours`: how many photos may be some."""
    accuracy = results.where(measure="accuracy")
    level = accuracy.where(contrast="")
    pairs = Results(row for row in accuracy if row["contrast"])
    shown = []
    for vote in level.of("vote"):
        title, rows = WORDS.text("accuracy", vote=vote), level.where(vote=vote)
        shown.append(tables.pivot(title, rows, ("model",), "k", percent))
    rows = ("model", "vote", "k"), percent, config.statistics.confidence
    differ = [tables.differences(WORDS.text("difference"), pairs, *rows, quantity=POINTS)]
    curves = functools.partial(figures.curves, level, "k", by="model", panel="vote")
    curves = functools.partial(curves, percent=True, label="accuracy, %")
    method = WORDS.text(
        "method",
        split=config.data.train_split,
        images=counted(neighbours, "photo"),
        temperature=config.knn.temperature,
    )
    return Document(
        title=WORDS.text("title"),
        subtitle=f"{counted(len(level.of('model')), 'network')}, "
        f"{counted(level.rows[0]['images'], 'photo')}",
        headline=headline(level),
        sections=[
            Section("Accuracy", pictures=[WORDS.picture("accuracy", curves)], tables=shown),
            Section("Differences", tables=differ if pairs.rows else []),
        ],
        method=[method, METHOD.format(HOLM)],
        caveats=WORDS.caveats(),
        source=WORDS.text("source"),
    )


def headline(level: Results) -> list[str]:
    """One sentence for each network, by the first vote."""
    numbers = level.of("k")
    k = CHOSEN if CHOSEN in numbers else numbers[0]
    vote = level.of("vote")[0]
    rows = level.where(k=k, vote=vote)
    return [f"{r['model']}: {percent(r)} % right by {k} neighbours ({vote} vote)." for r in rows]
