"""The page of saliency: tables, sentences, figures, and what goes where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rival_jax.configs.saliency import Config
from rival_jax.experiments.saliency.figures import bars, drops, galleries, heat, over_all
from rival_jax.experiments.saliency.measures import GREYED, METRICS, subjects
from rival_jax.experiments.saliency.tables import (
    alignment_table,
    differences,
    effects_table,
    hits_table,
)
from rival_jax.report.document import Document, Section
from rival_jax.report.images import Images
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import counted, percent, ratio

EVERY = {"class": None, "group": None, "contrast": ""}


def page(
    config: Config, raw: Images, results: Results, pictures: Mapping[tuple[str, str], Path]
) -> Document:
    """All that the report says.

    Args:
      config: of the run.
      raw: columns of the rows.
      results: the table of results.
      pictures: files of the hits' pictures by model and method.
    """
    c, results = config.saliency, named(results)
    shown = results.where(filed=c.classes, subset="all", contrast="")
    levels, hits = shown.where(**EVERY), results.where(subset="hits")
    confidence = config.statistics.confidence
    area = levels.where(measure="area").rows[0]["estimate"]
    models, methods = (list(dict.fromkeys(names)) for names in zip(*subjects(raw), strict=True))
    return Document(
        title=f"Where {models[0] if len(models) == 1 else counted(len(models), 'model')} look",
        subtitle=f"{', '.join(methods)}; {counted(len(raw.names), 'image')}, "
        f"{counted(len(raw.classes), 'class')}",
        headline=headline(shown, hits),
        sections=[
            Section(
                "Alignment",
                [AREA.format(100 * area)],
                bars(shown, confidence),
                [alignment_table(raw, levels, c.classes), *differences(results, confidence)],
            ),
            Section("Alignment by class", (), [heat(shown, m, c.classes) for m in METRICS]),
            Section(
                "Images whose maps lie on the background",
                [FINDER.format(c.classes, c.hits)],
                list(galleries(raw, hits, c.classes, pictures)),
                [hits_table(levels, hits, c.hits)],
            ),
            Section(
                "What greying the salient background costs",
                [GREYING.format(c.threshold, counted(c.draws, "draw"))],
                [drops(levels, hits)],
                [effects_table(levels, confidence)],
            ),
        ],
        method=_method(c, config.data.mask),
        caveats=_caveats(raw, config.data.name),
        source=SOURCE,
    )


def named(results: Results) -> Results:
    """With a column "subject": the model or group, and the method where there are several."""
    several = len(results.of("method")) > 1

    def name(row: Row) -> Row:
        first = row.get("model") or row.get("group")
        return {**row, "subject": f"{first} {row['method']}" if first and several else first}

    return results.changed(name)


def headline(shown: Results, hits: Results) -> list[str]:
    """The main results in sentences."""
    sentences, levels = flat(shown), shown.where(measure="iou", **EVERY)
    if not levels.rows:
        return [*sentences, "No map has an IoU with its object; the tables count what is left out."]
    order = levels.ranked("subject")
    first, last = (ratio(levels.one(subject=order[place])) for place in (0, -1))
    if len(order) == 1:
        told = f"The maps of {order[0]} cover the objects with an IoU of {first}."
    else:
        told = f"IoU of map and object is highest for {order[0]}, {first}, "
        told += f"and lowest for {order[-1]}, {last}."
    between = f" Between classes it ranges over {_range(over_all(shown, 'iou'))}"
    if len(order) > 1:
        between += f", between models over {_range(levels)}"
    return [*sentences, f"{told}{between}.", *_hits_words(hits)]


def flat(shown: Results) -> list[str]:
    """A sentence for each model whose maps mark nothing at all."""
    return [
        f"All maps of {row['subject']} are flat, {row['images']} of {row['images']}: they are the "
        "same everywhere, so that their alignment with objects says nothing."
        for row in shown.where(measure="flat", **EVERY)
        if round(row["estimate"], 6) == 1
    ]


def _range(rows: Results) -> str:
    values = [row["estimate"] for row in rows]
    return f"{max(values):.2f} to {min(values):.2f}"


def _hits_words(hits: Results) -> list[str]:
    outside = hits.where(measure="on_background")
    if not outside.rows:
        return []
    name = outside.ranked("subject")[0]
    mine, row = hits.where(subject=name), outside.one(subject=name)
    told = (
        f"Of the {counted(row['images'], 'image')} with the lowest density gap of each class, the "
        f"map of {name} is stronger outside the object than inside in {percent(row)} %"
    )
    if mine.where(measure="target_drop_salient").rows:
        salient, other = (ratio(mine.one(measure=f"target_drop_{r}")) for r in GREYED[:2])
        told += (
            "; greying what it marks there lowers the explained class's probability by "
            f"{salient}, greying as much of the background at random by {other}"
        )
    return [told + "."]


def _method(c: Any, mask: str) -> list[str]:
    target = {"predicted": "predicted class", "label": "true class"}[c.target]
    above = {"binary": "above one half", "soft": "above 0, as released"}[mask]
    flat = {
        "nan": "is left out of the means and counted",
        "zero": "counts as a map of zeros, as released",
    }[c.flat]
    return [
        f"Maps of {', '.join(c.methods)} explain the logit of the {target}, resized to the image "
        f"(scaling {c.scaling}); a map without a highest place {flat}. The object is where the "
        f"mask is {above}.",
        f"IoU and Dice binarise the map at {c.threshold:g} of its maximum, values equal to it "
        f"{c.ties}. Density gap: mean inside minus mean outside. Mass inside: the share of the "
        "map's sum. Coverage: the share of the object covered by what is left when the weakest "
        "pixels with 25, 50 or 75 % of the mass are cut. Pointing game: whether the maximum is on "
        f"the object (tolerance {c.tolerance} pixels).",
    ]


def _caveats(raw: Images, dataset: str) -> list[tuple[str, str]]:
    labels, counts = np.unique(raw.labels, return_counts=True)
    smallest, size = raw.classes[labels[counts.argmin()]], counts.min()
    training = (
        "That other training runs or images would agree.",
        f"Intervals resample {counted(len(raw.names), 'image')} within their class; the smallest, "
        f"{smallest}, has {size}. They are not adjusted for the number of comparisons.",
    )
    return [*CAVEATS, training, *([SCENES] if dataset == "scenes" else [])]


SOURCE = (
    "The measurement is due to Moayeri, Pope, Balaji and Feizi, A Comprehensive Study of Image "
    "Classification Model Sensitivity to Foregrounds, Backgrounds, and Visual Attributes, CVPR "
    "2022."
)
AREA = (
    "A map that knew nothing of the object would have, on average, {:.0f} % of its mass and its "
    "maximum inside, and that average precision: the object's share of the image."
)
FINDER = (
    "Images filed under each {} class are sorted by the density gap, the map's mean inside the "
    "object minus its mean outside; the lowest {} are the hits, listed in hits.csv. There are "
    "lowest ones for every model: what tells is how many of them have a gap below 0, and whether "
    "greying what the map marks matters."
)
GREYING = (
    "The background where the map exceeds {:g} of its maximum is greyed. For comparison as many "
    "pixels of the background are greyed in random blotches (mean of {}), and where the map is "
    "lowest. Images whose map marks no background are left out and counted."
)
CAVEATS = [
    (
        "That a network uses what its map marks.",
        "A map is one method's account of a network; methods disagree. The study itself found "
        "that alignment does not show the differences in noise sensitivity. Greying tests the "
        "account, on the pixels it marks.",
    ),
    (
        "That greying removes information and nothing else.",
        "A grey patch is itself something no photo has. That is why as much of the background is "
        "greyed elsewhere; blotches have other shapes than maps.",
    ),
    (
        "That hits are typical.",
        "They are the extremes of each class, chosen by the same maps that are then scored. "
        "Their intervals say how they would move with the choice among them, no more.",
    ),
]
SCENES = (
    "Anything about photographs.",
    "The pictures are drawn by the renderer that ships with the package; they show that the "
    "measurement works where the truth is known.",
)
