"""The report of a finetuning: comparison, sets A and B, classes, curves, maps before and after."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from rival_jax.report import finetune
from rival_jax.report import finetune_figures as figures
from rival_jax.report.document import Document, Picture, Section, write_document
from rival_jax.report.finetune import ORIGINAL, Summary
from rival_jax.report.rows import read_json
from rival_jax.report.tables import Table, counted, percent, ratio
from rival_jax.runtime.results import Run

Shown = Callable[[], Sequence[Mapping[str, Any]]]


def write(run: Run, console: Console, tests: Sequence[str], shown: Shown) -> Summary:
    """Writes summary.json, figures/, tables.md and report.html; returns the summary.

    Args:
      tests: names of the test sets.
      shown: gives images with their maps, see `finetune_figures.maps`.
    """
    data = read_json(run.path / "data.json")
    found = finetune.read(run.path, tests, data["classes"])
    summary = finetune.summarise(found, **run.config["statistics"])
    summary["saved"] = read_json(run.path / "units.json")["saved"]
    run.save_json("summary.json", summary)
    curves = finetune.curves(run.path)
    write_document(run, console, _document(run.config, summary, list(tests), curves, shown))
    console.print(f"the finetuned networks: {run.path / 'models'}")
    return summary


def _document(
    config: Mapping[str, Any],
    summary: Summary,
    tests: list[str],
    curves: Mapping[str, Any],
    shown: Shown,
) -> Document:
    pictures = [
        Picture("comparison", functools.partial(figures.comparison, summary, tests), *COMPARISON)
    ]
    drawn = Picture("maps", lambda: figures.maps(shown()), *MAPS, photos=True)
    learned = Picture("training", functools.partial(figures.training, curves), *TRAINING)
    sections = [
        Section(
            "Before and after",
            pictures=pictures,
            tables=[levels(summary, tests), gains(summary, tests)],
        ),
        Section("Where it looks", pictures=[drawn], tables=[alignment(summary, tests)]),
        Section(
            "Classes with masks and without", tables=[sets(summary, tests), classes(summary, tests)]
        ),
        Section("Training", pictures=[learned], tables=[seeds(summary, tests)]),
    ]
    if summary["mixtures"]:
        line = Picture("path", functools.partial(figures.path, summary, tests), *PATH)
        mixed = Section(
            "Between the original and the finetuned weights", (), [line], [mixtures(summary, tests)]
        )
        sections.insert(3, mixed)
    return Document(
        title="Relevance finetuning, before and after",
        subtitle=f"{config['models'][0]}, {counted(len(summary['variants']) - 1, 'variant')}, "
        f"{counted(len(config['seeds']), 'seed')}",
        headline=headline(summary, tests),
        sections=sections,
        method=method(config, summary),
        caveats=CAVEATS,
        source="The method is due to Chefer et al., NeurIPS 2022 (RobustViT).",
    )


def headline(summary: Summary, tests: Sequence[str]) -> list[str]:
    """A sentence for each variant: what it gained where, and RFS."""
    sentences = []
    for name, entry in _tuned(summary).items():
        told = [
            f"{_points(entry['tests'][test]['accuracy_gain'])} points on {test}" for test in tests
        ]
        looked = entry["tests"][tests[-1]]
        where = f"IoU of its maps {_points(looked['iou_gain'])} points"
        sentence = f"{name}: accuracy {', '.join(told)}; {where}"
        for norm, noise in entry.get("noise", {}).items():
            sentence += f"; RFS ({norm}) {ratio(noise['rfs_gain'])}"
        sentences.append(sentence + ".")
    return sentences[:8]


def levels(summary: Summary, tests: Sequence[str]) -> Table:
    """Accuracy on every test set, IoU of the maps on the last, and RFS."""
    norms = _norms(summary)
    rows = [
        (
            name,
            *(percent(entry["tests"][test]["accuracy"]) for test in tests),
            percent(entry["tests"][tests[-1]]["iou"]),
            *(ratio(entry["noise"][norm]["rfs"]) for norm in norms),
        )
        for name, entry in summary["variants"].items()
    ]
    header = ("variant", *tests, f"IoU, {tests[-1]}", *(f"RFS, {norm}" for norm in norms))
    return Table("Accuracy and IoU, percent, and RFS; means over seeds", header, rows)


def gains(summary: Summary, tests: Sequence[str]) -> Table:
    """The same minus the original's, on the same images."""
    norms = _norms(summary)
    rows = [
        (
            name,
            *(percent(entry["tests"][test]["accuracy_gain"]) for test in tests),
            percent(entry["tests"][tests[-1]]["iou_gain"]),
            *(ratio(entry["noise"][norm]["rfs_gain"]) for norm in norms),
        )
        for name, entry in _tuned(summary).items()
    ]
    header = ("variant", *tests, f"IoU, {tests[-1]}", *(f"RFS, {norm}" for norm in norms))
    return Table("Gained over the original, points and RFS, paired", header, rows)


def alignment(summary: Summary, tests: Sequence[str]) -> Table:
    """How well maps find objects."""
    names = ("iou", "pixel_accuracy", "average_precision")
    rows = [
        (name, test, *(percent(entry["tests"][test][measure]) for measure in names))
        for name, entry in summary["variants"].items()
        for test in tests
    ]
    header = ("variant", "test set", "IoU", "pixel accuracy", "average precision")
    return Table("Maps cut at their mean against masks, percent", header, rows)


def sets(summary: Summary, tests: Sequence[str]) -> Table:
    """Accuracy and gain on the classes with masks in training (A) and on the others (B)."""
    rows = [
        (name, test, letter, percent(part["accuracy"]), percent(part["accuracy_gain"]))
        for name, entry in _tuned(summary).items()
        for test in tests
        for letter, part in entry["tests"][test]["sets"].items()
    ]
    header = ("variant", "test set", "classes", "accuracy", "gain")
    return Table("Set A: classes with masks in training; set B: without; percent", header, rows)


def classes(summary: Summary, tests: Sequence[str]) -> Table:
    """Gain of every class on the last test set, under every variant."""
    tuned = _tuned(summary)
    first = next(iter(tuned.values()))["tests"][tests[-1]]["classes"]
    masked = set(next(iter(summary["masked"].values())))
    rows = [
        (
            name,
            "A" if name in masked else "B",
            percent(summary["variants"][ORIGINAL]["tests"][tests[-1]]["classes"][name]["accuracy"]),
            *(
                percent(entry["tests"][tests[-1]]["classes"][name]["accuracy_gain"])
                for entry in tuned.values()
            ),
        )
        for name in first
    ]
    header = ("class", "set", "original", *tuned)
    return Table(
        f"Accuracy gained by class on {tests[-1]}, points; sets of the first seed", header, rows
    )


def seeds(summary: Summary, tests: Sequence[str]) -> Table:
    """Every seed's accuracy, and RFS."""
    rows = []
    for name, entry in _tuned(summary).items():
        for place, seed in enumerate(entry["seeds"]):
            each = [f"{100 * entry['tests'][test]['by_seed'][place]:.1f}" for test in tests]
            noisy = [f"{part['by_seed'][place]:+.2f}" for part in entry.get("noise", {}).values()]
            rows.append((name, str(seed), *each, *noisy))
        if len(entry["seeds"]) > 1:
            spread = [f"{100 * np.std(entry['tests'][t]['by_seed'], ddof=1):.1f}" for t in tests]
            noisy = [f"{np.std(p['by_seed'], ddof=1):.2f}" for p in entry.get("noise", {}).values()]
            rows.append((name, "standard deviation", *spread, *noisy))
    header = ("variant", "seed", *tests, *(f"RFS, {norm}" for norm in _norms(summary)))
    return Table("Every seed: accuracy, percent, and RFS", header, rows)


def mixtures(summary: Summary, tests: Sequence[str]) -> Table:
    """Accuracy of weights between the original and the finetuned."""
    rows = []
    for variant, found in summary["mixtures"].items():
        stops = {"0": summary["variants"][ORIGINAL], **found, "1": summary["variants"][variant]}
        for alpha, entry in stops.items():
            rows.append((variant, alpha, *(percent(entry["tests"][t]["accuracy"]) for t in tests)))
    title = "Accuracy of (1 - alpha) original + alpha finetuned weights, percent"
    return Table(title, ("variant", "alpha", *tests), rows)


def method(config: Mapping[str, Any], summary: Summary) -> list[str]:
    """How it was trained and measured, in sentences."""
    train, split, look = config["train"], config["split"], config["evaluate"]
    kind = {"bca": "BCa", "percentile": "percentile"}[summary["statistics"]["method"]]
    part = f", of parameters named {train['trained']!r} alone" if train["trained"] else ""
    share = f"{100 * summary['statistics']['confidence']:g} %"
    held = "of the same classes" if split["validation"] == "training" else "of the other classes"
    return [
        f"Finetuned with AdamW{part}, {train['epochs']} epochs, {train['batch']} images an update, "
        f"first learning rate {train['learning_rate']:g} unless a setting says otherwise, "
        f"{split['per_class']} images with masks of each class of set A. The checkpoint shown is "
        f"the {look['checkpoint']} one; the best epoch is that with the smallest loss on "
        f"{split['validation_per_class']} other images {held}.",
        "Maps are GAE relevance of the "
        f"{look['explained']} class, cut at their mean. RFS is computed from accuracies averaged "
        "over classes and noise levels.",
        f"Brackets: {share} {kind} bootstrap intervals over images, resampled within classes, "
        "of the mean over seeds. What seeds add is in the table of seeds. Gains are paired: the "
        "same images, the same noise.",
    ]


def _tuned(summary: Summary) -> dict[str, Any]:
    return {name: entry for name, entry in summary["variants"].items() if name != ORIGINAL}


def _norms(summary: Summary) -> list[str]:
    return list(summary["variants"][ORIGINAL].get("noise", {}))


def _points(interval: Mapping[str, float]) -> str:
    estimate, low, high = (f"{100 * interval[end]:+.1f}" for end in ("estimate", "low", "high"))
    return f"{estimate} [{low}, {high}]"


COMPARISON = (
    "Every variant on every test set, and its RFS, with intervals; the line is the original.",
    "Intervals of accuracy and RFS for the original network and every finetuned variant.",
)
TRAINING = (
    "The total loss over epochs: on the training images (dashed) and on held-out images; the dot "
    "is the epoch kept as best. Epoch 0 is the original.",
    "Training and held-out loss of each training over epochs.",
)
MAPS = (
    "Images of the last test set, one of each class: the photo, its mask, and the relevance of the "
    "predicted class before and after the first variant's finetuning; above the maps what the "
    "network says.",
    "Photos, masks and relevance maps before and after finetuning.",
)
PATH = (
    "Accuracy along the straight line between the original's weights and the finetuned ones.",
    "Accuracy on two test sets for mixtures of weights.",
)
CAVEATS = [
    (
        "That a map on the object means the decision rests on it.",
        "The loss trains the maps themselves, so their IoU must rise; accuracy on other "
        "backgrounds and RFS are the independent evidence.",
    ),
    (
        "How the result varies over training images, beyond the seeds run.",
        "Intervals resample test images; few seeds say little of how another choice of training "
        "images would end.",
    ),
    (
        "That one variant beats another by more than its tuning.",
        "All variants share learning rate and epochs unless the config says otherwise; a variant "
        "tuned for itself may do better.",
    ),
]
