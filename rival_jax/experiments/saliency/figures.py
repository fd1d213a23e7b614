"""Figures of saliency: alignment as bars and heat maps, galleries of hits, what greying costs."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rival_jax.experiments.saliency.hits import IN_GALLERY, gallery
from rival_jax.experiments.saliency.measures import GREYED, METRICS, filed_under, subjects
from rival_jax.report import figures, grids
from rival_jax.report.document import Picture
from rival_jax.report.images import Images
from rival_jax.report.results import Results
from rival_jax.report.style import MUTED
from rival_jax.runtime.names import file_names

MOST_COLUMNS = 20  # classes of a heat map: those with the lowest and the highest mean
GALLERIES = 8  # models whose hits are on the page
DROPS = {f"target_drop_{region}": f"{region} greyed" for region in GREYED}
PANELS = {"all": "all images", "hits": "the hits"}
GALLERY = (
    "{}: the {} images of each class with the lowest density gap. Photo, map, and what the map "
    "marks of the background greyed; the object is outlined. p: of the explained class, before "
    "and after; in brackets after greying as much of the background at random."
)


def bars(shown: Results, confidence: float) -> list[Picture]:
    """Figure 9: the IoU by group or model, and by class over all models."""
    levels = shown.where(measure="iou", **{"class": None})
    groups, classes = levels.where(model=None), over_all(shown, "iou")
    over, rows = ("groups", groups) if groups.rows else ("models", levels)

    def picture(name: str, by: str, rows: Results, y: str, **look: Any) -> Picture:
        draw = functools.partial(figures.bars, rows, y, label="IoU", names=rows.ranked(y), **look)
        caption = f"IoU of map and object by {by}, with {100 * confidence:g} % intervals."
        return Picture(name, draw, caption, f"Bar chart of mean IoU by {by}")

    grey = {"colours": lambda label: MUTED}
    return [
        picture("fig9", over, rows, "subject"),
        picture("fig9_classes", "class over all models", classes, "class", **grey),
    ]


def heat(shown: Results, metric: str, filed: str) -> Picture:
    """The supplement's heat map of a metric."""
    title = METRICS[metric].capitalize() if metric != "iou" else "IoU"
    return Picture(
        f"heat_{metric}",
        functools.partial(heat_map, shown, metric),
        f"{title} by model and {filed} class; means weigh classes and models equally.",
        f"Heat map of mean {METRICS[metric]}, models in rows, classes in columns",
    )


def heat_map(shown: Results, metric: str) -> figures.Drawn:
    """A metric by model and class, with the means of both."""
    every = Results(row for row in shown if row.get("class") is not None and row["subject"])
    models, classes = every.of("subject"), every.of("class")
    table = np.full((len(models), len(classes)), np.nan)
    for row in every.where(measure=metric):
        table[models.index(row["subject"]), classes.index(row["class"])] = row["estimate"]
    kept = [*_most_different(grids.mean(table, 0)), len(classes)]
    columns = [[*classes, "mean"][c] for c in kept]
    drawn = grids.with_means(table)[:, kept]
    return grids.heat_maps(
        {METRICS[metric]: (drawn, [*models, "mean"], columns)},
        signed=metric == "density_gap",
        named=("metric", "model", "class"),
    )


def _most_different(means: np.ndarray) -> list[int]:
    """The classes to show: all, or those with the lowest and the highest means."""
    if len(means) <= MOST_COLUMNS:
        return list(range(len(means)))
    order = [int(c) for c in np.argsort(means) if np.isfinite(means[c])]
    half = MOST_COLUMNS // 2
    return sorted({*order[:half], *order[-half:]})


def galleries(
    raw: Images, hits: Results, filed: str, pictures: Mapping[tuple[str, str], Path]
) -> Iterator[Picture]:
    """Figure 7, of every model that has hits."""
    names = {(row["model"], row["method"]): row["subject"] for row in hits}
    stems = file_names(list(names.values()))
    for s, key in list(enumerate(subjects(raw)))[:GALLERIES]:
        if key in names:
            labels = filed_under(raw, s, filed)
            yield Picture(
                f"fig7_{stems[names[key]]}",
                functools.partial(gallery, raw, s, labels, pictures[key]),
                GALLERY.format(names[key], IN_GALLERY),
                f"Contact sheet of photos of {names[key]} whose maps lie outside the outlined "
                "object",
                photos=True,
            )


def drops(levels: Results, hits: Results) -> Picture:
    """What greying costs, by model and part."""
    rows = (levels + hits).where(measure=list(DROPS))
    draw = functools.partial(figures.dots, rows, "subject", panel="subset", by="measure")
    label = "drop in probability"
    return Picture(
        "drops",
        functools.partial(draw, label=label, titles={**PANELS, **DROPS}),
        "How far the probability of the explained class drops when parts of the background of one "
        "area are greyed: the salient part, a random one, the least salient one; of images with a "
        "salient background.",
        "Dot plots of mean drops of probability by model and greyed part",
    )


def over_all(shown: Results, metric: str) -> Results:
    """Of each class, the mean over models and methods."""
    rows = shown.where(measure=metric, model=None, group=None)
    return Results(row for row in rows if row.get("class") is not None)
