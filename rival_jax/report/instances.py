"""The study's figure 5: relative foreground sensitivity of single images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rival_jax.report import numbers
from rival_jax.report.figures import MODELS_AS_PANELS, Drawn, Material
from rival_jax.report.style import COLOURS, FAINT, end_labels
from rival_jax.report.tables import ranked

MOST_CLASSES = 4
HIGHEST_DENSITY = 5.0  # of the axis; a class whose images all agree would flatten the others


def densities(material: Material, norm: str) -> Drawn:
    """Figure 5: density of iRFS over images and levels (top), and the two probabilities (bottom).

    With many models it shows those at evenly spaced ranks of RFS, with many classes those with the
    lowest and the highest mean iRFS.
    """
    sweep, noise = material.sweep, material.sweep.noise[norm]
    irfs = numbers.irfs(noise)
    fg, bg = (noise.region(noise.probability, name) for name in ("foreground", "background"))
    models = ranked(material.summary, norm, MODELS_AS_PANELS)
    classes = _classes(material, irfs)
    figure, panels = _panels(models)
    lines: list[Sequence[Any]] = []
    highest = 0.0
    for (upper, lower), name in zip(panels, models, strict=True):
        m = sweep.models.index(name)
        upper.set_title(name)
        for colour, c in zip(COLOURS, classes, strict=False):
            members, label = sweep.labels == c, sweep.classes[c]
            values = irfs[m][:, members].ravel()
            curve = numbers.density(values)
            if np.isfinite(curve).all():
                upper.plot(numbers.GRID, curve, color=colour, lw=1.4)
                highest = max(highest, curve.max())
            else:  # all images agree: no density, a line where they are
                upper.axvline(values[0], color=colour, lw=1.4)
            points = np.stack([fg[m][:, members].ravel(), bg[m][:, members].ravel()])
            alpha = float(np.clip(60 / len(values), 0.05, 0.5))
            lower.scatter(*points, s=6, color=colour, alpha=alpha, linewidths=0, rasterized=True)
            lines += [(name, label, "density", *xy) for xy in np.stack([numbers.GRID, curve], 1)]
            lines += [(name, label, "probability", *xy) for xy in points.T]
    top = min(1.05 * highest, HIGHEST_DENSITY) or 1.0
    panels[0][0].set_ylim(0, top)
    named = [sweep.classes[c] for c in classes]
    end_labels(
        panels[-1][0], np.full(len(named), top / 2), named[::-1], COLOURS[len(named) - 1 :: -1]
    )
    return Drawn(figure, ("model", "class", "panel", "x", "y"), lines)


def _classes(material: Material, irfs: np.ndarray) -> list[int]:
    """All classes, or those with the lowest and the highest iRFS averaged over models."""
    mean = numbers.class_means(material.sweep, irfs.mean(1)).mean(0)
    order = np.argsort(mean, kind="stable").tolist()
    if len(order) <= MOST_CLASSES:
        return order
    return order[: MOST_CLASSES // 2] + order[-(MOST_CLASSES // 2) :]


def _panels(models: Sequence[str]) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """A column for each model: the density above, the scatter below."""
    side, left, right, below, gap = 1.75, 0.55, 0.8, 0.5, 0.25  # inches
    width = left + len(models) * (side + gap) - gap + right
    height = below + side + 0.55 + 1.3 + 0.3
    figure = Figure(figsize=(width, height))
    panels: list[tuple[Axes, Axes]] = []
    for column in range(len(models)):
        x = (left + column * (side + gap)) / width
        upper = figure.add_axes(
            (x, (below + side + 0.55) / height, side / width, 1.3 / height),
            sharey=panels[0][0] if panels else None,
        )
        lower = figure.add_axes((x, below / height, side / width, side / height))
        upper.axvline(0, color=FAINT, lw=0.8, zorder=0)
        upper.set(xlim=(-1, 1), yticks=[], xlabel="iRFS")
        upper.set_xticks((-1, 0, 1), ("\u22121", "0", "1"))
        upper.spines["left"].set_visible(False)
        lower.plot([0, 1], [0, 1], color=FAINT, lw=0.8, zorder=0)
        lower.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        lower.set_xticks((0, 1), ("0", "1"))
        lower.set_yticks((0, 1), ("0", "1") if column == 0 else ("", ""))
        lower.set_xlabel("p, foreground noise")
        panels.append((upper, lower))
    panels[0][1].set_ylabel("p, background noise")
    panels[0][0].set_ylabel("density")
    return figure, panels
