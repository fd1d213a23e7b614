"""Examples in docstrings, lines that begin with >>>, as code."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"(?:^>>> .*\n?(?:^(?!\n|>>> ).+\n?)*)+", re.MULTILINE)


class Examples(griffe.Extension):
    """Puts them into fences, which Markdown needs."""

    def on_function(self, *, func: griffe.Function, **kwargs: Any) -> None:
        """Changes one function's docstring."""
        if func.docstring:
            fenced = EXAMPLE.sub(
                lambda m: f"```pycon\n{m[0].rstrip()}\n```\n", func.docstring.value
            )
            func.docstring.value = fenced
