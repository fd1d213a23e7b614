"""The words of a page: a room's file, and the sentences common to all pages."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

from rival_jax.report import declared, verdicts
from rival_jax.report.document import Document, Picture, Section
from rival_jax.report.figures import Drawn
from rival_jax.report.results import Results
from rival_jax.report.tables import Table

TESTS = {  # filled in wherever a text asks for them
    "star": verdicts.STAR,
    "holm": verdicts.METHOD.format(verdicts.HOLM),
    "rate": verdicts.METHOD.format(verdicts.RATE),
}
SEVERAL = re.compile(  # "{count} images", "{count} other classes": without the ending if it is one
    r"(\{(\w+)[^}]*\} (?:other )?(?!minus|times)[a-z]{2,}?(?:ss(?=es)|[a-rt-z](?=s)))e?s\b"
)
Pictures = Mapping[str, Callable[[], Drawn] | Sequence[Picture]]
"""What draws a figure, or the pictures in its place, by its name."""


class Words:
    """The texts of a room's page, from its words.toml or from a `file` beside a module.

    Texts may hold {names}, which are filled in on request; lines are joined. In what is drawn, a
    text that is one {name} becomes that value, which may be a list. Tables of the file:

      sections.NAME: `title`, and by name `text`, `figures` and `tables`, in the order of the page.
      figures.NAME: `caption`, and `alt` for readers who cannot see the figure; `draw` if it is a
        filter over results, see `declared.figure`; `photos` if it is made of photos; `file` if its
        files are called otherwise.
      tables.NAME: `title`, and what `declared.table` takes; `titles` may be the name of some.
      text: sentences by name, or lists of them; where n is 1, "{n} images" is "1 image". {holm} and
        {rate} say how p-values are adjusted, {star} what a star means.
      titles.NAME: how values are written, in display order.
      caveats: a `claim` that the numbers do not establish, and `why`; `when`, if not always.
    """

    def __init__(self, package: str | None, file: str = "words.toml"):
        """`package`: the room's `__package__`."""
        text = (resources.files(str(package)) / file).read_text(encoding="utf-8")
        self._all: dict[str, Any] = tomllib.loads(text)

    def text(self, name: str, /, **fields: Any) -> str:
        """A sentence."""
        return _filled(self._all["text"][name], fields)

    def texts(self, name: str, /, **fields: Any) -> list[str]:
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
        **fields: Any,
    ) -> Picture:
        """A figure with its caption and text alternative.

        Args:
          words: their name in the file, if not the figure's.
          fields: values to fill in.
        """
        found = self._all["figures"][words or name]
        texts = found.get("file", name), found["caption"], found["alt"]
        file, caption, alt = (_filled(text, fields) for text in texts)
        return Picture(file, draw, caption, alt, found.get("photos", False))

    def drawn(self, name: str, results: Results, *, words: str = "", **fields: Any) -> Picture:
        """A figure of results, as its `draw` says; arguments as for `picture`."""
        look = self._look(self._all["figures"][words or name]["draw"], fields)
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
        looks = [self._look(self._all["tables"][name], fields) for name in names]
        every = (
            declared.table(look, results, look["title"], confidence, cells or {}) for look in looks
        )
        return [table for some in every for table in some]

    def sections(
        self,
        results: Results,
        fields: Mapping[str, Any],
        *names: str,
        pictures: Pictures | None = None,
        tables: Mapping[str, Sequence[Table]] | None = None,
        of: Mapping[str, Results] | None = None,
        confidence: float = 0.95,
        cells: declared.Cells | None = None,
    ) -> list[Section]:
        """Parts of the page: those named, or all.

        Args:
          fields: values to fill in.
          pictures, tables: those in place of declared ones, by name. Of declared ones, those that
            nothing belongs in are left out.
          of: what is shown of other results than `results`, by the figure's or table's name.
          confidence, cells: as for `tables`.
        """
        ways: dict[str, Any] = {"confidence": confidence, "cells": cells, **fields}
        shown, told, others, made = pictures or {}, tables or {}, of or {}, list[Section]()
        for one in (self._all["sections"][name] for name in names or self._all["sections"]):
            seen: list[Picture] = []
            for word in one.get("figures", ()):
                seen += self._pictures(word, shown.get(word), others.get(word, results), fields)
            rows: list[Table] = []
            for word in one.get("tables", ()):
                mine = others.get(word, results)
                rows += told[word] if word in told else self.tables(mine, word, **ways)
            text = [self.text(word, **fields) for word in one.get("text", ())]
            made.append(Section(_filled(one["title"], fields), text, seen, rows))
        return made

    def _pictures(
        self,
        name: str,
        given: Callable[[], Drawn] | Sequence[Picture] | None,
        results: Results,
        fields: Mapping[str, Any],
    ) -> Sequence[Picture]:
        if callable(given):
            return [self.picture(name, given, **fields)]
        if given is not None:
            return given
        look = self._look(self._all["figures"][name].get("draw", {}), fields)
        belongs = look and declared.chosen(results, look.get("where", {})).rows
        return [self.drawn(name, results, **fields)] if belongs else []

    def document(
        self,
        fields: Mapping[str, Any],
        *,
        subtitle: str,
        headline: Sequence[str],
        sections: Sequence[Section],
        cases: Sequence[str] = (),
    ) -> Document:
        """The page; its other texts are "title", "method" and "source".

        Args:
          fields: values to fill in.
          cases: see `caveats`.
        """
        return Document(
            title=self.text("title", **fields),
            subtitle=subtitle,
            headline=headline,
            sections=sections,
            method=self.texts("method", **fields),
            caveats=self.caveats(*cases, **fields),
            source=self.text("source"),
        )

    def caveats(self, *cases: str, **fields: Any) -> list[tuple[str, str]]:
        """(claim, why) in order; a caveat with `when` only if that is one of the cases."""
        told = [one for one in self._all["caveats"] if one.get("when", "") in ("", *cases)]
        return [(_filled(one["claim"], fields), _filled(one["why"], fields)) for one in told]

    def _look(self, look: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
        """A table of the file with all its texts filled in."""
        titles = look.get("titles")
        titles = {"titles": self.titles(titles)} if isinstance(titles, str) else {}
        return _each({**look, **titles}, fields)


def _filled(text: str, fields: Mapping[str, Any]) -> str:
    """A text of the file.

    >>> _filled("{n} other classes, {m:g} images", {"n": 1, "m": 2})
    '1 other class, 2 images'
    """
    text = SEVERAL.sub(lambda m: m[1] if fields.get(m[2]) == 1 else m[0], " ".join(text.split()))
    return text.format(**{**TESTS, **fields})


def _each(look: Any, fields: Mapping[str, Any]) -> Any:
    if isinstance(look, Mapping):
        return {key: _each(value, fields) for key, value in look.items()}
    if isinstance(look, list):
        return [_each(value, fields) for value in look]
    if isinstance(look, str) and look[1:-1] in fields and look == f"{{{look[1:-1]}}}":
        return fields[look[1:-1]]
    return _filled(look, fields) if isinstance(look, str) else look
