"""The page of backgrounds and objects taken away: tables, figure 8, all treatments, photos."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from rival_jax.configs.background import Config
from rival_jax.report import figures, tables
from rival_jax.report.document import Document, Section
from rival_jax.report.grids import Shown, contact
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, counted, percent
from rival_jax.report.verdicts import HOLM, METHOD
from rival_jax.report.words import Words

WORDS = Words(__package__)
HEADS = {"normal": "head fitted on photos", "grey": "head fitted on grey backgrounds"}
LOST = {
    "accuracy": "Accuracy with the {} treated, percent",
    "accuracy_drop": "Drop in accuracy with the {} treated, points, paired",
    "probability": "Probability of the true class with the {} treated, percent",
}
GAP = "Drop with the object treated minus drop with the background treated, points, paired"
HEADS_GAIN = (
    "Accuracy of the head fitted on grey backgrounds minus that of the other, points, paired"
)


def page(config: Config, results: Results, shown: Callable[[], Shown]) -> Document:
    """All results, and the photos as they were shown."""
    levels = results.where(contrast="")
    accuracy = levels.where(measure="accuracy")
    regions = [r for r in ("background", "foreground") if r in levels.of("region")]
    gap = results.where(contrast="foreground minus background", measure="accuracy_drop")
    lost = [table for region in regions for table in lost_tables(levels, region)]
    lost.append(_by_treatment(GAP, gap))
    grey = accuracy.where(treatment="grey", region="background")
    marks, look = accuracy.where(treatment="none", model=None), {"percent": True, "titles": HEADS}
    fig8 = functools.partial(figures.bars, grey.where(model=None), "group", panel="head", **look)
    drops = levels.where(measure="accuracy_drop", group=None)
    drops = drops.where(head=drops.of("head")[0])
    treated = functools.partial(figures.dots, drops, "treatment", panel="model", by="region")
    pictures = [
        WORDS.picture("fig8", functools.partial(fig8, label="accuracy, %", marks=marks)),
        WORDS.picture(
            "treatments",
            functools.partial(treated, percent=True, label="drop in accuracy, points"),
        ),
    ]
    photos = WORDS.picture("photos", lambda: contact(shown(), ("class", "example")), photos=True)
    return Document(
        title=WORDS.text("title"),
        subtitle=f"{counted(len(levels.of('model')), 'model')}, "
        f"{counted(levels.rows[0]['images'], 'image')}",
        headline=headline(accuracy, regions),
        sections=[
            Section("What is lost", (), pictures if grey.rows else pictures[1:], lost),
            Section("Comparisons", tables=comparisons(config, results)),
            Section("What the networks were shown", pictures=[photos]),
        ],
        method=_method(config, levels),
        caveats=WORDS.caveats(),
        source=WORDS.text("source"),
    )


def headline(accuracy: Results, regions: Sequence[str]) -> list[str]:
    """One sentence for each model and head: without background against without object."""
    treatment = next(name for name in accuracy.of("treatment") if name != "none")
    sentences = []
    for model in accuracy.of("model"):
        for head in accuracy.where(model=model).of("head"):
            mine = accuracy.where(model=model, head=head)
            told = " and ".join(
                f"{percent(mine.one(treatment=treatment, region=region))} % with the {region} "
                "treated"
                for region in regions
            )
            named = f"{model} ({HEADS.get(head, head + ' head')})"
            clean = percent(mine.one(treatment="none"))
            sentences.append(f"{named}: {clean} % accuracy on the photos, {told} ({treatment}).")
    return sentences[:8]


def lost_tables(levels: Results, region: str) -> list[Table]:
    """Accuracy with a region treated, the paired drop, and the true class's probability."""
    shown = levels.where(region=("none", region), group=None)
    return [_by_treatment(t.format(region), shown.where(measure=name)) for name, t in LOST.items()]


def _by_treatment(title: str, results: Results) -> Table:
    titles = {"none": "photo"}
    return tables.pivot(title, results, ("model", "head"), "treatment", percent, titles=titles)


def comparisons(config: Config, results: Results) -> list[Table]:
    """The gain by heads fitted on grey backgrounds, and every pair of models."""
    named = results.changed(lambda row: {**row, "shown": _setting(row)})
    heads = named.where(measure="accuracy", head="grey", contrast="minus normal")
    models = [f"minus {model}" for model in results.of("model")]
    pairs = named.where(measure="accuracy_drop", group=None, contrast=models)
    told = ("model", "head", "shown"), percent, config.statistics.confidence
    titles = {"model": "models", "shown": "treatment"}
    options = {"quantity": "difference of drops, points", "titles": titles}
    return [
        tables.pivot(HEADS_GAIN, heads, ("shown",), "model", percent),
        tables.differences("Differences between models", pairs, *told, **options),
    ]


def _setting(row: Row) -> str:
    if row.get("treatment") in (None, "none"):
        return "photo"
    return " ".join(row[name] for name in ("treatment", "region") if row.get(name))


def _method(config: Config, levels: Results) -> list[str]:
    c = config.ablation
    given = {"grey": c.grey, "sigma": 100 * c.blur, "patches": c.patches}
    done = (WORDS.text(name, **given) for name in levels.of("treatment") if name != "none")
    masks = WORDS.text(config.data.mask)
    return [
        WORDS.text("done", done="; ".join(done), masks=masks),
        WORDS.text("drops"),
        METHOD.format(HOLM),
    ]
