"""The report of parts taken away: tables, figures and words."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rival_jax import significance
from rival_jax.report import attributes
from rival_jax.report import attributes_figures as figures
from rival_jax.report.attributes import Summary
from rival_jax.report.document import Document, Picture, Section, write_document
from rival_jax.report.rows import read_json
from rival_jax.report.tables import Table, counted, percent
from rival_jax.report.verdicts import METHOD, RATE, Verdict, verdicts
from rival_jax.runtime.results import Run

FIRST = 3  # attributes that the headline names


def write(
    run: Run,
    console: Console,
    paths: Sequence[Path],
    labels: Mapping[str, Path],
    shown: Callable[[], figures.Shown] | None,
) -> Summary:
    """Writes tables, figures and report.html of a run; returns the summary.

    Args:
      paths: of the units of rows.
      labels: the files "labels" and "classifier".
      shown: gives (attribute, example, {change: uint8 [h, w, 3]}); None if no image lends a part.
    """
    data, options = read_json(run.path / "data.json"), run.config["statistics"]
    found = attributes.read(paths, data["classes"])
    summary = attributes.summarise(found, pooling=run.config["ablation"]["pooling"], **options)
    summary["labels"] = attributes.label_summary(labels, data["classes"], **options)
    run.save_json("summary.json", summary)
    write_document(run, console, _document(run.config, summary, shown))
    return summary


def headline(summary: Summary) -> list[str]:
    """Which parts count most for each model, beyond their size; and what attributes alone tell."""
    sentences = []
    for model, ranking in list(summary["ranking"].items())[:6]:
        entries = {name: summary["attributes"][name]["models"][model] for name in ranking}
        told = _excesses(summary, model)
        sure = [
            n
            for n, e in entries.items()
            if told[n].differs and e["probability_excess"]["estimate"] > 0
        ]
        if not sure:
            sentences.append(
                f"{model}: the images show no part to cost more probability than a random region "
                "of its size."
            )
            continue
        most = ", ".join(
            f"{name} ({percent(entries[name]['probability_excess'])} points)"
            for name in sure[:FIRST]
        )
        sentences.append(
            f"{model}: beyond a random region of equal area, the true class's probability falls "
            f"most without {most}."
        )
    accuracy = percent(summary["labels"]["classifier"]["accuracy"])
    sentences.append(
        f"A linear classifier of the attribute labels alone is right on {accuracy} % of the images "
        "(93.3 % in the study, on all of RIVAL10)."
    )
    return sentences


def by_model(summary: Summary, model: str) -> Table:
    """All attributes for one model, by excess."""
    rows, told = [], _excesses(summary, model)
    for name in summary["ranking"][model]:
        entry = summary["attributes"][name]
        found = entry["models"][model]
        rows.append(
            (
                name,
                str(entry["images"]),
                f"{100 * entry['area']:.0f}",
                percent(found["accuracy_drop"]),
                percent(found["control_accuracy_drop"]),
                percent(found["probability_drop"]),
                percent(found["control_probability_drop"]),
                percent(found["probability_excess"]),
                told[name].word,
                told[name].p,
            )
        )
    header = ("attribute", "images", "area, % of object", "accuracy drop", "control",
              "probability drop", "control", "difference", "differs", "p")  # fmt: skip
    return Table(f"{model}: drops in points when an attribute is greyed", header, rows)


def _excesses(summary: Summary, model: str) -> dict[str, Verdict]:
    """Whether an attribute costs a model more, or less, than its control: those of one table."""
    entries = summary["attributes"]
    told = verdicts(
        [entry["models"][model]["probability_excess"] for entry in entries.values()],
        summary["statistics"],
        [entry["images"] for entry in entries.values()],
        significance.benjamini_hochberg,
    )
    return dict(zip(entries, told, strict=True))


def swaps(summary: Summary) -> Table:
    """What the same part of another class does, for every model and attribute."""
    rows = []
    for name, entry in summary["attributes"].items():
        for model, found in entry["models"].items():
            if swap := found.get("swap"):
                keys = ("accuracy_drop", "probability_drop", "probability_drop_beyond_grey")
                cells = [percent(swap[key]) for key in (*keys, "lender_probability_rise")]
                rows.append((name, model, str(swap["images"]), *cells))
    header = ("attribute", "model", "images", "accuracy drop", "probability drop",
              "probability drop beyond grey", "rise of the lender's class")  # fmt: skip
    return Table("Swapped for the same attribute of another class, points", header, rows)


def differences(summary: Summary) -> Table:
    """Every pair of models: difference of their excess."""
    pairs = [
        (name, entry["images"], pair)
        for name, entry in summary["attributes"].items()
        for pair in entry["differences"]
    ]
    told = verdicts(
        [pair["probability_excess"] for _, _, pair in pairs],
        summary["statistics"],
        [images for _, images, _ in pairs],
        significance.benjamini_hochberg,
    )
    rows = [
        (
            name,
            f"{pair['model']} minus {pair['minus']}",
            percent(pair["probability_excess"]),
            verdict.word,
            verdict.p,
        )
        for (name, _, pair), verdict in zip(pairs, told, strict=True)
    ]
    header = ("attribute", "models", "difference in excess, points", "differs", "p")
    return Table("Differences between models", header, rows)


def _document(
    config: Mapping[str, Any], summary: Summary, shown: Callable[[], figures.Shown] | None
) -> Document:
    drawn = [
        Picture("ranks", functools.partial(figures.ranks, summary), *RANKS_TEXT),
        Picture("models", functools.partial(figures.models, summary), *MODELS_TEXT),
        Picture("classes", functools.partial(figures.classes, summary), *CLASSES_TEXT),
    ]
    fig3 = Picture("fig3", functools.partial(figures.figure_3, summary["labels"]), *FIG3_TEXT)
    photos = []
    if shown:
        draw = lambda: figures.contact(shown())  # noqa: E731
        photos = [Picture("photos", draw, *PHOTOS_TEXT, photos=True)]
    swapped = swaps(summary)
    compared = differences(summary)
    return Document(
        title="Parts taken away",
        subtitle=f"{counted(len(summary['ranking']), 'model')}, "
        f"{counted(len(summary['attributes']), 'attribute')}",
        headline=headline(summary),
        sections=[
            Section(
                "What counts",
                pictures=drawn,
                tables=[by_model(summary, m) for m in summary["ranking"]],
            ),
            Section("Swaps", tables=[swapped] if swapped.rows else []),
            Section("Comparisons", tables=[compared] if compared.rows else []),
            Section("Attributes and classes", pictures=[fig3], tables=[]),
            Section("What the networks were shown", pictures=photos),
        ],
        method=_method(config),
        caveats=CAVEATS,
        source="The measurement is due to Moayeri et al., RIVAL10, CVPR 2022; its code greys parts "
        "without a control.",
    )


def _method(config: Mapping[str, Any]) -> list[str]:
    c = config["ablation"]
    kept = {"kept": "The background is kept.", "black": "The background is black throughout."}
    pooled = {
        "classes": "Numbers are means over images of a class, then over the classes that have the "
        "attribute.",
        "images": "Numbers are means over all images that have the attribute (as released).",
    }
    return [
        f"Each attribute is replaced by grey {c['grey']:g} in the images that have it. "
        f"{kept[c['background']]} {pooled[c['pooling']]}",
        f"Control: in the same image, the pixels of the object nearest to a random one of them, as "
        f"many as the attribute's area, grey likewise; mean over {counted(c['draws'], 'draw')}. "
        "It may cover the attribute, and does where the attribute is the whole object, so that the "
        "difference is then 0 by construction.",
        "Swap: the same attribute of an image of another class, filled up from its surroundings, "
        "moved and stretched box to box, shown inside the attribute's mask.",
        "Brackets are bootstrap intervals with images as the clusters, resampled within classes; "
        "drops, controls and swaps are paired over the same images.",
        METHOD.format(RATE),
    ]


RANKS_TEXT = (
    "Drop in the true class's probability when an attribute is grey (filled), and when a random "
    "region of its area in the same object is (open), with intervals; largest difference first.",
    "Dot plots by attribute and model; numbers in the CSV",
)
MODELS_TEXT = (
    "Drop in accuracy and in the true class's probability when an attribute is grey, points, and "
    "what of it goes beyond the control's; with means of rows and columns.",
    "Heat maps of attributes by models; numbers in the CSV",
)
CLASSES_TEXT = (
    "By class: drop in probability beyond the control, points.",
    "Heat maps of attributes by classes for each model; numbers in the CSV",
)
FIG3_TEXT = (
    "Figure 3: correlations between attribute labels, and the share of every class's images that "
    "has an attribute, on the training split. Empty: an attribute that all images have, or none.",
    "Heat maps of correlations and class means; numbers in the CSV",
)
PHOTOS_TEXT = (
    "One image for each attribute: as it is, attribute grey, a random region of its area grey, "
    "attribute swapped for that of another class.",
    "Contact sheet: a column for each attribute, a row for each change",
)
CAVEATS = [
    (
        "That a part with a small difference is not used.",
        "Other parts may carry the same evidence; only one is taken away at a time. And an "
        "attribute of the whole object has no smaller control: its difference is near 0 whatever "
        "it is worth.",
    ),
    (
        "That shape plays no role.",
        "The control has the part's area, not its outline: it is compact, where wheels or ears are "
        "several pieces at the rim.",
    ),
    (
        "Every finding at once.",
        "Of the differences marked, one in twenty is expected to be false. Intervals are for one "
        "attribute and model each, and are not adjusted.",
    ),
]
