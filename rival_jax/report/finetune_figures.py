"""Drawings of a finetuning: the comparison, the training curves, maps before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rival_jax.report.examples import sheet
from rival_jax.report.figures import Drawn
from rival_jax.report.finetune import ORIGINAL, Summary
from rival_jax.report.lettering import letters
from rival_jax.report.style import COLOURS, FAINT, INK, MUTED, look

ENDS = ("estimate", "low", "high")
MOST_CURVES = 8


def comparison(summary: Summary, tests: Sequence[str]) -> Drawn:
    """Accuracy on every test set, and RFS, of every variant; the original as a line."""
    variants = summary["variants"]
    norms = list(variants[ORIGINAL].get("noise", {}))
    panels = [(test, "accuracy, %") for test in tests] + [(norm, "RFS") for norm in norms]
    height, width = 0.9 + 0.27 * len(variants), 2.0 + 2.3 * len(panels)
    figure, lines = Figure(figsize=(width, height)), []
    for column, (name, label) in enumerate(panels):
        place = ((1.9 + 2.3 * column) / width, 0.5 / height, 2.1 / width, 1 - 0.85 / height)
        axes = figure.add_axes(place)
        for row, (variant, entry) in enumerate(variants.items()):
            found = entry["noise"][name]["rfs"] if label == "RFS" else entry["tests"][name]
            interval = found if label == "RFS" else found["accuracy"]
            colour = MUTED if variant == ORIGINAL else COLOURS[0]
            axes.hlines(row, interval["low"], interval["high"], color=colour, lw=1.4)
            axes.plot(interval["estimate"], row, "o", color=colour, ms=4.5)
            lines.append((variant, name, label, *(interval[end] for end in ENDS)))
            if variant == ORIGINAL:
                axes.axvline(interval["estimate"], color=FAINT, lw=1, zorder=0)
        axes.set_yticks(
            range(len(variants)), list(variants) if not column else [""] * len(variants)
        )
        axes.set(ylim=(len(variants) - 0.5, -0.5), title=name if label != "RFS" else f"RFS, {name}")
        axes.title.set_horizontalalignment("center")
        axes.set_xlabel(label)
        axes.tick_params(axis="y", length=0)
        if label != "RFS":
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    return Drawn(figure, ("variant", "of", "quantity", *ENDS), lines)


def training(curves: Mapping[str, Mapping[str, np.ndarray]]) -> Drawn:
    """The loss of every training over epochs: on its images, dashed, and on what is held out."""
    names = list(curves)[:MOST_CURVES]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure, lines = Figure(figsize=(0.5 + 2.3 * columns, 0.3 + 1.9 * rows)), []
    for number, name in enumerate(names):
        curve, (colour, _) = curves[name], look(number)
        axes = figure.add_subplot(rows, columns, number + 1)
        epochs = curve["epoch"] + 1
        axes.plot(epochs, curve["train"], color=colour, lw=1.2, ls="--")
        axes.plot(epochs, curve["held_out"], color=colour, lw=1.5)
        best = curve["best"]
        axes.plot(epochs[best], curve["held_out"][best], "o", color=INK, ms=4)
        axes.set_title(name, loc="left", fontsize=8)
        axes.set_xlabel("epochs")
        for k, epoch in enumerate(epochs):
            values = (curve["train"][k], curve["held_out"][k], bool(best[k]))
            lines.append((name, int(epoch), *values))
    letters(figure)  # whose sizes the layout follows
    figure.tight_layout()
    return Drawn(figure, ("network", "epochs", "train", "held_out", "best"), lines)


def path(summary: Summary, tests: Sequence[str]) -> Drawn:
    """Accuracy on the last test set over accuracy on the first, along the mixtures of weights."""
    first, last = tests[0], tests[-1]
    figure, lines = Figure(figsize=(4.6, 3.8)), []
    axes = figure.add_axes((0.14, 0.13, 0.82, 0.82))
    variants = summary["variants"]
    for number, (variant, mixtures) in enumerate(summary["mixtures"].items()):
        stops = {0.0: variants[ORIGINAL], 1.0: variants[variant]}
        stops |= {float(alpha): entry for alpha, entry in mixtures.items()}
        points = []
        for alpha in sorted(stops):
            found = [stops[alpha]["tests"][test]["accuracy"]["estimate"] for test in (first, last)]
            points.append(found)
            lines.append((variant, alpha, *found))
        colour, marker = look(number)
        line = np.array(points).T
        axes.plot(*line, color=colour, marker=marker, ms=4, lw=1.2, label=variant)
    axes.set_xlabel(f"accuracy, {first}, %")
    axes.set_ylabel(f"accuracy, {last}, %")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes.legend(frameon=False, fontsize=7)
    return Drawn(figure, ("variant", "alpha", first, last), lines)


def maps(shown: Sequence[Mapping[str, Any]]) -> Drawn:
    """A column for each image: the photo, its mask, and its map before and after."""
    cells, lines = [], []
    for column, one in enumerate(shown):
        mask = np.repeat(one["mask"][..., None], 3, axis=2)
        before, after = one["predicted"]
        cells += [
            (0, column, one["image"], one["label"], ""),
            (1, column, mask, "mask" if not column else "", ""),
            (2, column, _over(one["image"], one["before"]), "before" if not column else "", before),
            (3, column, _over(one["image"], one["after"]), "after" if not column else "", after),
        ]
        lines.append((one["example"], one["label"], one["network"], before, after))
    return Drawn(sheet(cells), ("example", "class", "network", "says_before", "says_after"), lines)


def _over(photo: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """A map in [0, 1] laid over its photo."""
    weight = 0.7 * np.nan_to_num(strength)[..., None]
    heat = 255 * colormaps["inferno"](np.nan_to_num(strength))[..., :3]
    return ((1 - weight) * photo + weight * heat).astype(np.uint8)
