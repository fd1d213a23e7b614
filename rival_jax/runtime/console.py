"""The console that runs print on: names on it are text, neither markup nor commands to it."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from rich.text import Text

from rival_jax.runtime.names import visible


class Terminal(Console):
    """A console of rich that takes `[red]` and `:smile:` for what they are, and shows escapes."""

    def __init__(self, **options: Any):
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        if isinstance(
            self.file, io.TextIOWrapper
        ):  # one that cannot write a letter shows its escape
            self.file.reconfigure(errors="backslashreplace")

    def render_str(self, text: str, **options: Any) -> Text:
        """`text`, its line breaks alone kept: rich asks this for all that is printed."""
        return super().render_str(visible(text, keep="\n"), **options)


def plain(text: str, style: str = "") -> Text:
    """Text in one line for a cell or a title of rich, on whatever console."""
    return Text(visible(text), style)
