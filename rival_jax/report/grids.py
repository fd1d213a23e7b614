"""Grid figures: heat maps with their numbers, and pictures side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from rival_jax.report.figures import Drawn
from rival_jax.report.lettering import margin
from rival_jax.report.results import Results
from rival_jax.report.style import INK, MUTED
from rival_jax.runtime.names import visible

THUMB, GUTTER, LINE = 112, 6, 17  # pixels
CELL = 0.38  # inches, in a heat map
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
    shown: dict[str, tuple[np.ndarray, list[str], list[str]]] = {}
    for value in panels or results.of(panel):
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
        numbers = table[: len(rows), : len(columns)]
        shown[(titles or {}).get(value, str(value))] = numbers, rows, columns
    return _side_by_side(shown, digits, named)


def _side_by_side(
    tables: Mapping[str, tuple[np.ndarray, Sequence[str], Sequence[str]]],
    digits: int,
    named: Sequence[str],
) -> Drawn:
    """Heat maps, title -> (numbers [r, c], names of rows, names of columns)."""
    finite = [table[np.isfinite(table)] for table, _, _ in tables.values()]
    most = max([float(np.abs(part).max()) for part in finite if part.size] or [1.0]) or 1.0
    least = -most if any((part < 0).any() for part in finite) else 0.0
    rooms = [margin(rows) + 0.2 for _, rows, _ in tables.values()]
    below = max(margin(columns) for _, _, columns in tables.values()) + 0.15
    wide = [max(CELL * len(columns), 1.2) for _, _, columns in tables.values()]
    tall = [0.3 * len(rows) for _, rows, _ in tables.values()]
    width, height = sum(rooms) + sum(wide) + 0.2, max(tall) + below + 0.35
    figure, lines, left = Figure(figsize=(width, height)), [], 0.0
    for (title, (table, rows, columns)), room, across, up in zip(
        tables.items(), rooms, wide, tall, strict=True
    ):
        bottom = 1 - (0.3 + up) / height
        place = ((left + room) / width, bottom, CELL * len(columns) / width, up / height)
        axes = figure.add_axes(place)
        left += room + across
        _heat(axes, table, rows, columns, (least, most), digits)
        axes.set_title(title, loc="left")
        lines += [
            (title, row, column, table[i, j])
            for i, row in enumerate(rows)
            for j, column in enumerate(columns)
        ]
    return Drawn(figure, (*named, "value"), lines)


def _heat(
    axes: Axes,
    table: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    limits: tuple[float, float],
    digits: int,
) -> None:
    colours = mpl.colormaps["RdBu_r" if limits[0] < 0 else "Blues"]
    axes.imshow(table, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    for i, j in np.argwhere(np.isfinite(table)).tolist():
        dark = abs(table[i, j]) > 0.65 * limits[1]
        text = f"{round(table[i, j], digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")
        style: dict[str, Any] = {"color": "white" if dark else INK, "fontsize": 6.5}
        axes.text(j, i, text, ha="center", va="center", **style)
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def with_means(table: np.ndarray) -> np.ndarray:
    """[r, c] -> [r + 1, c + 1]: adds plain means of rows and of columns, last.

    NaNs are ignored; all-NaN gives NaN.
    """
    wide = np.concatenate([table, _mean(table, 1)[:, None]], axis=1)
    return np.concatenate([wide, _mean(wide, 0)[None]])


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean ignoring NaNs; NaN if there is nothing else."""
    some = np.isfinite(values)
    count = some.sum(axis)
    return np.where(count > 0, np.where(some, values, 0).sum(axis) / np.maximum(count, 1), np.nan)


def sheet(cells: Sequence[Cell]) -> Figure:
    """Pictures in a grid."""
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
    wide = np.pad(mask, 1, mode="edge")
    inner = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return mask & ~inner


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
    for column, (title, name, pictures) in enumerate(shown):
        for row, (what, picture) in enumerate(pictures.items()):
            cells.append((row, column, picture, title if not row else "" if column else what, ""))
        lines.append((title, name, *pictures))
    header = (*names, *(f"row_{i}" for i in range(len(lines[0]) - 2)))
    return Drawn(sheet(cells), header, lines)
