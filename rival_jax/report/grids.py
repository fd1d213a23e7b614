"""Grid figures: heat maps with their numbers, and pictures side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy  # which loads its `ndimage` when that is first used
from PIL import Image

from rival_jax.report import mpl
from rival_jax.report.figures import Drawn
from rival_jax.report.lettering import margin
from rival_jax.report.results import Results
from rival_jax.report.style import INK, MUTED, panels_of
from rival_jax.runtime.names import visible
from rival_jax.types import Array

THUMB, GUTTER, LINE = 112, 6, 17  # pixels
CELL, ROW = 0.38, 0.3  # inches, in a heat map
Cell = tuple[int, int, np.ndarray, str, str]
"""(row, column, picture uint8 [h, w, 3], bold text above, text above)."""
Shown = Sequence[tuple[str, str, Mapping[str, np.ndarray]]]
"""Photos to look at: (title, example, {what was done: uint8 [h, w, 3]})."""


def heat(
    results: Results,
    row: str,
    column: str,
    *,
    panel: str,
    named: Sequence[str],
    titles: Mapping[Any, str] | None = None,
    panels: Sequence[Any] = (),
    scale: float = 1.0,
    digits: int = 2,
    means: bool = False,
    most: int = 0,
) -> Drawn:
    """Heat maps side by side on one scale, with every number in its cell.

    Args:
      results: at most one per cell; cells without one stay empty.
      row, column: columns of the results whose values are the rows and columns.
      panel: column whose values are the maps.
      named: the CSV's names for map, row and column.
      titles: of the maps.
      panels: the maps, if not all; then each has the rows and columns of all results.
      scale: factor for the numbers.
      digits: decimal places.
      means: whether the last row and column are means, see `with_means`.
      most: columns shown, half of them those with the lowest means and half with the highest; 0:
        all.
    """
    shown: list[tuple[np.ndarray, list[str], list[str]]] = []
    maps = list(panels or results.of(panel))
    for value in maps:
        mine = results.where(**{panel: value})
        rows, columns = ((results if panels else mine).of(name) for name in (row, column))
        found = {(one[row], one.get(column)): scale * one["estimate"] for one in mine}
        table = with_means(np.array([[found.get((r, c), np.nan) for c in columns] for r in rows]))
        kept = list(range(len(columns)))
        if most and len(columns) > most:
            order = [place for place in np.argsort(table[-1, :-1]) if np.isfinite(table[-1, place])]
            kept = sorted({*order[: most // 2], *order[-(most // 2) :]})
        table, columns = table[:, [*kept, -1]], [columns[place] for place in kept]
        if means:
            rows, columns = [*rows, "mean"], [*columns, "mean"]
        shown.append((table[: len(rows), : len(columns)], rows, columns))
    every = np.concatenate([table[np.isfinite(table)] for table, _, _ in shown])
    highest = float(np.abs(every).max(initial=0)) or 1.0
    wide = [max(CELL * len(columns), 1.2) + margin(rows) + 0.3 for _, rows, columns in shown]
    tall = [ROW * len(rows) + margin(columns) + 0.6 for _, rows, columns in shown]
    figure, grid = panels_of(len(shown), sum(wide), max(tall), width_ratios=wide)
    lines = []
    for axes, value, (table, rows, columns) in zip(grid, maps, shown, strict=True):
        title = (titles or {}).get(value, str(value))
        _heat(axes, table, digits, (-highest if (every < 0).any() else 0.0, highest))
        axes.set_xticks(range(len(columns)), columns, rotation=90)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_title(title, loc="left")
        lines += [(title, rows[i], columns[j], number) for (i, j), number in np.ndenumerate(table)]
    return Drawn(figure, (*named, "value"), lines)


def _heat(axes: mpl.Axes, table: np.ndarray, digits: int, limits: tuple[float, float]) -> None:
    """Colours and numbers of a map."""
    colours = "RdBu_r" if limits[0] < 0 else "Blues"
    axes.imshow(table, cmap=colours, vmin=limits[0], vmax=limits[1], aspect=ROW / CELL)
    axes.set_anchor("NW")
    for i, j in np.argwhere(np.isfinite(table)).tolist():
        colour = "white" if abs(table[i, j]) > 0.65 * limits[1] else INK
        text = f"{round(table[i, j], digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")
        axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=6.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def with_means(table: np.ndarray) -> np.ndarray:
    """[r, c] -> [r + 1, c + 1]: adds plain means of rows and of columns, last.

    NaNs are ignored; all-NaN gives NaN.
    """
    for axis in (1, 0):
        means = np.ma.masked_invalid(table).mean(axis, keepdims=True).filled(np.nan)
        table = np.concatenate([table, means], axis)
    return table


def sheet(cells: Sequence[Cell]) -> mpl.Figure:
    """Pictures in a grid."""
    rows, columns = 1 + max(cell[0] for cell in cells), 1 + max(cell[1] for cell in cells)
    lines = sum(any(cell[i] for cell in cells) for i in (3, 4))
    pitch_y = THUMB + LINE * lines + GUTTER
    width, height = columns * (THUMB + GUTTER), rows * pitch_y
    canvas = Image.new("RGB", (width, height), "white")
    figure = mpl.Figure(figsize=(width / 100, height / 100))
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


def thumb(picture: np.ndarray, size: tuple[int, int] = (THUMB, THUMB)) -> np.ndarray:
    """A photo uint8 [h, w, 3], or a mask bool [h, w], at the size shown (width, height)."""
    way = Image.Resampling.NEAREST if picture.dtype == bool else Image.Resampling.LANCZOS
    return np.array(Image.fromarray(picture).resize(size, way))


def outlined(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A picture uint8 [h, w, 3] with the outline of a mask, white in black."""
    drawn = picture.copy()
    drawn[rim(mask)], drawn[rim(~mask)] = 255, 0
    return drawn


def rim(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask, bool [h, w], next to pixels outside it; the picture's border is no rim.

    The rim of `~mask` lies outside of it.
    """
    return mask & ~scipy.ndimage.binary_erosion(mask, border_value=1)


def heated(photo: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """A photo uint8 [h, w, 3] under a map [h, w] in [0, 1], from black through red to yellow."""
    strength = strength.astype(np.float32)[..., None]
    heat = 255 * mpl.colormaps["inferno"](strength[..., 0])[..., :3]
    return ((1 - 0.65 * strength) * photo + 0.65 * strength * heat).astype(np.uint8)


def contact(shown: Shown, names: tuple[str, str]) -> Drawn:
    """A column for each photo, a row for each change made to it.

    Args:
      names: the CSV's names for title and example.
    """
    cells: list[Cell] = []
    lines = []
    for column, (title, name, changed) in enumerate(shown):
        for row, (what, picture) in enumerate(changed.items()):
            cells.append((row, column, picture, title if not row else "" if column else what, ""))
        lines.append((title, name, *changed))
    header = (*names, *(f"row_{i}" for i in range(len(lines[0]) - 2)))
    return Drawn(sheet(cells), header, lines)


def pictures(
    show: Callable[..., Array], changes: Mapping[str, Sequence[Any]]
) -> list[dict[str, np.ndarray]]:
    """Some photos under every change, uint8 [h, w, 3] each: the last part of `Shown`.

    Args:
      show: returns all photos changed, [k, h, w, 3] in [0, 1].
      changes: in words -> the arguments of `show`.
    """
    made = [np.asarray(255 * show(*change) + 0.5).astype(np.uint8) for change in changes.values()]
    return [dict(zip(changes, of_photo, strict=True)) for of_photo in zip(*made, strict=True)]
