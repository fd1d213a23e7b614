"""Drawings of parts taken away: heat maps, drops against their control, figure 3, the photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rival_jax.report.attributes import Summary, heat_map
from rival_jax.report.cubes import ends
from rival_jax.report.examples import sheet
from rival_jax.report.figures import Drawn
from rival_jax.report.lettering import margin
from rival_jax.report.style import COLOURS, FAINT, INK, MUTED

PANELS = 4  # models that figures by class and by attribute show
CELL = 0.38  # inches
COLOUR_MAP = mpl.colormaps["RdBu_r"]
Shown = Sequence[tuple[str, str, Mapping[str, np.ndarray]]]
"""Images to look at: (attribute, example, {change: uint8 [h, w, 3]})."""


def models(summary: Summary) -> Drawn:
    """The study's table: attributes x models, with means; drops, and drops beyond the control's."""
    names, columns = list(summary["attributes"]), list(summary["ranking"])
    kinds = {"accuracy_drop": "accuracy", "accuracy_excess": "beyond the control"}
    kinds |= {"probability_drop": "probability", "probability_excess": "beyond the control"}
    tables, lines = [], []
    for kind in kinds:
        values = [
            [summary["attributes"][n]["models"][m][kind]["estimate"] for m in columns]
            for n in names
        ]
        tables.append(100 * heat_map(np.array(values)))
        lines += [
            (kind, row, column, tables[-1][i, j])
            for i, row in enumerate([*names, "mean"])
            for j, column in enumerate([*columns, "mean"])
        ]
    figure = _heat_maps(tables, list(kinds.values()), [*names, "mean"], [*columns, "mean"])
    return Drawn(figure, ("quantity", "attribute", "model", "points"), lines)


def classes(summary: Summary) -> Drawn:
    """Attributes x classes: excess of the probability drop, for each model."""
    names, shown = list(summary["attributes"]), list(summary["ranking"])[:PANELS]
    columns, tables, lines = list(summary["dataset"]["classes"]), [], []
    for model in shown:
        table = np.full((len(names), len(columns)), np.nan)
        for i, name in enumerate(names):
            for label, entry in summary["attributes"][name]["models"][model]["by_class"].items():
                excess = entry["probability_excess"]
                table[i, columns.index(label)] = 100 * excess["estimate"]
                ends = (excess["estimate"], excess["low"], excess["high"])
                lines.append((model, name, label, *ends))
        tables.append(table)
    figure = _heat_maps(tables, shown, names, columns)
    return Drawn(figure, ("model", "attribute", "class", "estimate", "low", "high"), lines)


def ranks(summary: Summary) -> Drawn:
    """For each model, its attributes by excess: the drop (filled) and the control's (open)."""
    shown = list(summary["ranking"])[:PANELS]
    names = summary["ranking"][shown[0]]
    height, width = 0.9 + 0.28 * len(names), 0.4 + 3.0 * len(shown)
    figure, lines = Figure(figsize=(width, height)), []
    for column, model in enumerate(shown):
        place = ((1.2 + 3.0 * column) / width, 0.5 / height, 1.8 / width, 1 - 0.8 / height)
        axes = figure.add_axes(place)
        order = summary["ranking"][model]
        for row, name in enumerate(order):
            entry = summary["attributes"][name]["models"][model]
            for kind, colour, face, y in (
                ("control_probability_drop", COLOURS[6], "white", row + 0.14),
                ("probability_drop", COLOURS[1], COLOURS[1], row - 0.14),
            ):
                value = entry[kind]
                axes.hlines(y, value["low"], value["high"], color=colour, lw=1.1)
                style = {"color": colour, "markerfacecolor": face, "ms": 4}
                axes.plot(value["estimate"], y, "o", **style)
                lines.append((model, row + 1, name, kind, *ends(value).values()))
        axes.set_yticks(range(len(order)), order)
        axes.set(ylim=(len(order) - 0.5, -0.5))
        axes.axvline(0, color=MUTED, lw=0.8)
        axes.grid(axis="x", color=FAINT, lw=0.4)
        axes.set_title(model, loc="left")
        axes.set_xlabel("drop in probability")
    header = ("model", "rank", "attribute", "quantity", "estimate", "low", "high")
    return Drawn(figure, header, lines)


def figure_3(labels: Summary) -> Drawn:
    """Figure 3: correlations between attributes, and the share of each class that has them."""
    names, rows = labels["names"], labels["classes"]
    left, right = np.asarray(labels["correlations"]), np.asarray(labels["class_means"])
    side = CELL * len(names)
    width, height = 2 * side + 2.6, side + 1.3
    figure, lines = Figure(figsize=(width, height)), []
    for table, place, names_y, limits in (
        (left, 1.1, names, (-1.0, 1.0)),
        (right, side + 2.2, rows, (-1.0, 1.0)),
    ):
        tall = CELL * len(names_y)
        axes = figure.add_axes(
            (place / width, 1 - (tall + 0.3) / height, side / width, tall / height)
        )
        _heat(axes, table, names_y, names, limits, digits=1)
        kind = "correlation" if names_y is names else "class mean"
        lines += [
            (kind, a, b, table[i, j]) for i, a in enumerate(names_y) for j, b in enumerate(names)
        ]
        axes.set_title(f"{kind}s", loc="left")
    return Drawn(figure, ("quantity", "row", "attribute", "value"), lines)


def contact(shown: Shown) -> Drawn:
    """A column for each attribute, a row for every change."""
    cells, lines = [], []
    for column, (attribute, name, pictures) in enumerate(shown):
        for row, (what, picture) in enumerate(pictures.items()):
            title = attribute if row == 0 else ("" if column else what)
            cells.append((row, column, picture, title, ""))
        lines.append((attribute, name))
    return Drawn(sheet(cells), ("attribute", "example"), lines)


def _heat_maps(
    tables: Sequence[np.ndarray], titles: Sequence[str], rows: Sequence[str], columns: Sequence[str]
) -> Figure:
    """Tables of points beside each other on one scale."""
    across, tall = CELL * len(columns), CELL * len(rows)
    left, below = 1.1 * margin(rows) + 0.15, 1.1 * margin(columns) + 0.1
    width, height = left + len(tables) * (max(across, 1.2) + 0.35), tall + below + 0.3
    figure = Figure(figsize=(width, height))
    most = max(float(np.nanmax(np.abs(table), initial=1.0)) for table in tables)
    for k, (table, title) in enumerate(zip(tables, titles, strict=True)):
        start = (left + k * (max(across, 1.2) + 0.35)) / width
        axes = figure.add_axes((start, below / height, across / width, tall / height))
        _heat(axes, table, rows if k == 0 else [""] * len(rows), columns, (-most, most), digits=0)
        axes.set_title(title, loc="left")
    return figure


def _heat(
    axes: Axes,
    table: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    limits: tuple[float, float],
    digits: int,
) -> None:
    """Cells in colour with their numbers; empty where there is none."""
    axes.imshow(table, cmap=COLOUR_MAP, vmin=limits[0], vmax=limits[1], aspect="auto")
    for i, j in np.argwhere(np.isfinite(table)).tolist():
        dark = abs(table[i, j]) > 0.65 * limits[1]
        text = f"{round(table[i, j], digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")
        style = {"color": "white" if dark else INK, "fontsize": 6.5}
        axes.text(j, i, text, ha="center", va="center", **style)
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
