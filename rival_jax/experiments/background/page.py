"""The page of backgrounds and objects taken away: tables, figure 8, all treatments, photos."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rival_jax.configs.background import Config
from rival_jax.report import figures, tables
from rival_jax.report.document import Document, Picture, Section
from rival_jax.report.grids import contact
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, counted, percent
from rival_jax.report.verdicts import HOLM, METHOD

Shown = Callable[[], Sequence[tuple[str, str, Mapping[str, np.ndarray]]]]
"""Gives images to look at: (example, class, {what was done: uint8 [h, w, 3]})."""

HEADS = {"normal": "head fitted on photos", "grey": "head fitted on grey backgrounds"}
TITLES = {"none": "photo"}


def page(config: Config, results: Results, shown: Shown) -> Document:
    """All that the results say, and the photos as they were shown."""
    levels = results.where(contrast="")
    regions = [r for r in ("background", "foreground") if r in levels.of("region")]
    first = next(row["treatment"] for row in levels if row["treatment"] != "none")
    pictures = [_treatments(levels)]
    if levels.where(treatment="grey", region="background").rows:
        pictures.insert(0, _figure_8(levels))
    lost = [table for region in regions for table in lost_tables(levels, region)]
    gap = results.where(contrast="foreground minus background", measure="accuracy_drop")
    lost += [_by_treatment(GAP, gap)] if gap.rows else []
    return Document(
        title="Backgrounds and objects taken away",
        subtitle=f"{counted(len(levels.of('model')), 'model')}, "
        f"{counted(levels.rows[0]['images'], 'image')}",
        headline=headline(levels, regions, first),
        sections=[
            Section("What is lost", pictures=pictures, tables=lost),
            Section("Comparisons", tables=comparisons(config, results)),
            Section(
                "What the networks were shown",
                pictures=[Picture("photos", lambda: _sheet(shown), *PHOTOS, photos=True)],
            ),
        ],
        method=_method(config, levels),
        caveats=CAVEATS,
        source="Figure 8 is due to Moayeri et al., RIVAL10, CVPR 2022, section 5.3.",
    )


def headline(levels: Results, regions: Sequence[str], treatment: str) -> list[str]:
    """One sentence for each model and head: background away against object away."""
    sentences = []
    accuracy = levels.where(measure="accuracy", group=None)
    for model in accuracy.of("model"):
        for head in accuracy.of("head"):
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
    """Accuracy with a region treated, its paired drop, and the true class's probability."""
    titles = {
        "accuracy": f"Accuracy with the {region} treated, percent",
        "accuracy_drop": f"Drop in accuracy with the {region} treated, points, paired",
        "probability": f"Probability of the true class with the {region} treated, percent",
    }
    shown = levels.where(region=("none", region), group=None)
    return [_by_treatment(title, shown.where(measure=name)) for name, title in titles.items()]


def _by_treatment(title: str, results: Results) -> Table:
    return tables.pivot(title, results, ("model", "head"), "treatment", percent, titles=TITLES)


def comparisons(config: Config, results: Results) -> list[Table]:
    """What a head fitted on grey backgrounds gains, and every pair of models."""
    named = results.changed(lambda row: {**row, "shown": _setting(row)})
    heads = named.where(measure="accuracy", head="grey", contrast="minus normal")
    pairs = named.where(measure="accuracy_drop", group=None)
    pairs = Results(row for row in pairs if row["contrast"].startswith("minus"))
    found = [tables.pivot(HEADS_GAIN, heads, ("shown",), "model", percent)] if heads.rows else []
    if pairs.rows:
        confidence = config.statistics.confidence
        found.append(
            tables.differences(
                "Differences between models",
                pairs,
                ("model", "head", "shown"),
                percent,
                confidence,
                quantity="difference of drops, points",
                titles={"model": "models", "shown": "treatment"},
            )
        )
    return found


def _figure_8(levels: Results) -> Picture:
    accuracy = levels.where(measure="accuracy", model=None)
    grey = accuracy.where(treatment="grey", region="background")
    draw = functools.partial(
        figures.bars, grey, "group", panel="head", label="accuracy, %", percent=True, titles=HEADS
    )
    return Picture("fig8", functools.partial(draw, marks=accuracy.where(treatment="none")), *FIG8)


def _treatments(levels: Results) -> Picture:
    drops = levels.where(measure="accuracy_drop", group=None)
    first = drops.where(head=drops.of("head")[0])
    draw = functools.partial(
        figures.dots, first, "treatment", panel="model", by="region", percent=True
    )
    return Picture("treatments", functools.partial(draw, label="drop in accuracy, points"), *DROPS)


def _sheet(shown: Shown) -> figures.Drawn:
    found = [(label, name, pictures) for name, label, pictures in shown()]
    return contact(found, ("class", "example"))


def _setting(row: Row) -> str:
    if row.get("treatment") in (None, "none"):
        return "photo"
    return " ".join(row[name] for name in ("treatment", "region") if row.get(name))


def _method(config: Config, levels: Results) -> list[str]:
    c = config.ablation
    told = {
        "grey": f"grey replaces it by {c.grey:g}",
        "blur": f"blur is a Gaussian of sigma {100 * c.blur:.3g} % of the height that sees the "
        "region's own pixels alone",
        "shuffle": f"shuffle moves {c.patches} x {c.patches} patches about inside it",
        "mean": "mean gives it its own mean colour",
        "black": "black replaces it by 0",
        "swap": "swap shows the same region of an image of another class, filled up from its "
        "surroundings where that image has none",
    }
    done = "; ".join(told[name] for name in levels.of("treatment") if name != "none")
    masks = {"soft": "as resized, their rims blend", "binary": "above 1/2"}[config.data.mask]
    return [
        f"One region of every photo is replaced: {done}. Masks are taken {masks}.",
        "Drops are differences between the same images with and without the treatment; brackets "
        "are bootstrap intervals with images as the clusters, resampled within classes.",
        METHOD.format(HOLM),
    ]


GAP = "Drop with the object treated minus drop with the background treated, points, paired"
HEADS_GAIN = (
    "Accuracy of the head fitted on grey backgrounds minus that of the other, points, paired"
)
FIG8 = (
    "Figure 8: accuracy on photos with a grey background (bars, with intervals) and on the photos "
    "as they are (upright marks), averaged over the models of a group.",
    "Bar chart of the accuracy on grey backgrounds for every group and head; numbers in the CSV",
)
DROPS = (
    "Drop in accuracy under every treatment of the background (circles) and of the object "
    "(squares), paired with the same photos untreated; lines are intervals.",
    "Dot plots of the drop in accuracy by treatment, region and model; numbers in the CSV",
)
PHOTOS = (
    "One image of each class, at most six, under every treatment, as the networks saw them.",
    "Contact sheet: a column for each image, a row for each treatment",
)
CAVEATS = [
    (
        "That the background is not used where its loss costs nothing.",
        "A network may read the same evidence from object and background; taking one away leaves "
        "the other.",
    ),
    (
        "How much information a region holds.",
        "Every treatment also adds something that no photo has: flat areas, edges at the mask. "
        "Networks differ in how they take that, so compare treatments before models. The mask's "
        "outline stays visible under all of them: with the object gone, its shape is still there.",
    ),
    (
        "The effect of a wrong context, except under swap.",
        "Grey, blur, mean colour, black and shuffling take context away; only swap shows that of "
        "another class, and its object-shaped hole is filled in smoothly, which can be seen.",
    ),
]
