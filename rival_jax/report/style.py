"""Figures: style, panels and legend, and saving."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from rival_jax.report import mpl
from rival_jax.report.lettering import letters
from rival_jax.report.tables import as_csv
from rival_jax.runtime import buckets, results
from rival_jax.runtime.console import plain
from rival_jax.runtime.names import short, visible

# Okabe and Ito's colours, told apart with every kind of colour vision; yellow is too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#4D4D4D", "#7A4B00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, MUTED, FAINT = "#222222", "#767676", "#C8C8C8"
STYLE = Path(__file__).parent.parent / "assets" / "figures.mplstyle"
DPI = 160
COLUMNS = {"1column": 3.3, "2columns": 6.9}  # inches
SMALLEST = 0.67  # of the usual letters: 6 points
_stacked = ContextVar("_stacked", default=False)  # for one column: panels below each other
_STACKED = 4.2  # inches, of which 3.3 are left
LONGEST_SIDE, MOST_PIXELS = 60_000, 1e8  # of a PNG; its resolution is lowered to fit


class Files(NamedTuple):
    """Where a figure was saved."""

    png: Path
    svg: Path
    csv: Path


Draw = Callable[[], tuple["mpl.Figure", Sequence[str], Iterable[Sequence]]]
"""Returns (figure, header of its CSV, its lines); called with the house style set."""


def attempt(draw: Draw, target: Path, run: results.Run, console: Console) -> Files | str:
    """Draws a figure and writes `target`.png, .svg and .csv, its numbers.

    If it cannot be drawn, the run goes on: log and console are told why, and so is the caller, in
    one line. Files of an earlier report are removed, since they show other numbers.

    Args:
      draw: makes the figure.
      target: path without an ending; its folder is created.
      run: with `Run.pdf`, also gets `for_paper`.
    """
    try:
        content = drawn(draw)
        if run.pdf:
            for_paper(draw, run.pdf / target.name)
    except Exception as error:  # any kind: the numbers exist with or without a figure
        for path in _files(target):
            buckets.remove(path)
        return noted(f"figure {target.name}", error, run, console)
    return _write(content, target)


def noted(what: str, error: Exception, run: results.Run, console: Console) -> str:
    """Tells log and console that something could not be drawn; returns why, in one line."""
    said = " ".join(visible(str(error), keep="\n").split()).rstrip(".")
    reason = short(f"{type(error).__name__}: {said}" if said else type(error).__name__, 300)
    run.log("figure", name=what.removeprefix("figure "), error=reason)
    console.print(plain(f"note: {what} could not be drawn: {reason}"))
    return reason


def _files(target: Path) -> Files:
    return Files(*(target.with_name(f"{target.name}.{ending}") for ending in Files._fields))


def _styled() -> Any:
    return mpl.rc_context(mpl.rc_params_from_file(STYLE, use_default_template=False))


def drawn(draw: Draw) -> tuple[bytes, bytes, bytes]:
    """PNG, SVG and CSV of a figure."""
    with _styled():
        figure, header, lines = draw()
        mpl.FigureCanvasAgg(figure)
        letters(figure)
        width, height = figure.get_size_inches()
        most = min(LONGEST_SIDE / max(width, height), math.sqrt(MOST_PIXELS / (width * height)))
        png, svg = io.BytesIO(), io.BytesIO()
        # Photos of noise hardly compress: level 6 takes twice the time for 2 % less.
        packed = {"compress_level": 4}
        figure.savefig(png, dpi=min(DPI, most), format="png", pil_kwargs=packed)
        figure.set_layout_engine("none")  # where everything is stays as it was found for the first
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return png.getvalue(), svg.getvalue(), as_csv(header, lines).encode()


def for_paper(draw: Draw, target: Path) -> None:
    """Writes `target`_1column.pdf and _2columns.pdf, `COLUMNS` wide, with their fonts in them.

    Panels that stand side by side for want of another order are stacked in one column. What is
    wider is made smaller, letters no more than to `SMALLEST`; what would be less than half as large
    in one column is only made for two.
    """
    for name, width in COLUMNS.items():
        with _styled():
            token = _stacked.set(name == "1column")
            try:
                figure, *_ = draw()
            finally:
                _stacked.reset(token)
            letters(figure)
            before, height = figure.get_size_inches()
            scale = min(1, width / before)
            path = target.with_name(f"{target.name}_{name}.pdf")
            buckets.remove(path)
            if name == "1column" and scale < 0.5:
                continue
            figure.set_size_inches(width, scale * height)
            ticks = [
                (a, a.get_major_ticks()) for one in figure.axes for a in (one.xaxis, one.yaxis)
            ]
            for text in figure.findobj(mpl.Text):
                text.set_fontsize(max(scale, SMALLEST) * float(text.get_fontsize()))
            for axis, some in ticks:  # those that the new size adds are alike
                axis.set_tick_params(labelsize=some[0].label1.get_fontsize() if some else None)
            with results.atomic(path) as partial:
                figure.savefig(partial, format="pdf", dpi=300, metadata={"CreationDate": None})


def _write(content: Sequence[bytes], target: Path) -> Files:
    files = _files(target)
    for path, data in zip(files, content, strict=True):
        with results.atomic(path) as partial:
            partial.write_bytes(data)
    return files


def look(index: int) -> tuple[str, str]:
    """Colour and marker of group number `index`; distinct up to 56."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def panels_of(
    count: int, width: float, height: float, across: int = 0, **grid: Any
) -> tuple[mpl.Figure, list[mpl.Axes]]:
    """A figure of panels, row by row, which makes room for its titles, labels and legend.

    Args:
      width, height: in inches, of all panels in a row with what stands beside them, and of a row.
      across: panels in a row, if not all.
      grid: arguments of `Figure.subplots`.
    """
    if _stacked.get() and not across:
        across, width = 1, min(width, _STACKED)
        grid.pop("width_ratios", None)
    down = -(-count // (across or count))
    figure = mpl.Figure((width, height * down), layout="constrained")
    every = figure.subplots(down, across or count, squeeze=False, **grid).ravel().tolist()
    for axes in every[count:]:
        axes.remove()
    return figure, every[:count]


def legend(figure: mpl.Figure, looks: Mapping[str, tuple[str, str]], line: str = "-") -> None:
    """Names to the right of all panels, by (colour, marker) each."""
    lines = [
        mpl.Line2D([], [], color=colour, marker=marker, ms=4.5, ls=line, lw=1.3, label=name)
        for name, (colour, marker) in looks.items()
    ]
    if _stacked.get():
        figure.legend(handles=lines, loc="outside upper center", ncols=3)
    else:
        figure.legend(handles=lines, loc="outside right upper")
