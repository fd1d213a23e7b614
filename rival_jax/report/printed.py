"""Tables on a console: what does not fit beside each other comes below, and no number is cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from rival_jax.report.tables import Table
from rival_jax.runtime.console import Terminal, plain

PRINTED, WIDE = 21, 200  # rows on the console, and columns if it is not a terminal
GAP = 2  # between columns


def show_tables(tables: Iterable[Table], console: Console) -> None:
    """Prints at most `PRINTED` lines of each; wide and without frames if not on a terminal."""
    frame = box.SIMPLE_HEAD  # which parts columns by a blank
    if not console.is_terminal:
        console, frame = Terminal(file=console.file, width=WIDE, quiet=console.quiet), None
    for table in tables:
        # A line may break before a bracket.
        cells = [[cell.replace(", ", ",") for cell in row] for row in table.rows[:PRINTED]]
        columns = list(zip(table.header, *cells, strict=True))
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
                name = plain(table.header[place])
                shown.add_column(name, justify=side, width=width, overflow="fold")
            for row in cells:
                shown.add_row(*(plain(row[place]) for place in places))
            console.print(shown, soft_wrap=False)
        if len(table.rows) > PRINTED:
            console.print(f"({len(table.rows) - PRINTED} more in tables.md)")


def parts(
    columns: Sequence[Sequence[str]], width: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The columns that fit beside each other, and their widths; the first is in every part.

    A column is as wide as its longest cell, or as its longest word if that lets more columns stand
    beside it. Only the first, which names the lines, may be folded, at half the console's width.

    Args:
      columns: each with its header and cells.
      width: of the console, in letters.

    >>> list(parts([("net", "vit"), ("a", "1.0 [0.5,1.5]"), ("b", "2.0 [1.5,2.5]")], 20))
    [((0, 1), (3, 13)), ((0, 2), (3, 13))]
    """
    least = [
        max(len(word) for cell in column for word in [*cell.split(), ""]) for column in columns
    ]
    most = [max(map(len, column)) for column in columns]
    most[0] = least[0] = min(most[0], max(width // 2, 1))
    start = 1
    while start < len(columns) or start == 1:
        end, used = start, least[0]
        while end < len(columns) and (end == start or used + GAP + least[end] <= width):
            used += GAP + least[end]
            end += 1
        places = (0, *range(start, end))
        room, widths = width - used, []
        for place in places:
            more = min(max(room, 0), most[place] - least[place])
            widths.append(least[place] + more)
            room -= more
        yield places, tuple(widths)
        start = end if end > start else end + 1
