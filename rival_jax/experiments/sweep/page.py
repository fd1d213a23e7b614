"""The page of training set sizes: how many photos are enough, curves, and all numbers."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from rival_jax.configs.sweep import Config
from rival_jax.experiments.finetune.measures import GAIN
from rival_jax.experiments.finetune.variants import ORIGINAL
from rival_jax.report import figures
from rival_jax.report.document import Document, Section
from rival_jax.report.results import NO_INTERVAL, Results, Row
from rival_jax.report.tables import percent
from rival_jax.report.words import Words

WORDS = Words(__package__)
SIDES = {"per_class": "num_classes", "num_classes": "per_class"}  # what is varied: what is held
WHOLE: dict[str, Any] = {"measure": "accuracy", "class": None, "set": None}


def page(config: Config, document: Document, results: Results) -> Document:
    """The page of a finetuning with the sizes before all else; `document`: the finetuning's."""
    first, last = results.of("test")[0], results.of("test")[-1]
    told: dict[str, Any] = {"first": first, "test": last, "margin": 100 * config.sizes.margin}
    told |= {"count": len(config.seeds), "along": "", "held": ""}
    here, pictures, headline = results.where(test=last), [], []
    for along, held in SIDES.items():
        if len(results.of(along)) > 1:
            words: dict[str, Any] = {
                "along": WORDS.titles("sizes")[along],
                "held": WORDS.titles("sizes")[held],
            }
            draw = functools.partial(_drawn, here, along, held, WORDS.text("label", **told))
            pictures.append(WORDS.picture(along, draw, words="curves", **told | words))
            headline += [enough(here.where(cure=one), along, told) for one in results.of("cure")]
    table = WORDS.tables(numbers(results), "sizes", **told)
    return document._replace(
        title=WORDS.text("title"),
        subtitle=f"{document.subtitle}; {WORDS.text('subtitle', **told)}",
        headline=headline or document.headline,
        sections=[Section(WORDS.text("section"), (), pictures, table), *document.sections],
        method=[*WORDS.texts("method", **told), *document.method],
        caveats=[*WORDS.caveats(**told), *document.caveats],
    )


def enough(here: Results, along: str, told: Mapping[str, Any]) -> str:
    """How many are enough, in a sentence: the fewest to which the most add at most the margin.

    Asked from the most downwards, until one is not enough: so asking several times needs no
    adjustment.

    Args:
      here: results of one cure on one test set.
      along: the column that is asked about; the other is at its most.
    """
    held = SIDES[along]
    added = here.where(measure="added", **{held: max(here.of(held))})
    added = added.where(contrast=WORDS.text("contrast", most=max(here.of(along)), along=along))
    ranked = sorted(added, key=lambda row: -row[along])
    enough = list(itertools.takewhile(lambda row: 100 * row["high"] <= told["margin"], ranked))
    row = (enough or ranked[:1])[-1]
    given = {**row, "most": max(here.of(along)), "fewer": row[along], "added": percent(row)}
    return WORDS.text(f"{along}_{'enough' if enough else 'short'}", **{**told, **given})


def numbers(results: Results) -> Results:
    """The numbers of every size's line: accuracies, the gain, and its spread over seeds."""
    mean = results.where(**WHOLE, seed=None, cure=bool)
    last = results.of("test")[-1]
    levels = mean.where(contrast="").changed(lambda row: {**row, "number": row["test"]})
    gains = mean.where(contrast=GAIN, test=last).having(contrast="", number="gain")
    spread: list[Row] = []
    for row in gains:
        each = results.where(**WHOLE, variant=row["variant"], test=last, seed=results.of("seed"))
        if len(each) > 1:
            value = float(np.std([one["estimate"] for one in each], ddof=1))
            spread.append({**row, **NO_INTERVAL, "estimate": value, "number": "deviation"})
    return levels + gains + Results(spread)


def _drawn(here: Results, along: str, held: str, label: str) -> figures.Drawn:
    """The gain over a size: a line for each cure, grey ones for its seeds."""
    start = here.one(**WHOLE, variant=ORIGINAL)["estimate"]
    means = here.where(**WHOLE, contrast=GAIN, seed=None)
    seeds = here.where(**WHOLE, contrast="", cure=bool, seed=here.of("seed"))
    alone = Results(
        {**row, "cure": WORDS.text("seed", **row), "estimate": row["estimate"] - start}
        for row in seeds
    )
    faint = alone.of("cure") if len(here.of("seed")) > 1 else []
    titles = {**WORDS.titles("sizes"), **{n: WORDS.text(held, n=n) for n in here.of(held)}}
    told: dict[str, Any] = {"label": label, "titles": titles, "shares": here.of(held), "across": 3}
    shown = means + alone.where(cure=faint)
    return figures.curves(shown, along, by="cure", panel=held, faint=faint, log=True, **told)
