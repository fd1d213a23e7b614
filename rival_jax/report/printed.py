"""Tables on a console: what does not fit beside each other comes below, and no number is cut."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable

from rival_jax.report.tables import Table
from rival_jax.runtime.console import Terminal, plain
from rival_jax.runtime.names import visible

PRINTED, WIDE = 21, 200  # rows on the console, and columns if it is not a terminal
GAP = 2  # between columns
NUMBER = re.compile(r"[+\-]?\d")


def show_tables(tables: Iterable[Table], console: Console) -> None:
    """Prints at most `PRINTED` lines of each; wide and without frames if not on a terminal."""
    frame = box.SIMPLE_HEAD  # which parts columns by a blank
    if not console.is_terminal:
        console, frame = Terminal(file=console.file, width=WIDE, quiet=console.quiet), None
    for table in tables:
        # A line may break before a bracket.
        rows = [[cell.replace(", ", ",") for cell in row] for row in table.rows[:PRINTED]]
        header, *cells = [[visible(cell) for cell in row] for row in (table.header, *rows)]
        columns = list(zip(header, *cells, strict=True))
        for number, (places, widths) in enumerate(parts(columns, console.width)):
            title = table.title if not number else f"{table.title} (continued)"
            shown = RichTable(
                title=plain(title, "bold"),
                title_justify="left",
                box=frame,
                show_edge=False,
                pad_edge=False,
                padding=(0, GAP - bool(frame), 0, 0),
            )
            for place, width in zip(places, widths, strict=True):
                side = "right" if place else "left"
                name = plain(header[place])
                shown.add_column(name, justify=side, width=width, overflow="fold")
            for row in cells:
                shown.add_row(*(plain(row[place]) for place in places))
            console.print(shown, soft_wrap=False)
        if len(table.rows) > PRINTED:
            console.print(f"({len(table.rows) - PRINTED} more in tables.md)")


def parts(
    columns: Sequence[Sequence[str]], width: int
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The columns that stand beside each other, part by part, and their widths.

    The first columns, as many as tell the lines apart, are in every part, and may be folded to half
    the console's width. The others are as wide as their longest cells; or as their longest words,
    if that makes fewer parts.

    Args:
      columns: each with its header and cells.
      width: of the console, in letters.

    >>> parts([("net", "vit"), ("a", "1.0 [0.5,1.5]"), ("b", "2.0 [1.5,2.5]")], 20)
    [((0, 1), (3, 13)), ((0, 2), (3, 13))]
    """
    whole = [max(map(cell_len, column)) for column in columns]
    first = _leading(columns, whole, width // 2)
    words = [
        max(cell_len(word) for cell in column for word in [*cell.split(), ""]) for column in columns
    ]
    head = whole[:first]
    while sum(head) > max(width // 2, first):
        head[head.index(max(head))] -= 1
    wide, narrow = (_packed([*head, *some[first:]], first, width) for some in (whole, words))
    return narrow if len(narrow) < len(wide) else wide


def _leading(columns: Sequence[Sequence[str]], widths: Sequence[int], most: int) -> int:
    """How many columns tell the lines apart; 1 if they cannot, or would have to fold numbers."""
    lines = list(zip(*columns, strict=True))
    words = True
    for count, column in enumerate(columns, 1):
        words = words and not any(NUMBER.match(cell) for cell in column)
        if not words and sum(widths[:count]) > most:
            return 1
        if len({line[:count] for line in lines}) == len(lines):
            return count
    return 1


def _packed(
    widths: list[int], first: int, width: int
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Columns of these widths in as few parts as hold them, each with the first ones."""
    rows: list[list[int]] = [[]]
    for place in range(first, len(widths)):
        used = sum(widths[p] + GAP for p in (*range(first), *rows[-1], place)) - GAP
        if used > width and rows[-1]:
            rows.append([])
        rows[-1].append(place)
    every = [(*range(first), *row) for row in rows]
    return [(places, tuple(widths[p] for p in places)) for places in every]
