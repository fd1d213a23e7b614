"""The page of parts taken away: drops against their control, heat maps, figure 3, the photos."""

from __future__ import annotations

import functools
from collections.abc import Callable

from rival_jax import significance
from rival_jax.configs.attributes import Config
from rival_jax.report import figures, tables, verdicts
from rival_jax.report.document import Document, Picture, Section
from rival_jax.report.grids import Shown, contact, estimates, heat_maps
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, counted, percent
from rival_jax.report.words import Words

WORDS = Words(__package__)
DROPS, SWAPS, MAPS, MARKS = map(WORDS.titles, ("drops", "swaps", "maps", "marks"))
FIRST = 3  # attributes named in the headline
PANELS = 4  # models shown in the figures by attribute and by class
EXCESS = "probability_excess"  # the measure that ranks parts and compares models


def page(config: Config, results: Results, shown: Callable[[], Shown]) -> Document:
    """All results, and the photos as they were shown, if a part can be swapped."""
    c, confidence = config.ablation, config.statistics.confidence
    levels = results.where(contrast="", **{"class": None})
    models, names = (levels.where(measure=EXCESS).of(axis) for axis in ("model", "attribute"))
    told = levels.where(measure=tuple(SWAPS)), ("attribute", "model", "images"), "measure", percent
    title = "Swapped for the same attribute of another class, points"
    swaps = tables.pivot(title, *told, titles=SWAPS, order=names)
    pairs = results.where(measure=EXCESS, contrast=bool)
    look = {"quantity": "difference in excess, points", "titles": {"model": "models"}}
    look["adjust"] = significance.benjamini_hochberg
    told = pairs, ("model", "attribute"), percent, confidence
    compared = tables.differences("Differences between models", *told, **look)
    draw = lambda: contact(shown(), ("attribute", "example"))  # noqa: E731
    photos = [WORDS.picture("photos", draw, photos=True)] if swaps.rows else []
    given = {"background": WORDS.text(c.background), "pooling": WORDS.text(c.pooling)}
    given |= {"grey": c.grey, "draws": counted(c.draws, "draw")}
    parts = [by_model(levels, model, confidence) for model in models]
    return Document(
        title="Parts taken away",
        subtitle=f"{counted(len(models), 'model')}, {counted(len(names), 'attribute')}",
        headline=headline(levels, confidence),
        sections=[
            Section("What counts", (), pictures(results, levels), parts),
            Section("Swaps", tables=[swaps]),
            Section("Comparisons", tables=[compared]),
            Section("Attributes and classes", pictures=[figure_3(results)]),
            Section("What the networks were shown", pictures=photos),
        ],
        method=[*WORDS.texts("method", **given), verdicts.METHOD.format(verdicts.RATE)],
        caveats=WORDS.caveats(),
        source=WORDS.text("source"),
    )


def headline(levels: Results, confidence: float) -> list[str]:
    """Which parts matter most to each model, beyond their size; and what attributes alone tell."""
    sentences = []
    for model in levels.where(measure=EXCESS).of("model")[:6]:
        excess, told = _excess(levels, model, confidence)
        sure = [row for row in excess if told[row["attribute"]].differs and row["estimate"] > 0]
        most = ", ".join(f"{row['attribute']} ({percent(row)} points)" for row in sure[:FIRST])
        sentences.append(WORDS.text("most" if sure else "none", model=model, most=most))
    accuracy = percent(levels.one(measure="classifier_accuracy"))
    return [*sentences, WORDS.text("labels", accuracy=accuracy)]


def _excess(
    levels: Results, model: str, confidence: float
) -> tuple[Results, dict[str, verdicts.Verdict]]:
    """An attribute's cost to a model beyond its control, largest first; whether each differs."""
    found = levels.where(measure=EXCESS, model=model)
    told = verdicts.of_rows(found, confidence, significance.benjamini_hochberg)
    ranked = Results(found.one(attribute=name) for name in found.ranked("attribute"))
    return ranked, dict(zip(found.of("attribute"), told, strict=True))


def by_model(levels: Results, model: str, confidence: float) -> Table:
    """All attributes for one model, by excess."""
    excess, judged = _excess(levels, model, confidence)

    def cell(row: Row) -> str:
        return f"{100 * row['estimate']:.0f}" if row["measure"] == "area" else percent(row)

    rows = levels.where(measure=tuple(DROPS), model=(None, model))
    told = rows, ("attribute", "images"), "measure", cell
    order, title = excess.of("attribute"), f"{model}: drops in points when an attribute is greyed"
    table = tables.pivot(title, *told, titles=DROPS, columns=tuple(DROPS), order=order)
    lines = [(*line, judged[line[0]].word, judged[line[0]].p) for line in table.rows]
    return Table(table.title, (*table.header, "differs", "p"), lines)


def pictures(results: Results, levels: Results) -> list[Picture]:
    """Drops against their controls, and heat maps of attributes by models and by classes."""
    excess = results.where(measure=EXCESS, contrast="")
    models, points = excess.of("model")[:PANELS], functools.partial(estimates, scale=100.0)
    by_model = {
        title: points(levels.where(measure=measure), "attribute", "model", means=True)
        for measure, title in MAPS.items()
    }
    by_class = {m: points(excess.where(model=m), "attribute", "class") for m in models}
    rows = levels.where(measure=tuple(MARKS), model=models)
    names = levels.where(measure=EXCESS, model=models).ranked("attribute")
    look = {"panel": "model", "by": "measure", "titles": MARKS, "names": names}
    dots = functools.partial(figures.dots, rows, "attribute", label="drop in probability", **look)
    draw = functools.partial(heat_maps, digits=0)
    first = functools.partial(draw, by_model, named=("quantity", "attribute", "model"))
    second = functools.partial(draw, by_class, named=("model", "attribute", "class"))
    drawn = {"ranks": dots, "models": first, "classes": second}
    return [WORDS.picture(name, draw) for name, draw in drawn.items()]


def figure_3(results: Results) -> Picture:
    """How attribute labels go together, and with classes."""
    shares, both = (results.where(measure=name) for name in ("label_share", "label_correlation"))
    shown = {
        "correlations": estimates(both, "attribute", "other_attribute"),
        "class means": estimates(shares, "class", "attribute"),
    }
    named = ("quantity", "row", "attribute")
    return WORDS.picture("fig3", functools.partial(heat_maps, shown, digits=1, named=named))
