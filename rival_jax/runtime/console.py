"""The console that runs print on: names are plain text, neither markup nor control codes."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from rival_jax.runtime.names import visible

GAP = 2  # between columns
NUMBER = re.compile(r"[+\-]?\d")


class Terminal(Console):
    """A rich console that prints `[red]` and `:smile:` literally, and shows escapes."""

    def __init__(self, **options: Any):
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        if isinstance(
            self.file, io.TextIOWrapper
        ):  # letters outside its encoding appear as escapes
            self.file.reconfigure(errors="backslashreplace")

    def render_str(self, text: str, **options: Any) -> Text:
        """`text` with only its line breaks kept; rich calls this for everything printed."""
        return super().render_str(visible(text, keep="\n"), **options)


def plain(text: str, style: str = "") -> Text:
    """Text in one line for a cell or a title of rich, on any console."""
    return Text(visible(text), style)


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
