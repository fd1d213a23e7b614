"""The words of a page: a room's file, and the sentences common to all pages."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

from rival_jax.report import declared
from rival_jax.report.figures import Drawn
from rival_jax.report.results import Results
from rival_jax.report.tables import Table, percent

CLEAN_SHOWN = 8  # networks named in a headline


class Picture(NamedTuple):
    """A figure: `figures/<name>.png`, `.svg`, and the `.csv` of its numbers."""

    name: str
    draw: Callable[[], Drawn]
    caption: str
    alt: str  # for readers who cannot see it: what it shows, not how it looks
    photos: bool = False  # made of photos: JPEG on the page, else SVG


class Words:
    """The texts of a room's page, from its words.toml.

    Texts may hold {names}, which are filled in on request; lines are joined. Tables of the file:

      figures.NAME: `caption`, and `alt` for readers who cannot see the figure; `draw` if it is a
        filter over results, see `declared.figure`.
      tables.NAME: `title`, and what `declared.table` takes.
      text: sentences by name, or lists of them.
      titles.NAME: how values are written, in display order.
      caveats: a `claim` that the numbers do not establish, and `why`; `when`, if not always.
    """

    def __init__(self, package: str | None):
        """`package`: the room's `__package__`."""
        file = resources.files(str(package)) / "words.toml"
        self._all: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))

    def text(self, name: str, **fields: Any) -> str:
        """A sentence."""
        return _filled(self._all["text"][name], fields)

    def texts(self, name: str, **fields: Any) -> list[str]:
        """A list of sentences."""
        return [_filled(text, fields) for text in self._all["text"][name]]

    def titles(self, name: str) -> dict[str, str]:
        """A table of titles, by value."""
        return dict(self._all["titles"][name])

    def picture(
        self,
        name: str,
        draw: Callable[[], Drawn],
        *,
        words: str = "",
        photos: bool = False,
        **fields: Any,
    ) -> Picture:
        """A figure with its caption and text alternative.

        Args:
          words: their name in the file, if not the figure's.
          fields: values to fill in.
        """
        found = self._all["figures"][words or name]
        caption, alt = (_filled(found[key], fields) for key in ("caption", "alt"))
        return Picture(name, draw, caption, alt, photos)

    def drawn(self, name: str, results: Results, *, words: str = "", **fields: Any) -> Picture:
        """A figure of results, as its `draw` says; arguments as for `picture`."""
        look = _each(self._all["figures"][words or name]["draw"], fields)
        return self.picture(name, declared.figure(look, results), words=words, **fields)

    def tables(
        self,
        results: Results,
        *names: str,
        confidence: float = 0.95,
        cells: declared.Cells | None = None,
        **fields: Any,
    ) -> list[Table]:
        """Tables of results; those that nothing belongs in are left out.

        Args:
          confidence: of the tests.
          cells: further ways to write a number, by name.
          fields: values to fill in.
        """
        looks = [_each(self._all["tables"][name], fields) for name in names]
        every = (
            declared.table(look, results, look["title"], confidence, cells or {}) for look in looks
        )
        return [table for some in every for table in some]

    def caveats(self, *cases: str, **fields: Any) -> list[tuple[str, str]]:
        """(claim, why) in order; a caveat with `when` only if that is one of the cases."""
        told = [one for one in self._all["caveats"] if one.get("when", "") in ("", *cases)]
        return [(_filled(one["claim"], fields), _filled(one["why"], fields)) for one in told]


def _filled(text: str, fields: Mapping[str, Any]) -> str:
    return " ".join(text.split()).format(**fields)


def _each(look: Any, fields: Mapping[str, Any]) -> Any:
    """A table of the file with all its texts filled in."""
    if isinstance(look, Mapping):
        return {key: _each(value, fields) for key, value in look.items()}
    return _filled(look, fields) if isinstance(look, str) else look


def clean(shares: Mapping[str, Mapping[str, float]]) -> list[str]:
    """How often networks are right on unchanged photos: one sentence for all, or none.

    Args:
      shares: network's name -> interval of its accuracy, with `right` and `images` if it is a plain
        share of images.
    """
    told = []
    for name, found in list(shares.items())[:CLEAN_SHOWN]:
        counted = f" ({found['right']} of {found['images']} images)" if "images" in found else ""
        told.append(f"{name} {percent(found)} %{counted}")
    more = len(shares) - CLEAN_SHOWN
    told += [f"and {more} more"] if more > 0 else []
    return [f"Right on the photos as they are: {', '.join(told)}."] if told else []


def config_table(nested: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """All values of some configs, flat: (key, value in each config)."""
    configs = [_flat(config) for config in nested]
    keys = dict.fromkeys(key for config in configs for key in config)
    return [(key, [_shown(config.get(key)) for config in configs]) for key in keys]


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "not set" if value in (None, "") else str(value)
