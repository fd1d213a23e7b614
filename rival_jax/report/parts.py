"""What a page is made of: pictures, sections, and the whole document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rival_jax.report.figures import Drawn
from rival_jax.report.results import Row
from rival_jax.report.tables import Table


class Picture(NamedTuple):
    """A figure: `figures/<name>.png`, `.svg`, and the `.csv` of its numbers."""

    name: str
    draw: Callable[[], Drawn]
    caption: str
    alt: str  # for readers who cannot see it: what it shows, not how it looks
    photos: bool = False  # made of photos: JPEG on the page, else SVG


class Section(NamedTuple):
    """A part of the page between two headings."""

    title: str
    text: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()


class Document(NamedTuple):
    """Everything an experiment reports; data, models and config are added automatically."""

    title: str
    subtitle: str
    headline: Sequence[str]  # the result in sentences, first thing on the page
    sections: Sequence[Section]
    method: Sequence[str]  # how it was measured, in sentences
    caveats: Sequence[tuple[str, str]]  # what it does not establish, and why
    source: str  # "The measurement is due to ..."
    runs: Sequence[Path] = ()  # finished runs that it joins; default: the run itself
    groups: Mapping[str, Sequence[str]] | None = None  # of models
    clean: Mapping[str, Row] | None = None  # networks' accuracy on photos, if not from data.json
