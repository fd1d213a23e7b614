"""The kinds of figures; each is drawn from filtered results, and comes with its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rival_jax.report.lettering import margin
from rival_jax.report.results import Results, Row
from rival_jax.report.style import COLOURS, FAINT, INK, MUTED, end_labels, look
from rival_jax.types import Array

ENDS = ("estimate", "low", "high")
MOST_PANELS, MOST_WITHIN = 6, 5
MARKS = "os^DvPX"  # of dots, to differ in more than colour
Titles = Mapping[Any, str]


class Drawn(NamedTuple):
    """A figure, and its numbers as the header and lines of a CSV file."""

    figure: Figure
    header: Sequence[str]
    lines: Sequence[Sequence[Any]]


def dots(
    results: Results,
    y: str,
    *,
    panel: str = "",
    by: str = "",
    label: str = "",
    percent: bool = False,
    lines: Results | None = None,
    titles: Titles | None = None,
    names: Sequence[Any] | None = None,
) -> Drawn:
    """Dots with intervals: a row for each value of `y`, panels side by side, distinct marks.

    Args:
      results: the rows to draw, one mark each.
      y: column whose values are the rows, in order.
      panel: column whose values are the panels, `MOST_PANELS` at most.
      by: column whose values have different colours and markers.
      label: of the horizontal axes.
      percent: whether numbers are shares.
      lines: drawn as vertical lines across a panel, such as a reference.
      titles: how values of any column are written.
      names: the rows, if not all values of `y` in order.
    """
    kinds = results.of(by) if by else [""]

    def draw(axes: Axes, row: Row, place: int) -> None:
        kind = kinds.index(row[by]) if by else 0
        colour, marker = COLOURS[kind % len(COLOURS)], MARKS[kind % 7]
        at = place + (0.22 * (kind - (len(kinds) - 1) / 2) if len(kinds) > 1 else 0)
        axes.hlines(at, row["low"], row["high"], color=colour, lw=1.2)
        axes.plot(row["estimate"], at, marker, color=colour, ms=4.5)

    drawn = _rows(results, y, panel, label, percent, titles, names, draw, 0.16 + 0.1 * len(kinds))
    for axes, value in zip(drawn.figure.axes, _values(results, panel), strict=False):
        axes.axvline(0, color=MUTED, lw=0.8, zorder=0)
        axes.grid(axis="x", color=FAINT, lw=0.4)
        for row in (lines or Results([])).where(**({panel: value} if panel else {})):
            axes.axvline(row["estimate"], color=FAINT, lw=1, zorder=0)
    if len(kinds) > 1:
        first = drawn.figure.axes[0]
        for k, kind in enumerate(kinds):
            text = _title(kind, titles)
            first.plot([], [], MARKS[k % 7], color=COLOURS[k % 8], ms=4.5, label=text)
        drawn.figure.legend(
            loc="lower left", ncols=len(kinds), frameon=False, fontsize=8, labelcolor=INK
        )
    return drawn


def bars(
    results: Results,
    y: str,
    *,
    panel: str = "",
    label: str = "",
    percent: bool = False,
    marks: Results | None = None,
    titles: Titles | None = None,
    names: Sequence[Any] | None = None,
    colours: Callable[[Any], str] = lambda name: COLOURS[0],
) -> Drawn:
    """Bars with intervals: a row for each value of `y`, panels side by side.

    Args:
      marks: a second number for each bar, as a vertical mark; with the same `y` and `panel`.
      colours: returns the colour of a value of `y`.
      results, y, panel, label, percent, titles, names: as for `dots`.
    """

    def draw(axes: Axes, row: Row, place: int) -> None:
        style: dict[str, Any] = {"color": colours(row[y]), "alpha": 0.55, "lw": 0}
        axes.barh(place, row["estimate"], height=0.62, **style)
        axes.hlines(place, row["low"], row["high"], color=INK, lw=1.2)
        here = {y: row[y], **({panel: row[panel]} if panel else {})}
        for mark in marks.where(**here) if marks else ():
            axes.vlines(mark["estimate"], place - 0.36, place + 0.36, color=COLOURS[1], lw=1.6)

    drawn = _rows(results, y, panel, label, percent, titles, names, draw, 0.27)
    for axes in drawn.figure.axes:
        axes.axvline(0, color=MUTED, lw=0.8)
        axes.spines["left"].set_visible(False)
    if not marks:
        return drawn
    more = [(*line, *_ends(marks, row, (y, panel))) for line, row in _pairs(drawn, results)]
    return Drawn(drawn.figure, (*drawn.header, *(f"mark_{end}" for end in ENDS)), more)


def curves(
    results: Results,
    x: str,
    *,
    by: str,
    panel: str = "",
    label: str = "",
    percent: bool = False,
    titles: Titles | None = None,
    shares: Sequence[Any] = (),
    faint: Sequence[Any] = (),
    at_end: bool = False,
    across: int = 0,
    log: bool = False,
) -> Drawn:
    """Lines with bands over the numbers of column `x`, one for each value of `by`.

    Args:
      shares: panels whose numbers are shares, drawn in percent on one scale.
      faint: values of `by` drawn as grey lines, without band or name.
      at_end: whether names are at the ends of the last panel's lines, not in a legend.
      across: panels in a row, if not all.
      log: whether distances along `x` are ratios; its numbers are the ticks.
      results, x, by, panel, label, percent, titles: as for `dots`.
    """
    panels, kinds = _values(results, panel), results.of(by)
    bright = [kind for kind in kinds if kind not in faint]
    named = [_title(kind, titles) for kind in bright]
    across = min(across or len(panels), len(panels))
    down = -(-len(panels) // across)
    aside = not at_end and len(named) > MOST_WITHIN  # the legend, else within the first panel
    width = 0.7 + 2.9 * across + (0.95 * margin(named) if at_end else 0)
    width += 0.4 + margin(named) if aside else 0
    height = 2.9 * down
    figure, drawn = Figure(figsize=(width, height)), []
    for number, value in enumerate(panels):
        row, column = divmod(number, across)
        corner = ((0.6 + 2.9 * column) / width, (2.9 * (down - 1 - row) + 0.55) / height)
        axes = figure.add_axes((*corner, 2.4 / width, 2.0 / height))
        for k, kind in enumerate(kinds):
            chosen = results.where(**{by: kind}, **({panel: value} if panel else {}))
            rows = sorted(chosen, key=lambda row: float(row[x]))
            _curve(axes, rows, x, look(k) if kind in bright else None)
            drawn += [(kind, value, *(row[name] for name in (x, *ENDS))) for row in rows]
        axes.axhline(0, color=FAINT, lw=0.8, zorder=0)
        axes.set_title(_title(value, titles), loc="left")
        axes.set_xlabel(_title(x, titles))
        if log:
            axes.set_xscale("log")
            axes.set_xticks(results.of(x), results.of(x))
            axes.minorticks_off()
        if percent or value in shares:
            _percent(axes.yaxis)
    alike = [figure.axes[panels.index(value)] for value in shares]
    limits = [axes.get_ylim() for axes in alike]
    for axes in alike:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    figure.axes[0].set_ylabel(label)
    looks = [look(kinds.index(kind)) for kind in bright]
    if at_end:
        ends = {kind: middle for kind, value, _, middle, *_ in drawn if value == panels[-1]}
        places = np.array([ends[kind] for kind in bright])
        end_labels(figure.axes[-1], places, named, [colour for colour, _ in looks])
    else:
        axes = figure.axes[across - 1 if aside else 0]
        for (colour, marker), text in zip(looks, named, strict=True):
            axes.plot([], [], color=colour, marker=marker, label=text)
        place = {"loc": "upper left", "bbox_to_anchor": (1.02, 1)} if aside else {}
        axes.legend(frameon=False, fontsize=7.5, **place)
    return Drawn(figure, (by, panel or "panel", x, *ENDS), drawn)


def against(
    results: Results,
    base: Results,
    *,
    by: str,
    line: Callable[[Array], Array],
    named: str,
    titles: tuple[str, str],
) -> Drawn:
    """Shares over other shares of the same networks, and a line on which others lie.

    Args:
      results, base: shares, at most one for each value of `by` and one for each of those.
      line: from shares on the horizontal axis to those on the vertical one.
      named: whose line it is.
      titles: of the axes.
    """
    at = {row[by]: 100 * row["estimate"] for row in base}
    ends = max(1, min(at.values()) - 10), min(99, max(at.values()) + 10)
    places = jnp.linspace(*ends, 41) / 100
    rows: list[Row] = [{**row, "base": at[row[by]]} for row in results]
    for place, share in zip(places, line(places).tolist(), strict=True):
        rows.append({by: named, "base": 100 * float(place), **dict.fromkeys(ENDS, share)})
    told: dict[str, Any] = {"label": titles[1], "titles": {"base": titles[0]}}
    return curves(Results(rows), "base", by=by, percent=True, **told)


def _curve(axes: Axes, rows: Sequence[Row], x: str, looks: tuple[str, str] | None) -> None:
    """A line with its band, in (colour, marker); without either, a grey line."""
    place, middle, low, high = (np.array([float(row[name]) for row in rows]) for name in (x, *ENDS))
    colour, marker = looks or (FAINT, "")
    axes.plot(place, middle, color=colour, marker=marker, ms=3.5, lw=1.3)
    if looks:
        axes.fill_between(place, low, high, color=colour, alpha=0.15, lw=0)
    if looks and len(rows) == 1:
        axes.vlines(place, low, high, color=colour, lw=1.2)


def _rows(
    results: Results,
    y: str,
    panel: str,
    label: str,
    percent: bool,
    titles: Titles | None,
    names: Sequence[Any] | None,
    draw: Callable[[Axes, Row, int], None],
    each: float,
) -> Drawn:
    """Panels side by side with the values of `y` as rows; all on one scale."""
    names = list(names or results.of(y))
    shown = [_title(name, titles) for name in names]
    panels = _values(results, panel)[:MOST_PANELS]
    room, height = max(1.2, margin(shown) + 0.25), 1.1 + each * len(names)
    width = room + 0.1 + 2.5 * len(panels)
    figure, lines = Figure(figsize=(width, height)), []
    for column, value in enumerate(panels):
        left = (room + 2.5 * column) / width
        axes = figure.add_axes((left, 0.75 / height, 2.3 / width, 1 - 1.05 / height))
        for row in results.where(**({panel: value} if panel else {})):
            if row[y] in names:
                draw(axes, row, names.index(row[y]))
                lines.append(tuple(row.get(c) for c in _columns(results) if c))
        axes.set_yticks(range(len(names)), shown if not column else [""] * len(names))
        axes.set(ylim=(len(names) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0)
        axes.set_title(_title(value, titles), loc="left")
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if percent:
            _percent(axes.xaxis)
    limits = [axes.get_xlim() for axes in figure.axes]
    for axes in figure.axes:
        axes.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))
    return Drawn(figure, _columns(results), lines)


def _columns(results: Results) -> tuple[str, ...]:
    """Columns of a figure's CSV: those that identify its rows, and their numbers."""
    told = [name for name in ("measure", *results.axes(), "contrast") if any(results.of(name))]
    return (*told, *ENDS)


def _values(results: Results, panel: str) -> list[Any]:
    return results.of(panel) if panel else [""]


def _pairs(drawn: Drawn, results: Results) -> list[tuple[Any, Row]]:
    place = {tuple(row.get(c) for c in drawn.header): row for row in results}
    return [(line, place[tuple(line)]) for line in drawn.lines]


def _ends(marks: Results, row: Row, columns: Sequence[str]) -> tuple[Any, ...]:
    found = marks.where(**{c: row[c] for c in columns if c}).rows
    ends = [found[0][end] for end in ENDS] if found else [np.nan] * 3
    return tuple("" if np.isnan(end) else end for end in ends)  # also for marks without an interval


def _title(value: Any, titles: Titles | None) -> str:
    return (titles or {}).get(value, str(value))


def _percent(axis: Any) -> None:
    axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
