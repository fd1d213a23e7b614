"""Figures: style, placement of labels, and saving."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console

from rival_jax.report.lettering import FONT, letters
from rival_jax.report.tables import as_csv
from rival_jax.runtime import buckets, results
from rival_jax.runtime.console import plain
from rival_jax.runtime.names import short, visible

# Okabe and Ito's colours, told apart with every kind of colour vision; yellow is too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#4D4D4D", "#7A4B00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, MUTED, FAINT = "#222222", "#767676", "#C8C8C8"
SETTINGS: dict[Any, Any] = {
    "font.family": FONT,
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "svg.hashsalt": "rival_jax",  # the same numbers give the same bytes
    "svg.fonttype": "path",
    "axes.unicode_minus": True,
    "text.parse_math": False,  # a $ in a name is a $
    "text.usetex": False,
}
DPI = 160
LONGEST_SIDE, MOST_PIXELS = 60_000, 1e8  # of a PNG; its resolution is lowered to fit


class Files(NamedTuple):
    """Where a figure was saved."""

    png: Path
    svg: Path
    csv: Path


class Missing(NamedTuple):
    """A figure that could not be drawn."""

    name: str
    reason: str  # in one line


Draw = Callable[[], tuple[Figure, Sequence[str], Iterable[Sequence]]]
"""Returns (figure, header of its CSV, its lines); called with the house style set."""


def attempt(draw: Draw, target: Path, run: results.Run, console: Console) -> Files | Missing:
    """Draws a figure and writes `target`.png, .svg and .csv, its numbers.

    A figure that cannot be drawn is reported and left out; the run goes on. Its files from an
    earlier report are removed, since they show other numbers.

    Args:
      draw: makes the figure.
      target: path without an ending; its folder is created.
      run, console: get the report.
    """
    try:
        content = drawn(draw)
    except Exception as error:  # any kind: the numbers exist with or without a figure
        for path in _files(target):
            buckets.remove(path)
        return Missing(target.name, told(target.name, error, run, console))
    return _write(content, target)


def told(name: str, error: Exception, run: results.Run, console: Console) -> str:
    """Reports in log and console that a figure could not be drawn, with the reason in one line."""
    said = " ".join(visible(str(error), keep="\n").split()).rstrip(".")
    reason = short(f"{type(error).__name__}: {said}" if said else type(error).__name__, 300)
    run.log("figure", name=name, error=reason)
    console.print(plain(f"note: figure {name} could not be drawn: {reason}"))
    return reason


def _files(target: Path) -> Files:
    return Files(*(target.with_name(f"{target.name}.{ending}") for ending in Files._fields))


def drawn(draw: Draw) -> tuple[bytes, bytes, bytes]:
    """PNG, SVG and CSV of a figure."""
    with mpl.rc_context(SETTINGS):
        figure, header, lines = draw()
        FigureCanvasAgg(figure)
        letters(figure)
        width, height = figure.get_size_inches()
        most = min(LONGEST_SIDE / max(width, height), math.sqrt(MOST_PIXELS / (width * height)))
        png, svg = io.BytesIO(), io.BytesIO()
        # Photos of noise hardly compress: level 6 takes twice the time for 2 % less.
        packed = {"compress_level": 4}
        figure.savefig(png, dpi=min(DPI, most), format="png", pil_kwargs=packed)
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return png.getvalue(), svg.getvalue(), as_csv(header, lines).encode()


def _write(content: Sequence[bytes], target: Path) -> Files:
    files = _files(target)
    for path, data in zip(files, content, strict=True):
        with results.atomic(path) as partial:
            partial.write_bytes(data)
    return files


def look(index: int) -> tuple[str, str]:
    """Colour and marker of group number `index`; distinct up to 56."""
    return COLOURS[index % len(COLOURS)], MARKERS[index // len(COLOURS) % len(MARKERS)]


def spread(positions: np.ndarray, gap: float) -> np.ndarray:
    """Spreads label positions to at least `gap` apart, keeping their order and centre.

    >>> spread(np.array([0.0, 0.1, 5.0]), 1.0)
    array([-0.45,  0.55,  5.  ])
    """
    order = np.argsort(positions, kind="stable")
    blocks: list[list[float]] = []  # [mean position of the block, members]
    for value in positions[order].tolist():
        blocks.append([value, 1])
        while len(blocks) > 1:
            (below, n), (above, m) = blocks[-2:]
            if above - below >= gap * (n + m) / 2:
                break
            blocks[-2:] = [[(below * n + above * m) / (n + m), n + m]]
    placed = [
        centre + gap * (i - (size - 1) / 2) for centre, size in blocks for i in range(int(size))
    ]
    result = np.empty(len(placed))
    result[order] = placed
    return result


def end_labels(axes: Axes, y: np.ndarray, texts: Sequence[str], colours: Sequence[str]) -> None:
    """Names curves at their right ends, moved apart if they would touch."""
    low, high = axes.get_ylim()
    placed = spread(y, 11 * (high - low) / _points(axes)[1])
    for value, text, colour in zip(placed, texts, colours, strict=True):
        axes.annotate(
            text,
            (1.0, value),
            xycoords=("axes fraction", "data"),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=colour,
            annotation_clip=False,
        )


def point_labels(
    axes: Axes, points: np.ndarray, boxes: np.ndarray, texts: Sequence[str], colours: Sequence[str]
) -> None:
    """Names points, with each label on the side where it covers least.

    Args:
      axes: with its final limits and place in the figure.
      points: [n, 2] in data units.
      boxes: [k, 4] in data units (left, bottom, right, top), areas that labels should not cover.
      texts, colours: of the labels.
    """
    size = _points(axes)
    low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
    scale = size / (high - low)  # typographic points per data unit
    taken = list((boxes - np.tile(low, 2)) * np.tile(scale, 2))
    for point, text, colour in zip(points, texts, colours, strict=True):
        centre = (point - low) * scale
        half = np.array([2.3 * len(text), 4.5])  # of a label set in 8 point
        options = []
        for distance, side in itertools.product((6, 14, 24, 36), _SIDES):
            middle = centre + side * distance + np.sign(side) * half
            box = np.concatenate([middle - half, middle + half])
            outside = np.maximum(0, -box[:2]).sum() + np.maximum(0, box[2:] - size).sum()
            cost = sum(_overlap(box, other) for other in taken) + 50 * outside + distance
            options.append((cost, len(options), distance, middle, box))
        _, _, distance, middle, box = min(options, key=lambda option: option[:2])
        taken.append(box)
        axes.annotate(
            text,
            point,
            xytext=middle - centre,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            color=colour,
            arrowprops={"arrowstyle": "-", "color": MUTED, "lw": 0.5} if distance > 14 else None,
        )


_SIDES = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)]) / np.sqrt(
    [[1], [1], [1], [1], [2], [2], [2], [2]]
)


def _points(axes: Axes) -> np.ndarray:
    """Width and height of the axes in typographic points."""
    return np.array([axes.bbox.width, axes.bbox.height]) / axes.figure.dpi * 72


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(np.prod(np.maximum(sides, 0)))
