"""Tables of text cells: as Markdown, as CSV and as LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rival_jax import significance
from rival_jax.report import verdicts
from rival_jax.report.results import Results, Row
from rival_jax.runtime.names import csv_cell
from rival_jax.runtime.names import latex as in_latex
from rival_jax.runtime.names import markdown as in_markdown
from rival_jax.runtime.workdir import write_text


class Table(NamedTuple):
    """Text cells ready to be shown."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def percent(interval: Mapping[str, Any]) -> str:
    """An accuracy and its interval, if it has one: "71.2 [68.0, 74.1]"."""
    return _with_ends(interval, lambda x, n: f"{round(100 * x, n - 1) + 0.0:.{n - 1}f}")


def ratio(interval: Mapping[str, Any]) -> str:
    """An RFS and its interval, if it has one: "+0.42 [+0.31, +0.51]".

    >>> ratio({"estimate": 0.008, "low": 0.003, "high": 0.012})
    '+0.008 [+0.003, +0.012]'
    """
    return _with_ends(interval, signed)


def plain(interval: Mapping[str, Any]) -> str:
    """Two decimals and the interval, if it has one: "0.42 [0.31, 0.51]"."""
    return _with_ends(interval, lambda x, n: f"{round(x, n) + 0.0:.{n}f}")


def _with_ends(interval: Mapping[str, Any], written: Callable[[float, int], str]) -> str:
    """With up to four decimals, if with two an interval would seem to end at 0 and does not."""
    numbers = estimate, low, high = [interval[name] for name in ("estimate", "low", "high")]
    if low != low:
        return written(estimate, 2)
    ends = [[written(x, n) for x in numbers] for n in (2, 3, 4)]
    told = (some for some in ends if low * high <= 0 or all(map(float, some[1:])))
    return "{} [{}, {}]".format(*next(told, ends[0]))


def counted(count: int, thing: str) -> str:
    """A count in words.

    >>> counted(1, "model"), counted(2, "class")
    ('1 model', '2 classes')
    """
    ending = "" if count == 1 else "es" if thing.endswith("s") else "s"
    return f"{count} {thing}{ending}"


def signed(value: float, decimals: int) -> str:
    """Decimals and a sign, without a sign before zero."""
    text = f"{value:+.{decimals}f}"
    return text if float(text) else text[1:]


def as_markdown(table: Table) -> str:
    """A table under its title as GitHub Markdown."""
    rows = (table.header, *table.rows)
    lines = ["| " + " | ".join(map(in_markdown, row)) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(table.header))
    return f"### {in_markdown(table.title)}\n\n" + "\n".join(lines) + "\n"


def as_csv(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A CSV file's text; numbers unchanged, text protected from evaluation by spreadsheets."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([csv_cell(cell) for cell in line] for line in (header, *lines))
    return buffer.getvalue()


def write_csv(path: Path, header: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV file, see `as_csv`."""
    write_text(path, as_csv(header, lines))


def pivot(
    title: str,
    results: Results,
    rows: Sequence[str],
    column: str,
    cell: Callable[[Row], str],
    *,
    titles: Mapping[Any, str] | None = None,
    columns: Sequence[Any] | None = None,
    order: Sequence[Any] | None = None,
) -> Table:
    """Results as a table: a line per combination of `rows`, a column per value of `column`.

    Args:
      results: at most one per cell; cells without one are empty.
      rows: columns of the results that identify the lines.
      column: the column of the results whose values become columns.
      cell: formats one result.
      titles: how values of columns and of the header are written.
      columns: the columns, if not all in order.
      order: values of the first of `rows`, if not all in order.
    """
    told = titles or {}
    columns = results.of(column) if columns is None else list(columns)
    found = {(tuple(row.get(r) for r in rows), row.get(column)): cell(row) for row in results}
    lines = list(dict.fromkeys(key for key, _ in found))
    if order is not None:
        lines = sorted(
            (line for line in lines if line[0] in order), key=lambda k: order.index(k[0])
        )
    header = [str(told.get(name, name)) for name in (*rows, *columns)]
    shown = [
        (
            *("" if key is None else str(told.get(key, key)) for key in line),
            *(found.get((line, name), "") for name in columns),
        )
        for line in lines
    ]
    return Table(title, tuple(header), shown)


def differences(
    title: str,
    results: Results,
    rows: Sequence[str],
    cell: Callable[[Row], str],
    confidence: float,
    *,
    quantity: str = "difference",
    titles: Mapping[Any, str] | None = None,
    adjust: verdicts.Adjust = significance.holm,
) -> Table:
    """A line for each difference: its interval, whether it differs from 0, and the adjusted p.

    Args:
      results: differences, described by their contrast; p-values are adjusted for their number.
      rows: columns that identify them; the first is written with its contrast.
      cell: formats one result.
      confidence: the test's.
      quantity: header of the numbers.
      titles: how values are written.
      adjust: see `verdicts.of_rows`.
    """
    told = titles or {}
    judged = verdicts.of_rows(results, confidence, adjust)
    lines = []
    for row, verdict in zip(results, judged, strict=True):
        values = ("" if row.get(name) is None else row[name] for name in rows)
        first, *others = (str(told.get(value, value)) for value in values)
        named = f"{first} {row['contrast']}".strip()
        lines.append((named, *others, cell(row), verdict.word, verdict.p))
    header = (*(told.get(name, name) for name in rows), quantity, "differs", "p")
    return Table(title, header, lines)


def minus(text: str, sign: str = "\N{MINUS SIGN}") -> str:
    """Typographic minus signs before numbers."""
    return re.sub(r"(?<![\w.])-(?=\d)", sign, text)


def as_latex(table: Table) -> str:
    """A table as LaTeX, for the package booktabs."""
    cell = lambda text: minus(in_latex(text), "$-$")  # noqa: E731
    lines = [" & ".join(map(cell, row)) + r" \\" for row in (table.header, *table.rows)]
    rules = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    columns = "l" + "r" * (len(table.header) - 1)
    inside = "\n".join([rf"\begin{{tabular}}{{{columns}}}", *rules, r"\end{tabular}"])
    return f"% {in_latex(table.title)}\n{inside}\n"
