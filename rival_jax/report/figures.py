"""The study's figures 2, 4 and 6: drawing only, the numbers come from `numbers` and the summary.

Each function returns what it drew and the same numbers as a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rival_jax.report import numbers
from rival_jax.report.cubes import ends
from rival_jax.report.lettering import margin
from rival_jax.report.style import FAINT, INK, MUTED, end_labels, look, point_labels
from rival_jax.report.summary import Summary
from rival_jax.report.sweep import Sweep
from rival_jax.report.tables import norm_title, ranked

CURVES_IN_COLOUR = 8  # in figure 4; the groups between the highest and the lowest RFS are grey
CLASSES_AS_POINTS = 20  # in figure 2, per model; none with more models than
MODELS_WITH_CLASSES = 8
MODELS_AS_PANELS = 5  # in figures 1 and 5, and among the examples of the page
LEVEL_AXES = {
    "linf": "\N{GREEK SMALL LETTER SIGMA} of the noise, out of 255",
    "l2": "l2 norm of the noise",
}
SMALLEST_MARKER = 16.0  # points squared


class Drawn(NamedTuple):
    """A figure, and the numbers in it as the header and lines of a CSV file."""

    figure: Figure
    header: Sequence[str]
    lines: Sequence[Sequence[Any]]


class Material(NamedTuple):
    """What figures are drawn from."""

    sweep: Sweep
    summary: Summary
    groups: Mapping[str, Sequence[str]]

    def look(self, model: str) -> tuple[str, str]:
        """Colour and marker of a model: those of its group."""
        members = list(self.groups.values())
        return look(next(g for g, names in enumerate(members) if model in names))

    def entry(self, group: str, norm: str) -> dict[str, Any]:
        """A group's part of the summary; a group of one model is that model."""
        groups, models = self.summary["groups"], self.summary["models"]
        return (groups.get(group) or models[self.groups[group][0]])[norm]


def accuracies(material: Material, norm: str) -> Drawn:
    """Figure 2: accuracy under background noise over accuracy under foreground noise."""
    sweep, noise = material.sweep, material.sweep.noise[norm]
    pair = [noise.regions.index(name) for name in ("foreground", "background")]
    points = numbers.scatter(noise.accuracy[:, :, pair])
    areas = numbers.marker_area(np.array([card.get("parameters") or 0 for card in sweep.cards]))
    sizes = np.maximum(areas, SMALLEST_MARKER)
    entries = [material.summary["models"][name][norm] for name in sweep.models]
    bars = np.array(
        [[_ends(e[f"accuracy_{side}"]["mean"]) for side in ("fg", "bg")] for e in entries]
    )
    looks = [material.look(name) for name in sweep.models]

    figure = Figure(figsize=(5.4, 5.2))
    axes = figure.add_axes((0.11, 0.1, 0.86, 0.87))
    shown = _most_different(points.classes)
    everything = [points.classes[:, shown].ravel(), points.models.ravel(), bars.ravel()]
    _unit_square(axes, np.concatenate(everything))
    for m, (colour, _) in enumerate(looks):
        classes = points.classes[m, shown]
        axes.scatter(*classes.T, s=9, color=colour, alpha=0.3, linewidths=0)
        axes.hlines(points.models[m, 1], *bars[m, 0], color=colour, lw=1.1)
        axes.vlines(points.models[m, 0], *bars[m, 1], color=colour, lw=1.1)
    for m in np.argsort(-sizes):
        colour, marker = looks[m]
        style = {"color": colour, "marker": marker, "edgecolor": "white", "linewidths": 0.8}
        axes.scatter(*points.models[m], s=sizes[m], zorder=3, **style)
    axes.set_xlabel("accuracy under foreground noise, %")
    axes.set_ylabel("accuracy under background noise, %")
    colours = [colour for colour, _ in looks]
    point_labels(axes, points.models, _covered(points.models, bars), sweep.models, colours)
    header = ("model", "class", "accuracy_fg", "accuracy_bg", "fg_low", "fg_high", "bg_low",
              "bg_high", "marker_area")  # fmt: skip
    lines: list[Sequence[Any]] = []
    for m, name in enumerate(sweep.models):
        lines.append((name, "", *points.models[m], *bars[m].ravel(), areas[m]))
        for label, point in zip(sweep.classes, points.classes[m], strict=True):
            lines.append((name, label, *point, "", "", "", "", ""))
    return Drawn(figure, header, lines)


def curves(material: Material, norm: str) -> Drawn:
    """Figure 4: accuracy under foreground noise, under background noise, and RFS, over levels."""
    sweep, groups = material.sweep, material.groups
    noise = sweep.noise[norm]
    drawn = numbers.group_curves(noise, sweep.models, groups)
    entries = [material.entry(group, norm) for group in groups]
    order = np.argsort([entry["rfs_of_means"]["estimate"] for entry in entries]).tolist()
    half = CURVES_IN_COLOUR // 2
    bright = sorted({*order[:half], *order[-half:]})
    bounds = [  # of every panel, [g, l, 2]
        np.array([[_ends(i) for i in entry["accuracy_fg"]["by_level"]] for entry in entries]),
        np.array([[_ends(i) for i in entry["accuracy_bg"]["by_level"]] for entry in entries]),
        np.array([[_ends(i) for i in entry["rfs_by_level"]] for entry in entries]),
    ]
    titles = ("accuracy, foreground noise, %", "accuracy, background noise, %", "RFS")
    names = [list(groups)[g] for g in bright]
    width = 8.1 + 0.95 * margin(names)
    figure = Figure(figsize=(width, 2.9))
    ticks = noise.levels * (255 if norm == "linf" else 1)
    for column, title in enumerate(titles):
        axes = figure.add_axes(((0.4 + 2.65 * column) / width, 0.17, 2.2 / width, 0.72))
        for g in range(len(groups)):
            colour, marker = look(g) if g in bright else (FAINT, "")
            axes.plot(ticks, drawn[column][g], color=colour, marker=marker, ms=3.5, lw=1.4)
            if g in bright:
                axes.fill_between(ticks, *bounds[column][g].T, color=colour, alpha=0.15, lw=0)
                if len(ticks) == 1:
                    axes.vlines(ticks, *bounds[column][g].T, color=colour, lw=1.2)
        axes.set_title(title, loc="left")
        axes.set_xlabel(LEVEL_AXES[norm])
        axes.set_xticks(ticks if len(ticks) <= 8 else ticks[::2])
        if column < 2:
            axes.set_ylim(_around(np.stack(bounds[:2])))
            _percent(axes.yaxis)
    axes.axhline(0, color=FAINT, lw=0.8, zorder=0)
    end_labels(axes, drawn.rfs[bright, -1], names, [look(g)[0] for g in bright])
    ends = (f"{name}_{end}" for name in ("fg", "bg", "rfs") for end in ("low", "high"))
    lines = [
        (group, level, *(c[g, k] for c in drawn), *(x for b in bounds for x in b[g, k]))
        for g, group in enumerate(groups)
        for k, level in enumerate(noise.levels.tolist())
    ]
    return Drawn(figure, ("group", "level", *drawn._fields, *ends), lines)


def bars(material: Material) -> Drawn:
    """Figure 6: RFS of the accuracies averaged over levels and classes, per model and norm."""
    norms, models = list(material.sweep.noise), material.summary["models"]
    names = ranked(material.summary, norms[0])
    height = 0.8 + 0.27 * len(names)
    room = max(1.8, margin(names) + 0.1)  # inches
    figure = Figure(figsize=(room + 0.1 + 3.2 * len(norms), height))
    left = room / (room + 0.1 + 3.2 * len(norms))
    width = (1 - left) / len(norms)
    lines = []
    limits = [0.0]
    panels = []
    for column, norm in enumerate(norms):
        axes = figure.add_axes(
            (left + column * width, 0.5 / height, width * 0.93, 1 - 0.8 / height)
        )
        panels.append(axes)
        for row, name in enumerate(names):
            interval = models[name][norm]["rfs_of_means"]
            low, high = _ends(interval)
            colour, _ = material.look(name)
            axes.barh(row, interval["estimate"], height=0.62, color=colour, alpha=0.55, lw=0)
            axes.hlines(row, low, high, color=INK, lw=1.2)
            limits += [low, high]
            lines.append((name, norm, *ends(interval).values()))
        axes.set_yticks(range(len(names)), names if column == 0 else [""] * len(names))
        axes.axvline(0, color=MUTED, lw=0.8)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_title(norm_title(norm), loc="left")
        axes.set_xlabel("RFS")
    for axes in panels:
        axes.set_xlim(min(limits) - 0.03, max(limits) + 0.03)
    return Drawn(figure, ("model", "norm", "rfs_of_means", "low", "high"), lines)


def _unit_square(axes: Axes, values: np.ndarray) -> None:
    """Limits around the values, where both noises hurt equally, and lines of constant RFS."""
    axes.set(xlim=_around(values), ylim=_around(values))
    _percent(axes.xaxis)
    _percent(axes.yaxis)
    axes.plot([0, 1], [0, 1], color=FAINT, lw=1, zorder=0)
    mean = np.array([0, 0.5, 1])
    for value in (-0.75, -0.5, -0.25, 0.25, 0.5, 0.75):
        half = value * np.minimum(mean, 1 - mean)
        axes.plot(mean - half, mean + half, color=FAINT, lw=0.6, ls=":", zorder=0)
    place = {"transform": axes.transAxes, "va": "center", "fontsize": 8, "color": MUTED}
    axes.text(0.02, 0.98, "foreground matters more", ha="left", **place)
    axes.text(0.98, 0.02, "background matters more", ha="right", **place)


def _covered(models: np.ndarray, bars: np.ndarray) -> np.ndarray:
    """Boxes [2 m, 4] around the intervals of points, wide enough to cover the markers too."""
    centre, edge = np.tile(models, 2), 0.008 * np.array([-1, -1, 1, 1])
    across, upright = centre.copy(), centre.copy()
    across[:, [0, 2]], upright[:, [1, 3]] = bars[:, 0], bars[:, 1]
    return np.concatenate([across, upright]) + edge


def _percent(axis: Axis) -> None:
    axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))


def _around(accuracies: np.ndarray) -> tuple[float, float]:
    return max(accuracies.min() - 0.04, -0.02), min(accuracies.max() + 0.04, 1.02)


def _ends(interval: Mapping[str, float]) -> tuple[float, float]:
    return interval["low"], interval["high"]


def _most_different(classes: np.ndarray) -> np.ndarray:
    """The classes to show [k]: all, or those with the largest and smallest gap between noises."""
    if len(classes) > MODELS_WITH_CLASSES:
        return np.array([], int)
    gap = (classes[..., 1] - classes[..., 0]).mean(0)
    order, half = np.argsort(gap), CLASSES_AS_POINTS // 2
    return np.unique(np.concatenate([order[:half], order[-half:]]))
