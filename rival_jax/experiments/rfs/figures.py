"""The study's figures 2, 4, 5 and 6, from the table of results and from single images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rival_jax.experiments.rfs.measures import SIDES, Found, rfs
from rival_jax.report import figures
from rival_jax.report.figures import Drawn
from rival_jax.report.results import Results
from rival_jax.report.style import COLOURS, FAINT, MUTED, end_labels, point_labels

CURVES_IN_COLOUR = 8  # in figure 4; the groups between the highest and the lowest RFS are grey
MODELS_WITH_CLASSES, MOST_POINTS = 8, 160  # small dots in figure 2
MODELS_AS_PANELS = 5  # in figures 1 and 5
MOST_CLASSES = 4  # in figure 5
HIGHEST_DENSITY = 5.0  # of its axis; a class whose images all agree would flatten the others
GRID = np.linspace(-1.0, 1.0, 500)  # where iRFS densities are evaluated
AREA_PER_MILLION, SMALLEST_MARKER = 1.5, 16.0  # of parameters in figure 2, points squared


def with_classes(found: Found) -> bool:
    """Whether figure 2 shows classes."""
    models, classes = len(found.runs.models), len(found.results.of("class"))
    return models <= MODELS_WITH_CLASSES and models * classes <= MOST_POINTS


def accuracies(found: Found, norm: str) -> Drawn:
    """Figure 2: accuracy under background noise over accuracy under foreground noise."""
    models, classes = found.runs.models, [None, *found.results.of("class")]
    areas = [AREA_PER_MILLION * (card.get("parameters") or 0) / 1e6 for card in found.runs.cards]
    told = found.rows("accuracy", norm, region=SIDES, **{"class": classes})
    place = {(row["model"], row.get("class"), row["region"]): row for row in told}
    every = [[[place[m, c, side] for side in SIDES] for c in classes] for m in models]
    numbers = np.array([[[[r[k] for k in figures.ENDS] for r in c] for c in m] for m in every])
    points, bars, of_class = numbers[:, 0, :, 0], numbers[:, 0, :, 1:], numbers[:, 1:, :, 0]
    if not with_classes(found):
        of_class = of_class[:, :0]
    figure = Figure(figsize=(5.4, 5.2))
    axes = figure.add_axes((0.11, 0.1, 0.86, 0.87))
    _unit_square(axes, np.concatenate([of_class.ravel(), points.ravel(), bars.ravel()]))
    colours = [found.look(name)[0] for name in models]
    for m in np.argsort(-np.array(areas)):
        axes.scatter(*of_class[m].T, s=9, color=colours[m], alpha=0.3, linewidths=0)
        axes.hlines(points[m, 1], *bars[m, 0], color=colours[m], lw=1.1)
        axes.vlines(points[m, 0], *bars[m, 1], color=colours[m], lw=1.1)
        style = {"color": colours[m], "marker": found.look(models[m])[1], "edgecolor": "white"}
        size = max(areas[m], SMALLEST_MARKER)
        axes.scatter(*points[m], s=size, zorder=3, linewidths=0.8, **style)
    axes.set_xlabel("accuracy under foreground noise, %")
    axes.set_ylabel("accuracy under background noise, %")
    point_labels(axes, points, _covered(points, bars), models, colours)
    header = ("model", "class", "accuracy_fg", "accuracy_bg", "fg_low", "fg_high", "bg_low",
              "bg_high", "marker_area")  # fmt: skip
    lines = [
        (model, c or "", *numbers[m, k, :, 0], *numbers[m, k, :, 1:].ravel(), areas[m])
        for m, model in enumerate(models)
        for k, c in enumerate(classes)
    ]
    return Drawn(figure, header, lines)


def _unit_square(axes: Axes, values: np.ndarray) -> None:
    """Sets limits around the values; draws the line of equal accuracies, and those of equal RFS."""
    limits = max(values.min() - 0.04, -0.02), min(values.max() + 0.04, 1.02)
    axes.set(xlim=limits, ylim=limits)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    mean = np.array([0, 0.5, 1])
    for value in np.arange(-0.75, 1, 0.25):
        half, style = value * np.minimum(mean, 1 - mean), {"ls": ":", "lw": 0.6} if value else {}
        axes.plot(mean - half, mean + half, color=FAINT, zorder=0, **{"lw": 1, **style})
    place = {"transform": axes.transAxes, "va": "center", "fontsize": 8, "color": MUTED}
    axes.text(0.02, 0.98, "foreground matters more", ha="left", **place)
    axes.text(0.98, 0.02, "background matters more", ha="right", **place)


def _covered(points: np.ndarray, bars: np.ndarray) -> np.ndarray:
    """Boxes [2 m, 4] around the intervals of points, wide enough to cover the markers too."""
    centre, edge = np.tile(points, 2), 0.008 * np.array([-1, -1, 1, 1])
    across, upright = centre.copy(), centre.copy()
    across[:, [0, 2]], upright[:, [1, 3]] = bars[:, 0], bars[:, 1]
    return np.concatenate([across, upright]) + edge


def curves(found: Found, norm: str) -> tuple[Results, dict[str, Any]]:
    """Figure 4: the accuracies and RFS over levels that it shows, and how."""
    (field, names), half = found.curves, CURVES_IN_COLOUR // 2
    x, scale = ("level_255", 255) if norm == "linf" else ("level", 1)
    wanted = {"region": (None, *SIDES), "level": found.levels(norm), field: tuple(names)}
    told = found.rows(("accuracy", "rfs"), norm, **wanted)
    ranked = found.rows("rfs_of_means", norm, **{field: tuple(names)}).ranked(field)
    rows = told.changed(lambda r: {**r, "panel": r.get("region") or "rfs", x: scale * r["level"]})
    return rows, {"x": x, "by": field, "faint": ranked[half:-half]}


def density(values: np.ndarray) -> np.ndarray:
    """Gaussian kernel density on `GRID`, bandwidth by Scott's rule; NaN if all values are equal."""
    if values.size < 2 or np.ptp(values) < 1e-6:
        return np.full(GRID.shape, np.nan)
    width = values.size**-0.2 * np.std(values, ddof=1, dtype=np.float64)
    curve = np.zeros(GRID.shape)
    for some in np.array_split(values.astype(np.float64), 1 + values.size // 4096):
        curve += np.exp(-0.5 * ((GRID[:, None] - some) / width) ** 2).sum(1)
    return curve / (values.size * width * np.sqrt(2 * np.pi))


def densities(found: Found, norm: str) -> Drawn:
    """Figure 5: density of iRFS over images and levels (top), and the two probabilities (bottom).

    With many models it shows those at evenly spaced ranks of RFS, with many classes those with the
    lowest and the highest mean iRFS.
    """
    images, models = found.runs.images, found.ranked(norm, MODELS_AS_PANELS)
    noisy = images.values["probability"].where(norm=norm)
    ratio = rfs(noisy)
    classes = _classes(np.asarray(ratio.values).mean((1, 2)), images.labels)
    figure, panels = _panels(models)
    lines: list[Sequence[Any]] = []
    highest = 0.0
    for name, (upper, lower) in zip(models, panels, strict=True):
        parts = (ratio, *(noisy.at(region=side) for side in SIDES))
        of_model = [np.asarray(part.at(model=name).values) for part in parts]  # [n, levels]
        for colour, c in zip(COLOURS, classes, strict=False):
            irfs, *pair = (one[images.labels == c] for one in of_model)
            irfs, points = irfs.ravel(), [one.T.ravel() for one in pair]
            curve, label = density(irfs), images.classes[c]
            if np.isfinite(curve).all():
                upper.plot(GRID, curve, color=colour, lw=1.4)
                highest = max(highest, curve.max())
            else:  # all images agree: no density, a line where they are
                upper.axvline(irfs[0], color=colour, lw=1.4)
            alpha = float(np.clip(60 / len(irfs), 0.05, 0.5))
            lower.scatter(*points, s=6, color=colour, alpha=alpha, linewidths=0, rasterized=True)
            lines += [(name, label, "density", *xy) for xy in zip(GRID, curve, strict=True)]
            lines += [(name, label, "probability", *xy) for xy in zip(*points, strict=True)]
    top = min(1.05 * highest, HIGHEST_DENSITY) or 1.0
    panels[0][0].set_ylim(0, top)
    named = [images.classes[c] for c in classes]
    places, colours = np.full(len(named), top / 2), COLOURS[len(named) - 1 :: -1]
    end_labels(panels[-1][0], places, named[::-1], colours)
    return Drawn(figure, ("model", "class", "panel", "x", "y"), lines)


def _classes(irfs: np.ndarray, labels: np.ndarray) -> list[int]:
    """All classes by their mean of `irfs` [n], or those with the lowest and the highest."""
    present = np.unique(labels)
    means, half = [irfs[labels == c].mean() for c in present], MOST_CLASSES // 2
    order = present[np.argsort(means, kind="stable")].tolist()
    return order if len(order) <= MOST_CLASSES else order[:half] + order[-half:]


def _panels(models: Sequence[str]) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """A column for each model: the density above, the scatter below."""
    side, left, right = 1.75, 0.55, 0.8  # inches
    width = left + right + (side + 0.25) * len(models) - 0.25
    figure = Figure(figsize=(width, 4.4))
    grid = {"left": left / width, "right": 1 - right / width, "bottom": 0.5 / 4.4, "top": 4.1 / 4.4}
    grid |= {"height_ratios": (1.3, side), "hspace": 0.36, "wspace": 0.25 / side}
    panels = figure.subplots(
        2, len(models), squeeze=False, sharex="row", sharey="row", gridspec_kw=grid
    )
    for name, (upper, lower) in zip(models, panels.T, strict=True):
        upper.axvline(0, color=FAINT, lw=0.8, zorder=0)
        upper.set(xlim=(-1, 1), yticks=[], xticks=(-1, 0, 1), xlabel="iRFS", title=name)
        upper.spines["left"].set_visible(False)
        lower.plot([0, 1], [0, 1], color=FAINT, lw=0.8, zorder=0)
        lower.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="p, foreground noise")
        lower.set(xticks=(0, 1), yticks=(0, 1))
    panels[0, 0].set_ylabel("density")
    panels[1, 0].set_ylabel("p, background noise")
    return figure, [tuple(pair) for pair in panels.T]
