"""The report of saliency: tables, sentences, and what goes where."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from rival_jax.report import saliency, saliency_figures
from rival_jax.report.document import Document, Picture, Section, write_document
from rival_jax.report.rows import read_json
from rival_jax.report.saliency import METRICS, Alignment
from rival_jax.report.saliency_gallery import IN_GALLERY, gallery
from rival_jax.report.saliency_summary import Summary, filed, summarise
from rival_jax.report.saliency_tables import (
    alignment_table,
    cell,
    differences_table,
    effects_table,
    estimate,
    hits_table,
)
from rival_jax.report.tables import counted, percent
from rival_jax.runtime.console import plain
from rival_jax.runtime.names import file_names
from rival_jax.runtime.results import Run

GALLERIES = 8  # subjects whose hits are on the page


def write(run: Run, console: Console, groups: Mapping[str, Sequence[str]] | None = None) -> Summary:
    """Writes summary.json, figures/, tables.md and report.html of a finished run."""
    found, settings = saliency.read(run.path), run.config["saliency"]
    options = run.config.get("statistics", {})
    summary = summarise(
        found, groups, classes=settings["classes"], hits=settings["hits"], **options
    )
    run.save_json("summary.json", summary)
    for sentence in flat(summary):
        console.print(plain(f"note: {sentence}"))
    write_document(run, console, document(run, found, summary))
    return summary


def document(run: Run, found: Alignment, summary: Summary) -> Document:
    """All that the report says."""
    settings, methods = run.config["saliency"], ", ".join(dict.fromkeys(found.methods))
    images, area = len(found.names), summary["dataset"]["object_area"]
    sections = [
        Section(
            "Alignment",
            [
                f"A map that knew nothing of the object would have, on average, {100 * area:.0f} % "
                "of its mass and its maximum inside, and that average precision: the object's "
                "share of the image."
            ],
            [_bars(summary, "iou")],
            [alignment_table(summary), *differences_table(summary)],
        ),
        Section("Alignment by class", (), [_heat(found, summary, metric) for metric in METRICS]),
        Section(
            "Images whose maps lie on the background",
            [_finder_words(summary)],
            list(_galleries(run, found, summary)),
            [hits_table(summary)],
        ),
        Section(
            "What greying the salient background costs",
            [_counterfactual_words(settings)],
            [_drops(summary)],
            [effects_table(summary)],
        ),
    ]
    return Document(
        title=f"Where {_several(found.models)} look",
        subtitle=f"{methods}; {counted(images, 'image')}, {counted(len(found.classes), 'class')}",
        headline=headline(summary),
        sections=sections,
        method=_method(settings, run.config["data"]["mask"]),
        caveats=_caveats(found, summary, run.config["data"]["name"]),
        source="The measurement is due to Moayeri, Pope, Balaji and Feizi, A Comprehensive Study "
        "of Image Classification Model Sensitivity to Foregrounds, Backgrounds, and Visual "
        "Attributes, CVPR 2022.",
    )


def headline(summary: Summary) -> list[str]:
    """The main results in sentences."""
    means, by = filed(summary)
    subjects, sentences = summary["subjects"], flat(summary)
    order = sorted(subjects, key=lambda name: -estimate(subjects[name][means]["iou"]))
    iou = {name: cell(subjects[name][means]["iou"]) for name in order}
    some = [name for name in order if iou[name]]
    if not some:
        return [*sentences, "No map has an IoU with its object; the tables count what is left out."]
    if len(some) == 1:
        told = f"The maps of {some[0]} cover the objects with an IoU of {iou[some[0]]}."
    else:
        told = f"IoU of map and object is highest for {some[0]}, {iou[some[0]]}, "
        told += f"and lowest for {some[-1]}, {iou[some[-1]]}."
    table = [[estimate(c["iou"]) for c in subjects[name][by].values()] for name in some]
    over_classes = saliency.mean(np.array(table), 0)
    between = f" Between classes it ranges over {_range(over_classes)}"
    if len(some) > 1:
        between += f", between models over {_range(saliency.mean(np.array(table), 1))}"
    sentences.append(f"{told}{between}.")
    most = max(subjects, key=lambda name: estimate(subjects[name]["hits"]["on_background"]))
    return sentences + _hits_words(most, subjects[most]["hits"])


def flat(summary: Summary) -> list[str]:
    """A sentence for each subject whose maps mark nothing at all."""
    images = summary["dataset"]["images"]
    return [
        f"All maps of {name} are flat, {images} of {images}: they are the same everywhere, so that "
        "their alignment with objects says nothing."
        for name, entry in summary["subjects"].items()
        if entry["flat"] == images
    ]


def _range(values: np.ndarray) -> str:
    found = values[np.isfinite(values)]
    return f"{found.max():.2f} to {found.min():.2f}"


def _hits_words(name: str, hits: Mapping[str, Any]) -> list[str]:
    if not hits["images"]:
        return []
    told = (
        f"Of the {counted(hits['images'], 'image')} with the lowest density gap of each class, the "
        f"map of {name} is stronger outside the object than inside in "
        f"{percent(hits['on_background'])} %"
    )
    if cell(hits["target_drop_salient"]):
        told += (
            "; greying what it marks there lowers the explained class's probability by "
            f"{cell(hits['target_drop_salient'])}, greying as much of the background at random by "
            f"{cell(hits['target_drop_random'])}"
        )
    return [told + "."]


def _bars(summary: Summary, metric: str) -> Picture:
    over = "groups" if summary["groups"] else "models"
    return Picture(
        "fig9",
        functools.partial(saliency_figures.alignment_bars, summary, metric),
        f"{METRICS[metric]} of map and object by {over} (left) and by class over all models "
        f"(right), with {100 * summary['statistics']['confidence']:g} % intervals.",
        f"Bar charts of mean {METRICS[metric]} by {over} and by class",
    )


def _heat(found: Alignment, summary: Summary, metric: str) -> Picture:
    classes = summary["statistics"]["classes"]
    return Picture(
        f"heat_{metric}",
        functools.partial(saliency_figures.heat_map, found, metric, classes),
        f"{METRICS[metric].capitalize() if metric != 'iou' else 'IoU'} by model and {classes} "
        "class; means weigh classes and models equally.",
        f"Heat map of mean {METRICS[metric]}, models in rows, classes in columns",
    )


def _galleries(run: Run, found: Alignment, summary: Summary) -> Iterator[Picture]:
    units = read_json(run.path / "units.json")
    stems = file_names(found.subjects)
    for s, name in list(enumerate(found.subjects))[:GALLERIES]:
        if summary["subjects"][name]["hits"]["images"]:
            file, classes = run.path / units[s]["hits"], summary["statistics"]["classes"]
            yield Picture(
                f"fig7_{stems[name]}",
                functools.partial(gallery, found, s, file, classes),
                f"{name}: the {IN_GALLERY} images of each class with the lowest density gap. "
                "Photo, map, and what the map marks of the background greyed; the object is "
                "outlined. p: of the explained class, before and after; in brackets after greying "
                "as much of the background at random.",
                f"Contact sheet of photos of {name} whose maps lie outside the outlined object",
                photos=True,
            )


def _drops(summary: Summary) -> Picture:
    return Picture(
        "drops",
        functools.partial(saliency_figures.drops, summary),
        "How far the probability of the explained class drops when parts of the background of one "
        "area are greyed: the salient part, a random one, the least salient one.",
        "Dot plots of mean drops of probability by model and greyed part",
    )


def _finder_words(summary: Summary) -> str:
    options = summary["statistics"]
    return (
        f"Images filed under each {options['classes']} class are sorted by the density gap, the "
        "map's mean inside the object minus its mean outside; the lowest "
        f"{options['hits']} are the hits. There are lowest ones for every model: what tells is how "
        "many of them have a gap below 0, and whether greying what the map marks matters."
    )


def _counterfactual_words(settings: Mapping[str, Any]) -> str:
    return (
        f"The background where the map exceeds {settings['threshold']:g} of its maximum is greyed. "
        f"For comparison as many pixels of the background are greyed in random blotches (mean of "
        f"{counted(settings['draws'], 'draw')}), and where the map is lowest. Images whose map "
        "marks no background are left out and counted."
    )


def _method(settings: Mapping[str, Any], mask: str) -> list[str]:
    target = {"predicted": "predicted class", "label": "true class"}[settings["target"]]
    above = {"binary": "above one half", "soft": "above 0, as released"}[mask]
    flat = {
        "nan": "is left out of the means and counted",
        "zero": "counts as a map of zeros, as released",
    }[settings["flat"]]
    return [
        f"Maps of {', '.join(settings['methods'])} explain the logit of the {target}, resized to "
        f"the image (scaling {settings['scaling']}); a map without a highest place {flat}. The "
        f"object is where the mask is {above}.",
        f"IoU and Dice binarise the map at {settings['threshold']:g} of its maximum, values equal "
        f"to it {settings['ties']}. Density gap: mean inside minus mean outside. Mass inside: the "
        "share of the map's sum. Coverage: the share of the object covered by what is left when "
        "the weakest pixels with 25, 50 or 75 % of the mass are cut. Pointing game: whether the "
        f"maximum is on the object (tolerance {settings['tolerance']} pixels).",
    ]


def _caveats(found: Alignment, summary: Summary, dataset: str) -> list[tuple[str, str]]:
    counts = summary["dataset"]["classes"]
    smallest = min(counts, key=counts.__getitem__)
    caveats = [
        ("That a network uses what its map marks.",
         "A map is one method's account of a network; methods disagree. The study itself found "
         "that alignment does not show the differences in noise sensitivity. Greying tests the "
         "account, on the pixels it marks."),
        ("That greying removes information and nothing else.",
         "A grey patch is itself something no photo has. That is why as much of the background is "
         "greyed elsewhere; blotches have other shapes than maps."),
        ("That hits are typical.",
         "They are the extremes of each class, chosen by the same maps that are then scored. "
         "Their intervals say how they would move with the choice among them, no more."),
        ("That other training runs or images would agree.",
         f"Intervals resample {counted(len(found.names), 'image')} within their class; the "
         f"smallest, {smallest}, has {counts[smallest]}. They are not adjusted for the number of "
         "comparisons."),
    ]  # fmt: skip
    if dataset == "scenes":
        caveats.append(
            ("Anything about photographs.",
             "The pictures are drawn by the renderer that ships with the package; they show that "
             "the measurement works where the truth is known."),
        )  # fmt: skip
    return caveats


def _several(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    return distinct[0] if len(distinct) == 1 else counted(len(distinct), "model")
