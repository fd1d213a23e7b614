"""Drawings of backgrounds and objects taken away: figure 8, all treatments, the photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rival_jax.report import cubes
from rival_jax.report.background import Summary, first_of, regions_of, treatments_of
from rival_jax.report.examples import sheet
from rival_jax.report.figures import Drawn
from rival_jax.report.lettering import margin
from rival_jax.report.style import COLOURS, FAINT, INK, MUTED

HEADS = {"normal": "head fitted on photos", "grey": "head fitted on grey backgrounds"}
PANELS = 6  # models that the figure of all treatments shows
Shown = Sequence[tuple[str, str, Mapping[str, np.ndarray]]]
"""Images to look at: (example, class, {what was done: uint8 [h, w, 3]})."""


def bars(summary: Summary) -> Drawn:
    """Figure 8: accuracy on grey backgrounds for every group, left and right for the two heads."""
    groups, heads = summary["groups"], list(first_of(summary["groups"])["heads"])
    height = 0.9 + 0.3 * len(groups)
    room = max(1.9, margin(groups) + 0.1)  # inches
    whole = room + 0.1 + 3.0 * len(heads)
    figure = Figure(figsize=(whole, height))
    lines = []
    for column, head in enumerate(heads):
        width = 3.0 / whole
        left = room / whole + column * width
        axes = figure.add_axes((left, 0.5 / height, width * 0.9, 1 - 0.8 / height))
        for row, (group, entry) in enumerate(groups.items()):
            grey = entry["heads"][head]["grey"]["background"]["accuracy"]
            clean = entry["heads"][head]["clean"]["accuracy"]
            axes.barh(row, grey["estimate"], height=0.6, color=COLOURS[0], alpha=0.55, lw=0)
            axes.hlines(row, grey["low"], grey["high"], color=INK, lw=1.2)
            axes.vlines(clean["estimate"], row - 0.36, row + 0.36, color=COLOURS[1], lw=1.6)
            lines.append((group, head, *cubes.ends(grey).values(), *cubes.ends(clean).values()))
        axes.set_yticks(range(len(groups)), list(groups) if not column else [""] * len(groups))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set(ylim=(len(groups) - 0.4, -0.6), xlim=(0, 1))
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
        axes.set_title(HEADS.get(head, f"head: {head}"), loc="left")
        axes.set_xlabel("accuracy, %")
    ends = ("estimate", "low", "high")
    header = ("group", "head", *ends, *(f"clean_{end}" for end in ends))
    return Drawn(figure, header, lines)


def treatments(summary: Summary) -> Drawn:
    """The drop in accuracy under every treatment of either region, for the first head."""
    names, regions = treatments_of(summary), regions_of(summary)
    models = list(summary["models"])[:PANELS]
    height, width = 0.9 + 0.36 * len(names), 1.0 + 2.1 * len(models)
    figure = Figure(figsize=(width, height))
    lines, panels = [], []
    for column, model in enumerate(models):
        place = (0.9 + 2.1 * column) / width
        axes = figure.add_axes((place, 0.5 / height, 1.9 / width, 1 - 0.8 / height))
        entry = first_of(summary["models"][model])
        for row, name in enumerate(names):
            for r, region in enumerate(regions):
                drop, y = entry[name][region]["accuracy_drop"], row + 0.2 * (r - 0.5)
                axes.hlines(y, drop["low"], drop["high"], color=COLOURS[r], lw=1.2)
                axes.plot(drop["estimate"], y, "os"[r], color=COLOURS[r], ms=4.5)
                lines.append((model, name, region, *cubes.ends(drop).values()))
        panels.append(axes)
        axes.axvline(0, color=MUTED, lw=0.8)
        axes.set_yticks(range(len(names)), names if not column else [""] * len(names))
        axes.set(ylim=(len(names) - 0.5, -0.5))
        axes.grid(axis="x", color=FAINT, lw=0.4)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
        axes.set_title(model, loc="left")
        axes.set_xlabel("drop in accuracy, points")
    limits = [axes.get_xlim() for axes in panels]
    for axes in panels:
        axes.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))
    return Drawn(figure, ("model", "treatment", "region", "estimate", "low", "high"), lines)


def contact(shown: Shown) -> Drawn:
    """A column for each image, a row for everything that was done to it."""
    cells, lines = [], []
    for column, (name, label, pictures) in enumerate(shown):
        for row, (what, picture) in enumerate(pictures.items()):
            title = label if row == 0 else ("" if column else what)
            cells.append((row, column, picture, title, ""))
        lines.append((label, name, *pictures))
    header = ("class", "example", *(f"row_{i}" for i in range(len(lines[0]) - 2)))
    return Drawn(sheet(cells), header, lines)
