"""What the package knows of the two papers: claims, networks, sets, numbers (assets/claims).

Claims are told in our words. Numbers are those of RobustViT's tables 1 to 4 and its README, and of
RIVAL10's lists of files and labels; nothing in them was measured here.
"""

from __future__ import annotations

import csv
import functools
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import rival_jax
from rival_jax.weights import catalogue

Sets = Mapping[str, tuple[Any, ...]]
"""What claims go through, by name: words, or levels."""
PAPERS = {"R10": "RIVAL10", "RVT": "RobustViT"}
EXACT = ("dataset", "protocol", "definition")  # kinds of claims about what is, not what is measured
_FOLDER = pathlib.Path(rival_jax.__file__).parent / "assets" / "claims"


class Claim(NamedTuple):
    """One claim of a paper."""

    id: str
    section: str
    kind: str  # "finding" | "dataset" | "protocol" | "definition" | "opinion"
    claim: str
    needs: str  # experiments whose runs tell, or why no run does
    relation: str  # see `language`; "": a person has to judge
    threshold: str  # "paper" | "assumed": an ordering or number of the paper's, or of ours
    note: str

    @property
    def paper(self) -> str:
        """One of `PAPERS`."""
        return self.id[:3]


class Set(NamedTuple):
    """Words or levels that claims go through."""

    members: tuple[Any, ...]
    own: str  # what stands for them among somebody's own results, see `measured.restricted`


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
    return tuple(
        Published(row["source"], row["quantity"], tuple(row["arguments"].split()), row["value"])
        for row in _rows("published")
    )


@functools.cache
def entries() -> Mapping[str, tuple[str, ...]]:
    """The papers' words for networks, and the catalogue's, the first being what we call it."""
    return {row["name"]: tuple(row["catalogue"].split()) for row in _rows("networks")}


def network(name: str) -> str:
    """What a network is called here, whatever it is called there; blanks follow what was done.

    >>> network("deit_s ours annotated"), network("deit/deit_small_patch16_224-cd65a155")
    ('timm/deit_small_patch16_224.fb_in1k ours annotated', 'timm/deit_small_patch16_224.fb_in1k')
    """
    base, blank, done = name.partition(" ")
    return _canonical(base) + blank + done


@functools.cache
def _canonical(name: str) -> str:
    every = entries()
    if name in every:
        return every[name][0]
    found = catalogue.find(name)
    full = found.name if found else name
    return next((same[0] for same in every.values() if full in same), full)


def _rows(name: str) -> list[dict[str, str]]:
    with (_FOLDER / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
