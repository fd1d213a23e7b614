"""The study's figures 2, 4, 5 and 6, from the table of results and from single images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rival_jax.experiments.rfs.measures import SIDES, Found, rfs
from rival_jax.report import mpl
from rival_jax.report.figures import ENDS, Drawn
from rival_jax.report.lettering import margin
from rival_jax.report.results import Results
from rival_jax.report.style import COLOURS, FAINT, MUTED, legend, look, panels_of

CURVES_IN_COLOUR = 8  # in figure 4; the groups between the highest and the lowest RFS are grey
MODELS_WITH_CLASSES, MOST_POINTS = 8, 160  # small dots in figure 2
MODELS_AS_PANELS = 5  # in figures 1 and 5
MOST_CLASSES = 4  # in figure 5
HIGHEST_DENSITY = 5.0  # of its axis; a class whose images all agree would flatten the others
GRID = np.linspace(-1.0, 1.0, 500)  # where iRFS densities are evaluated
AREA_PER_MILLION, SMALLEST_MARKER = 1.5, 36.0  # of parameters in figure 2, points squared


def with_classes(found: Found) -> bool:
    """Whether figure 2 shows classes."""
    models, classes = len(found.runs.models), len(found.results.of("class"))
    return models <= MODELS_WITH_CLASSES and models * classes <= MOST_POINTS


def accuracies(found: Found, norm: str) -> Drawn:
    """Figure 2: accuracy under background noise over accuracy under foreground noise."""
    models, classes = found.runs.models, [None, *found.results.of("class")]
    areas = [AREA_PER_MILLION * (card.get("parameters") or 0) / 1e6 for card in found.runs.cards]
    told = found.rows("accuracy", norm, region=SIDES, **{"class": classes})
    ends = {(r["model"], r.get("class"), r["region"]): [r[end] for end in ENDS] for r in told}
    numbers = np.array([[[ends[m, c, side] for side in SIDES] for c in classes] for m in models])
    looks = {name: (found.look(name)[0], look(m)[1]) for m, name in enumerate(models)}
    figure, (axes,) = panels_of(1, 5.4 + margin(models), 5.2)
    for m in np.argsort(-np.array(areas)):
        (fg, *across), (bg, *upright) = numbers[m, 0]
        colour, marker = looks[models[m]]
        if with_classes(found):
            axes.scatter(*numbers[m, 1:, :, 0].T, s=9, color=colour, alpha=0.3, linewidths=0)
        axes.hlines(bg, *across, color=colour, lw=1.1)
        axes.vlines(fg, *upright, color=colour, lw=1.1)
        size = max(areas[m], SMALLEST_MARKER)
        style = {"color": colour, "marker": marker, "edgecolor": "white", "linewidths": 0.8}
        axes.scatter(fg, bg, s=size, zorder=3, **style)
    _unit_square(axes)
    legend(figure, looks, line="")
    header = ("model", "class", "accuracy_fg", "accuracy_bg", "fg_low", "fg_high", "bg_low",
              "bg_high", "marker_area")  # fmt: skip
    lines = [
        (model, c or "", *numbers[m, k, :, 0], *numbers[m, k, :, 1:].ravel(), areas[m])
        for m, model in enumerate(models)
        for k, c in enumerate(classes)
    ]
    return Drawn(figure, header, lines)


def _unit_square(axes: mpl.Axes) -> None:
    """Equal limits, around what was drawn; the line of equal accuracies, and those of equal RFS."""
    ends = axes.dataLim.get_points()
    limits = max(ends.min() - 0.04, -0.02), min(ends.max() + 0.04, 1.02)
    axes.set(xlim=limits, xlabel="accuracy under foreground noise, %")
    axes.set(ylim=limits, ylabel="accuracy under background noise, %")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(mpl.PercentFormatter(1, decimals=0, symbol=""))
    mean = np.array([0, 0.5, 1])
    for value in np.arange(-0.75, 1, 0.25):
        half, style = value * np.minimum(mean, 1 - mean), {"ls": ":", "lw": 0.6} if value else {}
        axes.plot(mean - half, mean + half, color=FAINT, zorder=0, **{"lw": 1, **style})
    place = {"transform": axes.transAxes, "va": "center", "fontsize": 8, "color": MUTED}
    axes.text(0.02, 0.98, "foreground matters more", ha="left", **place)
    axes.text(0.98, 0.02, "background matters more", ha="right", **place)


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
    looks = {images.classes[c]: (colour, "") for c, colour in zip(classes, COLOURS, strict=False)}
    width, share = 2.1 * len(models) + 0.5 + margin(looks), {"sharex": "row", "sharey": "row"}
    figure, panels = panels_of(2 * len(models), width, 2.2, len(models), **share)
    lines: list[Sequence[Any]] = []
    for name, upper, lower in zip(models, panels, panels[len(models) :], strict=False):
        parts = (ratio, *(noisy.at(region=side) for side in SIDES))
        of_model = [np.asarray(part.at(model=name).values) for part in parts]  # [n, levels]
        for c, (label, (colour, _)) in zip(classes, looks.items(), strict=True):
            irfs, *pair = (one[images.labels == c] for one in of_model)
            irfs, points = irfs.ravel(), [one.T.ravel() for one in pair]
            curve = density(irfs)
            if np.isfinite(curve).all():
                upper.plot(GRID, curve, color=colour, lw=1.4)
            else:  # all images agree: no density, a line where they are
                upper.axvline(irfs[0], color=colour, lw=1.4)
            alpha = float(np.clip(60 / len(irfs), 0.05, 0.5))
            lower.scatter(*points, s=6, color=colour, alpha=alpha, linewidths=0, rasterized=True)
            lines += [(name, label, "density", *xy) for xy in zip(GRID, curve, strict=True)]
            lines += [(name, label, "probability", *xy) for xy in zip(*points, strict=True)]
        upper.axvline(0, color=FAINT, lw=0.8, zorder=0)
        upper.spines["left"].set_visible(False)
        upper.set(xlim=(-1, 1), yticks=[], xticks=(-1, 0, 1), xlabel="iRFS", title=name)
        lower.plot([0, 1], [0, 1], color=FAINT, lw=0.8, zorder=0)
        lower.set(xticks=(0, 1), yticks=(0, 1), xlabel="p, foreground noise", aspect="equal")
    panels[0].set(ylim=(0, min(panels[0].get_ylim()[1], HIGHEST_DENSITY)), ylabel="density")
    panels[len(models)].set_ylabel("p, background noise")
    legend(figure, looks)
    return Drawn(figure, ("model", "class", "panel", "x", "y"), lines)


def _classes(irfs: np.ndarray, labels: np.ndarray) -> list[int]:
    """All classes by their mean of `irfs` [n], or those with the lowest and the highest."""
    present = np.unique(labels)
    means, half = [irfs[labels == c].mean() for c in present], MOST_CLASSES // 2
    order = present[np.argsort(means, kind="stable")].tolist()
    return order if len(order) <= MOST_CLASSES else order[:half] + order[-half:]
