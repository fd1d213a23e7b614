"""The images a model sees: which ones to show, and the figures made of them (study, figure 1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from rival_jax.report import numbers
from rival_jax.report.figures import MODELS_AS_PANELS, Drawn, Material
from rival_jax.report.style import INK, MUTED
from rival_jax.report.sweep import Noise, Sweep
from rival_jax.report.tables import ranked
from rival_jax.runtime.names import visible

Pictures = Callable[[str], tuple[np.ndarray, ...]]
"""Example name -> photo, foreground-noised, background-noised at `level_shown`; uint8 [h, w, 3]."""

FIGURE_1_LEVEL = {"linf": 60 / 255, "l2": 75.0}  # the study's, and about as strong in l2
EACH = 3  # images on either side, per model
CONTACT_CLASSES = 10
THUMB, GUTTER, LINE = 112, 6, 17  # pixels


class Example(NamedTuple):
    """One image under noise of one level, trial means of the true class's probability."""

    name: str
    label: str
    clean: float
    fg: float
    bg: float
    irfs: float


class Extremes(NamedTuple):
    """The images of a model with the lowest and the highest p_bg - p_fg, one per class at most."""

    background: list[Example]  # background noise hurts more, worst first
    foreground: list[Example]  # foreground noise hurts more


def level_shown(noise: Noise) -> int:
    """Position of the level that pictures are shown at, the nearest to that of figure 1."""
    return int(np.abs(noise.levels - FIGURE_1_LEVEL[noise.norm]).argmin())


def extremes(material: Material, norm: str) -> dict[str, Extremes]:
    """What to show of each model, at most `MODELS_AS_PANELS` of them, highest RFS first.

    By p_bg - p_fg as in the study's figure 1, not by iRFS: that is -1 or 1 for an image whose two
    probabilities are both next to 0, where there is nothing to see.
    """
    found = {}
    for name in ranked(material.summary, norm, MODELS_AS_PANELS):
        seen = _Seen.of(material.sweep, norm, name)
        sides = (seen.fg, seen.bg), (seen.bg, seen.fg)
        worst = (numbers.worst(*side, material.sweep.labels, 1) for side in sides)
        found[name] = Extremes(
            *(
                [seen.example(int(index[c, 0])) for c in np.argsort(gap[:, 0])[:EACH]]
                for index, gap in worst
            )
        )
    return found


def worst(material: Material, norm: str, pictures: Pictures) -> Drawn:
    """Figure 1: images on which background noise hurts a model more than foreground noise.

    The CSV holds the five lowest p_bg - p_fg of every model and class.
    """
    sweep, noise = material.sweep, material.sweep.noise[norm]
    level = float(noise.levels[level_shown(noise)])
    cells = []
    for row, (model, found) in enumerate(extremes(material, norm).items()):
        for k, example in enumerate(found.background[:2]):
            shown = pictures(example.name)
            texts = (
                (f"{model}" if k == 0 else "", f"{example.label}, p {example.clean:.2f}"),
                ("", f"foreground noise, p {example.fg:.2f}"),
                ("", f"background noise, p {example.bg:.2f}"),
            )
            cells += [(row, 3 * k + i, shown[i], *texts[i]) for i in range(3)]
    lines: list[Sequence[Any]] = []
    for model in sweep.models:
        seen = _Seen.of(sweep, norm, model)
        index, _ = numbers.worst(seen.fg, seen.bg, sweep.labels, 5)
        lines += [(model, level, *seen.example(i)) for i in index[index >= 0].tolist()]
    header = ("model", "level", "example", "class", "p_clean", "p_fg", "p_bg", "irfs")
    return Drawn(sheet(cells), header, lines)


def contact(material: Material, norm: str, pictures: Pictures) -> Drawn:
    """One image of each class (up to `CONTACT_CLASSES`): clean and under either noise."""
    sweep, noise = material.sweep, material.sweep.noise[norm]
    level = float(noise.levels[level_shown(noise)])
    cells, lines = [], []
    for column in range(min(len(sweep.classes), CONTACT_CLASSES)):
        name = sweep.names[int(np.flatnonzero(sweep.labels == column)[0])]
        titles = (sweep.classes[column], "", "")
        texts = ("", *(("foreground noise", "background noise") if column == 0 else ("", "")))
        for row, picture in enumerate(pictures(name)):
            cells.append((row, column, picture, titles[row] or texts[row], ""))
        lines.append((sweep.classes[column], name, level))
    return Drawn(sheet(cells), ("class", "example", "level"), lines)


class _Seen(NamedTuple):
    """One model on every image, clean and at the level shown: [n] each."""

    sweep: Sweep
    clean: np.ndarray
    fg: np.ndarray
    bg: np.ndarray
    irfs: np.ndarray

    @classmethod
    def of(cls, sweep: Sweep, norm: str, model: str) -> _Seen:
        noise, m = sweep.noise[norm], sweep.models.index(model)
        regions = (noise.region(noise.probability, name) for name in ("foreground", "background"))
        fg, bg = (values[m, level_shown(noise)] for values in regions)
        return cls(sweep, sweep.probability[m], fg, bg, numbers.rfs(fg, bg))

    def example(self, i: int) -> Example:
        label = self.sweep.classes[self.sweep.labels[i]]
        values = (float(x[i]) for x in (self.clean, self.fg, self.bg, self.irfs))
        return Example(self.sweep.names[i], label, *values)


def sheet(cells: Sequence[tuple[int, int, np.ndarray, str, str]]) -> Figure:
    """Pictures in a grid; (row, column, picture, bold text above, text above)."""
    rows, columns = 1 + max(cell[0] for cell in cells), 1 + max(cell[1] for cell in cells)
    lines = sum(any(cell[i] for cell in cells) for i in (3, 4))
    pitch_y = THUMB + LINE * lines + GUTTER
    width, height = columns * (THUMB + GUTTER), rows * pitch_y
    canvas = Image.new("RGB", (width, height), "white")
    figure = Figure(figsize=(width / 100, height / 100))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for row, column, picture, title, text in cells:
        x, y = column * (THUMB + GUTTER), row * pitch_y + LINE * lines
        image = Image.fromarray(picture).resize((THUMB, THUMB), Image.Resampling.LANCZOS)
        canvas.paste(image, (x, y))
        axes.text(x, y - 4, visible(text), fontsize=6.5, color=MUTED)
        axes.text(
            x, y - 4 - LINE * (lines > 1), visible(title), fontsize=7.5, color=INK, weight="bold"
        )
    axes.imshow(np.asarray(canvas), interpolation="nearest")
    return figure
