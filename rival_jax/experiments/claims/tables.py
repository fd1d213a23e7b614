"""What the package knows of the two papers, from the files of `assets/claims`.

`claims`: told in our words, with the relation that decides each, see `language`. `quantities`: what
relations speak of. `sets`: what they go through. `networks` and `words`: the papers' names for what
has other names here. `published`: numbers of RobustViT's tables 1 to 4 and its README, and of
RIVAL10's lists of files and labels; nothing in it was measured here.
"""

from __future__ import annotations

import csv
import functools
import pathlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import rival_jax
from rival_jax.weights import catalogue

Sets = Mapping[str, tuple[Any, ...]]
"""What claims go through, by name: words, or levels."""
PAPERS = {"R10": "RIVAL10", "RVT": "RobustViT"}
EXACT = ("dataset", "protocol", "definition")  # kinds of claims about facts, not measurements
_FOLDER = pathlib.Path(rival_jax.__file__).parent / "assets" / "claims"


class Claim(NamedTuple):
    """One claim of a paper."""

    id: str
    section: str
    kind: str  # "finding" | "dataset" | "protocol" | "definition" | "opinion"
    claim: str
    needs: str  # the experiments whose runs decide it, or why none can
    relation: str  # see `language`; "": a person has to judge
    threshold: str  # whose ordering or number it is: "paper" | "assumed" (ours)
    note: str

    @property
    def paper(self) -> str:
        """One of `PAPERS`."""
        return self.id[:3]


class Quantity(NamedTuple):
    """What a relation speaks of: a number of a study, a definition, or a fact about runs."""

    name: str
    parameters: tuple[str, ...]  # "t=top1" has a default
    study: str  # of a number: which results it is, their `measure` and `columns`
    measure: str
    columns: Mapping[str, str]  # values; {m} is an argument
    scale: float  # of the paper's unit
    definition: str  # in the language of claims
    lacking: str  # of a fact: what is missing if no run tells it

    def given(self, arguments: Sequence[Any]) -> dict[str, Any]:
        """The arguments by name, defaults included."""
        names = [name.partition("=") for name in self.parameters]
        every = [*arguments, *(default for *_, default in names[len(arguments) :])]
        return dict(zip((name for name, *_ in names), every, strict=True))

    @property
    def asked(self) -> set[str]:
        """Columns that depend on arguments, without networks."""
        return {key for key, value in self.columns.items() if "{" in value} - {"network", "minus"}

    def places(self, arguments: Sequence[Any]) -> dict[str, Any]:
        """Which results it is: the measure, and the values of columns; networks in tuples."""
        given, told = self.given(arguments), {"measure": self.measure}
        found: dict[str, Any] = {}
        for column, text in {**told, **self.columns}.items():
            alone = text.strip("{}")
            whole = alone in given and alone != text
            value = given[alone] if whole else text.format(**given)
            value = (word(column, value) or value) if isinstance(value, str) else value
            is_network = column in ("network", "minus")
            found[column] = (value.partition(" original")[0],) if is_network else value
        return found


class Set(NamedTuple):
    """Words or levels that claims go through."""

    members: tuple[Any, ...]
    own: str  # what stands for them among somebody's own results, see `values.restricted`


class Published(NamedTuple):
    """A number as it was printed, or a list of words."""

    source: str
    quantity: str
    arguments: tuple[str, ...]
    value: str


@functools.cache
def claims() -> tuple[Claim, ...]:
    """All claims, RIVAL10's first."""
    return tuple(Claim(**row) for row in _rows("claims"))


@functools.cache
def quantities() -> Mapping[str, Quantity]:
    """What relations speak of, by name."""
    found = {}
    for row in _rows("quantities"):
        columns = dict(part.split("=") for part in row["columns"].split("; ") if part)
        told = {"parameters": tuple(row["parameters"].split()), "columns": columns}
        found[row["name"]] = Quantity(**{**row, **told, "scale": float(row["scale"] or 1)})
    return found


@functools.cache
def sets(paper: str) -> Mapping[str, Set]:
    """A paper's sets of words by name."""
    found = {}
    for row in (row for row in _rows("sets") if row["paper"] == paper):
        kind = float if row["own"] == "levels" else str
        found[row["name"]] = Set(tuple(map(kind, row["members"].split())), row["own"])
    return found


@functools.cache
def published() -> tuple[Published, ...]:
    """All printed numbers."""
    rows = _rows("published")
    return tuple(Published(**{**row, "arguments": tuple(row["arguments"].split())}) for row in rows)


@functools.cache
def word(of: str, text: str) -> str | None:
    """Our word for a paper's, or the paper's for ours; None if there is none.

    >>> word("protocol", "imagenet_a top5"), word("variant", "rrr"), word("set", "scenes")
    ('full_5', 'rrr annotated', None)
    """
    rules = (row for row in _rows("words") if row["of"] == of and fnmatchcase(text, row["word"]))
    return next((row["ours"].replace("*", text) for row in rules), None)


@functools.cache
def entries() -> Mapping[str, tuple[str, ...]]:
    """The papers' words for networks, and the catalogue's, the first being what we call it."""
    return {row["name"]: tuple(row["catalogue"].split()) for row in _rows("networks")}


@functools.cache
def network(name: str) -> str:
    """What a network is called here, whatever it is called there; blanks follow what was done.

    >>> network("deit_s ours annotated"), network("deit/deit_small_patch16_224-cd65a155")
    ('timm/deit_small_patch16_224.fb_in1k ours annotated', 'timm/deit_small_patch16_224.fb_in1k')
    """
    base, blank, done = name.partition(" ")
    if base not in entries():
        entry = catalogue.find(base)
        full = entry.name if entry else base
        same = (names[0] for names in entries().values() if full in names)
        return next(same, full) + blank + done
    return entries()[base][0] + blank + done


@functools.cache
def _rows(name: str) -> tuple[dict[str, str], ...]:
    with (_FOLDER / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))
