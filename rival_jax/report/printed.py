"""Tables on a console: what does not fit beside each other comes below, and no number is cut."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from rival_jax.report.tables import Table
from rival_jax.runtime.console import GAP, Terminal, parts, plain
from rival_jax.runtime.names import visible

PRINTED, WIDE = 21, 200  # rows on the console, and columns if it is not a terminal


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
