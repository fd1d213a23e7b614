"""The text in figures: limited to the font's characters and to the room there is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from rival_jax.report import mpl
from rival_jax.runtime.names import LONGEST, short, visible

FONT = "DejaVu Sans"
PER_LETTER = 0.068  # inches, of tick labels


def letter(text: str) -> str:
    """Text for a figure: lines of at most `LONGEST` characters, all in the font.

    A missing character is replaced by its escape, which says more than an empty box.
    """
    lines = visible(text, keep="\n").split("\n")
    return "\n".join(short("".join(map(_glyph, line))) for line in lines)


def letters(figure: mpl.Figure) -> None:
    """Applies `letter` to all text in a figure; tick labels stay in one line."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            formatter = axis.get_major_formatter()
            if isinstance(formatter, mpl.FuncFormatter):
                formatter.func = _lettered(formatter.func)
    for text in figure.findobj(mpl.Text):
        assert isinstance(text, mpl.Text)
        if (shown := letter(text.get_text())) != text.get_text():
            text.set_text(shown)


def margin(names: Iterable[str]) -> float:
    """The width, in inches, that names need beside the axes."""
    return PER_LETTER * max((min(len(letter(name)), LONGEST) for name in names), default=0)


def _lettered(func: Callable[..., Any]) -> Callable[..., str]:
    return lambda *place: letter(visible(str(func(*place))))


def _glyph(character: str) -> str:
    if character.isascii() or ord(character) in _glyphs():
        return character
    return character.encode("unicode_escape").decode("ascii")


@functools.cache
def _glyphs() -> frozenset[int]:
    """The characters of the font."""
    return frozenset(mpl.get_font(mpl.findfont(FONT)).get_charmap())
