"""Figures of saliency: bars and heat maps of alignment, and what greying costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rival_jax.report import lettering, saliency
from rival_jax.report.figures import Drawn
from rival_jax.report.saliency import METRICS, Alignment
from rival_jax.report.saliency_summary import Summary, filed
from rival_jax.report.style import FAINT, INK, MUTED, look

ENDS = ("estimate", "low", "high")
MOST_COLUMNS = 20  # classes of a heat map: those with the lowest and the highest mean


def alignment_bars(summary: Summary, metric: str) -> Drawn:
    """Figure 9: a metric's mean by group or model (left) and by class over all of them (right)."""
    means, _ = filed(summary)
    entries = {name: entry[means][metric] for name, entry in summary["subjects"].items()}
    if summary["groups"]:
        entries = {name: _of_group(summary, name, metric) for name in summary["groups"]}
    classes = {name: _of_class(summary, name, metric) for name in summary["class_means"]}
    sides = {"model": entries, "class": classes}
    if summary["groups"]:
        sides = {"group": entries, "class": classes}
    height = 0.8 + 0.25 * max(map(len, sides.values()))
    margins = [_margin(side) for side in sides.values()]
    width, left, lines = sum(margins) + 2 * 2.7 + 0.3, 0.0, []
    figure = Figure(figsize=(width, height))
    for margin, (kind, side) in zip(margins, sides.items(), strict=True):
        order = sorted(side, key=lambda name: -np.nan_to_num(side[name]["estimate"], nan=-9.0))
        room = 0.25 * len(side) / height
        place = ((left + margin) / width, 1 - 0.3 / height - room, 2.6 / width, room)
        axes = figure.add_axes(place)
        left += margin + 2.7
        _bars(axes, {name: side[name] for name in order}, kind == "class")
        axes.set_xlabel(METRICS[metric])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        lines += [(kind, name, *(side[name][end] for end in ENDS)) for name in order]
    ends = [x for line in lines for x in line[2:] if np.isfinite(x)]
    for axes in figure.axes:
        axes.set_xlim(min([0, *ends]) - 0.02, max([0, *ends]) + 0.02)
    return Drawn(figure, ("kind", "name", metric, "low", "high"), lines)


def _margin(names: Iterable[str]) -> float:
    """Inches that names need on the left of the axes."""
    return 0.3 + lettering.margin(names)


def _of_group(summary: Summary, name: str, metric: str) -> dict[str, float]:
    means, _ = filed(summary)
    group = summary["groups"][name]
    if means == "mean":
        return group["mean"][metric]
    column = [summary["subjects"][member][means][metric]["estimate"] for member in group["members"]]
    return _bare(saliency.mean(np.array(column), 0))


def _of_class(summary: Summary, name: str, metric: str) -> dict[str, float]:
    means, by = filed(summary)
    if means == "mean":
        return summary["class_means"][name][metric]
    column = [entry[by][name][metric]["estimate"] for entry in summary["subjects"].values()]
    return _bare(saliency.mean(np.array(column), 0))


def _bare(value: Any) -> dict[str, float]:
    """An estimate whose interval is not known: its subjects are filed differently."""
    return {"estimate": float(value), "low": np.nan, "high": np.nan}


def _bars(axes: Axes, side: Mapping[str, Mapping[str, float]], muted: bool) -> None:
    for row, value in enumerate(side.values()):
        colour = MUTED if muted else look(row)[0]
        axes.barh(row, value["estimate"], height=0.62, color=colour, alpha=0.55, lw=0)
        axes.hlines(row, value["low"], value["high"], color=INK, lw=1.2)
    axes.set_yticks(range(len(side)), list(side))
    axes.set_ylim(len(side) - 0.4, -0.6)
    axes.axvline(0, color=MUTED, lw=0.8)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def heat_map(found: Alignment, metric: str, classes: str) -> Drawn:
    """The supplement's heat maps: a metric by model and class, with the means of both."""
    table = saliency.class_table(found.values[metric], found.by(classes), len(found.classes))
    shown = _most_different(saliency.mean(table, 0))
    cells = saliency.heat_map(table)
    drawn = cells[:, [*shown, -1]]
    names = [*(found.classes[c] for c in shown), "mean"]
    rows = [*found.subjects, "mean"]
    signed = metric == "density_gap"
    top = float(np.nanmax(np.abs(drawn))) if np.isfinite(drawn).any() else 1.0
    limits = (-top, top) if signed else (0, max(top, 1e-6))
    left, wide, tall = _margin(rows), 0.52 * len(names), 0.3 * len(rows)
    width, height = left + wide + 0.3, tall + 0.25 + 0.6 * _margin(names)
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, 0.1 / height, wide / width, tall / height))
    colours = colormaps["RdBu" if signed else "Blues"]
    axes.imshow(drawn, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    for row, column in np.ndindex(drawn.shape):
        value = drawn[row, column]
        strong = np.isfinite(value) and (abs(value) if signed else value) > 0.6 * top
        text = f"{value:.2f}" if np.isfinite(value) else "\N{EN DASH}"
        colour = "white" if strong else INK
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=35, ha="left")
    axes.set_yticks(range(len(rows)), rows)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for edge in (len(rows) - 1.5, len(names) - 1.5):
        draw = axes.axhline if edge == len(rows) - 1.5 else axes.axvline
        draw(edge, color="white", lw=2.5)
    header = ("model", *found.classes, "mean")
    return Drawn(figure, header, [(n, *row) for n, row in zip(rows, cells.tolist(), strict=True)])


def _most_different(means: np.ndarray) -> list[int]:
    """The classes to show: all, or those with the lowest and the highest means."""
    if len(means) <= MOST_COLUMNS:
        return list(range(len(means)))
    order = [int(c) for c in np.argsort(means) if np.isfinite(means[c])]
    half = MOST_COLUMNS // 2
    return sorted({*order[:half], *order[-half:]})


def drops(summary: Summary) -> Drawn:
    """How far greying parts of the background moves the explained class's probability."""
    subjects = summary["subjects"]
    height = 1.0 + 0.42 * len(subjects)
    margin = _margin(subjects)
    width = margin + 2 * 3.4
    figure = Figure(figsize=(width, height))
    sides = {"all images with a salient background": filed(summary)[0], "the hits": "hits"}
    lines = []
    for left, (title, key) in zip((margin, margin + 3.4), sides.items(), strict=True):
        axes = figure.add_axes((left / width, 0.5 / height, 3.1 / width, 1 - 0.8 / height))
        for row, (name, entry) in enumerate(subjects.items()):
            for k, region in enumerate(saliency.REGIONS):
                value, at = entry[key][f"target_drop_{region}"], row + 0.24 * (k - 1)
                colour, marker = look(0)[0] if k == 0 else (MUTED, INK)[k - 1], "os^"[k]
                label = f"{region} greyed" if row == 0 else None
                axes.hlines(at, value["low"], value["high"], color=colour, lw=1.2)
                axes.plot(value["estimate"], at, marker, color=colour, ms=5, label=label)
                lines.append((title, name, region, *(value[end] for end in ENDS)))
        axes.axvline(0, color=FAINT, lw=1, zorder=0)
        axes.set_yticks(range(len(subjects)), list(subjects) if key != "hits" else [])
        axes.set_ylim(len(subjects) - 0.5, -0.5)
        axes.set_title(title, loc="left")
        axes.set_xlabel("drop of the explained class's probability")
    figure.axes[0].legend(frameon=False, fontsize=8, loc="best")
    return Drawn(figure, ("images", "model", "greyed", "drop", "low", "high"), lines)
