"""The console that runs print on: names are plain text, neither markup nor control codes."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from rich.text import Text

from rival_jax.runtime.names import visible


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
