"""The words of a page: those of a room's file, and the sentences that every page has."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

from rival_jax.report.figures import Drawn
from rival_jax.report.tables import percent

CLEAN_SHOWN = 8  # networks that a headline names


class Picture(NamedTuple):
    """A figure: `figures/<name>.png`, `.svg`, and the `.csv` of its numbers."""

    name: str
    draw: Callable[[], Drawn]
    caption: str
    alt: str  # for readers who do not see it: what it shows, not what it looks like
    photos: bool = False  # made of photos: on the page as JPEG, else as SVG


class Words:
    """What a room's page says, from its words.toml.

    Texts may hold {names}, which are filled in when one is asked for; lines are joined. Tables of
    the file:

      figures.NAME: `caption`, and `alt` for those who do not see the figure.
      text: sentences by name, or lists of them.
      titles.NAME: how values are written, in the order in which they are shown.
      caveats: `claim` that the numbers do not establish, and `why`; `when`, if not always.
    """

    def __init__(self, package: str | None):
        """`package`: that of the room, `__package__`."""
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
          words: the name that they have in the file, if not the figure's.
          fields: that they are filled in with.
        """
        found = self._all["figures"][words or name]
        caption, alt = (_filled(found[key], fields) for key in ("caption", "alt"))
        return Picture(name, draw, caption, alt, photos)

    def caveats(self, *cases: str, **fields: Any) -> list[tuple[str, str]]:
        """(claim, why) of all, in their order; those with a `when` if it is one of the cases."""
        told = [one for one in self._all["caveats"] if one.get("when", "") in ("", *cases)]
        return [(_filled(one["claim"], fields), _filled(one["why"], fields)) for one in told]


def _filled(text: str, fields: Mapping[str, Any]) -> str:
    return " ".join(text.split()).format(**fields)


def clean(shares: Mapping[str, Mapping[str, float]]) -> list[str]:
    """How often networks are right on the photos as they are: one sentence for all, or none.

    Args:
      shares: name of a network -> interval of its accuracy; with `right` and `images` where it is
        a plain share of images.
    """
    told = []
    for name, found in list(shares.items())[:CLEAN_SHOWN]:
        counted = f" ({found['right']} of {found['images']} images)" if "images" in found else ""
        told.append(f"{name} {percent(found)} %{counted}")
    more = len(shares) - CLEAN_SHOWN
    told += [f"and {more} more"] if more > 0 else []
    return [f"Right on the photos as they are: {', '.join(told)}."] if told else []


def config_table(nested: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Every value of some configs, flat: (key, value in each)."""
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
