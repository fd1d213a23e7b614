"""The kinds of figures; each is drawn from filtered results, and comes with its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from rival_jax.report import mpl
from rival_jax.report.lettering import margin
from rival_jax.report.results import Results, Row
from rival_jax.report.style import COLOURS, FAINT, INK, MUTED, legend, look, panels_of
from rival_jax.types import Array

ENDS = ("estimate", "low", "high")
MOST_PANELS = 6
Titles = Mapping[Any, str]


class Drawn(NamedTuple):
    """A figure, and its numbers as the header and lines of a CSV file."""

    figure: mpl.Figure
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
    apart: bool = False,
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
      apart: whether each panel has a scale of its own.
    """
    kinds = results.of(by) if by else [""]

    def draw(axes: mpl.Axes, row: Row, place: int) -> tuple[Any, ...]:
        kind = kinds.index(row[by]) if by else 0
        (colour, marker), at = look(kind), place + 0.22 * (kind - (len(kinds) - 1) / 2)
        axes.hlines(at, row["low"], row["high"], color=colour, lw=1.2)
        axes.plot(row["estimate"], at, marker, color=colour, ms=4.5)
        return ()

    each = 0.16 + 0.1 * len(kinds)
    drawn = _rows(results, y, panel, label, percent, titles, names, draw, each, apart=apart)
    for axes, value in zip(drawn.figure.axes, _values(results, panel), strict=False):
        low, high = axes.get_xlim()
        if low <= 0 <= high:
            axes.axvline(0, color=MUTED, lw=0.8, zorder=0)
        axes.grid(axis="x", color=FAINT, lw=0.4)
        for row in (lines or Results([])).where(**({panel: value} if panel else {})):
            axes.axvline(row["estimate"], color=FAINT, lw=1, zorder=0)
    if len(kinds) > 1:
        legend(
            drawn.figure, {_title(kind, titles): look(k) for k, kind in enumerate(kinds)}, line=""
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

    def draw(axes: mpl.Axes, row: Row, place: int) -> tuple[Any, ...]:
        axes.barh(place, row["estimate"], height=0.62, color=colours(row[y]), alpha=0.55, lw=0)
        axes.hlines(place, row["low"], row["high"], color=INK, lw=1.2)
        if not marks:
            return ()
        here = marks.where(**{column: row[column] for column in (y, panel) if column}).rows
        for mark in here:
            axes.vlines(mark["estimate"], place - 0.36, place + 0.36, color=COLOURS[1], lw=1.6)
        ends = [here[0][end] for end in ENDS] if here else [np.nan] * 3
        return tuple("" if np.isnan(end) else end for end in ends)  # some have no interval

    more = tuple(f"mark_{end}" for end in ENDS) if marks else ()
    drawn = _rows(results, y, panel, label, percent, titles, names, draw, 0.27, more)
    for axes in drawn.figure.axes:
        axes.axvline(0, color=MUTED, lw=0.8)
        axes.spines["left"].set_visible(False)
    return drawn


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
    across: int = 0,
    log: bool = False,
) -> Drawn:
    """Lines with bands over the numbers of column `x`, one for each value of `by`.

    Args:
      shares: panels whose numbers are shares, drawn in percent on one scale.
      faint: values of `by` drawn as grey lines, without band or name.
      across: panels in a row, if not all.
      log: whether distances along `x` are ratios; its numbers are the ticks.
      results, x, by, panel, label, percent, titles: as for `dots`.
    """
    panels, kinds = _values(results, panel), results.of(by)
    looks = {kind: look(k) for k, kind in enumerate(kinds) if kind not in faint}
    named = {_title(kind, titles): looks[kind] for kind in looks}
    wide = min(across or len(panels), len(panels))
    width = 2.7 * wide + margin(named) + 0.5
    figure, every = panels_of(len(panels), width, 2.6, across and wide)
    drawn, alike = [], [axes for axes, value in zip(every, panels, strict=True) if value in shares]
    for axes in alike[1:]:
        axes.sharey(alike[0])
    for axes, value in zip(every, panels, strict=True):
        for kind in kinds:
            chosen = results.where(**{by: kind}, **({panel: value} if panel else {}))
            rows = sorted(chosen, key=lambda row: float(row[x]))
            _curve(axes, rows, x, looks.get(kind))
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
    every[0].set_ylabel(label)
    legend(figure, named)
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


def _curve(axes: mpl.Axes, rows: Sequence[Row], x: str, looks: tuple[str, str] | None) -> None:
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
    draw: Callable[[mpl.Axes, Row, int], tuple[Any, ...]],
    each: float,
    more: Sequence[str] = (),
    apart: bool = False,
) -> Drawn:
    """Panels side by side with the values of `y` as rows; `draw` returns the numbers `more`."""
    names = list(names or results.of(y))
    shown, panels = [_title(name, titles) for name in names], _values(results, panel)[:MOST_PANELS]
    header = [name for name in ("measure", *results.axes(), "contrast") if any(results.of(name))]
    width, share = margin(shown) + 0.4 + 2.4 * len(panels), {"sharex": not apart, "sharey": True}
    figure, every = panels_of(len(panels), width, 0.9 + each * len(names), **share)
    lines = []
    for axes, value in zip(every, panels, strict=True):
        for row in results.where(**({panel: value} if panel else {})):
            if row[y] in names:
                told = (row.get(column) for column in (*header, *ENDS))
                lines.append((*told, *draw(axes, row, names.index(row[y]))))
        axes.set_yticks(range(len(names)), shown)
        axes.set(ylim=(len(names) - 0.4, -0.6), xlabel=label)
        axes.tick_params(axis="y", length=0)
        axes.set_title(_title(value, titles), loc="left")
        axes.xaxis.set_major_locator(mpl.MaxNLocator(5))
        if percent:
            _percent(axes.xaxis)
    return Drawn(figure, (*header, *ENDS, *more), lines)


def _values(results: Results, panel: str) -> list[Any]:
    return results.of(panel) if panel else [""]


def _title(value: Any, titles: Titles | None) -> str:
    return (titles or {}).get(value, str(value))


def _percent(axis: Any) -> None:
    axis.set_major_formatter(mpl.PercentFormatter(1, decimals=0, symbol=""))
