"""Claims judged: holds, fails or cannot tell, and by which numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rival_jax.experiments.claims.language import Reader
from rival_jax.experiments.claims.numbers import UNKNOWN, Number
from rival_jax.experiments.claims.tables import Claim, Sets
from rival_jax.experiments.claims.values import Values, vocabulary

HOLDS, FAILS, OPEN = "holds", "fails", "cannot tell"


class Verdict(NamedTuple):
    """What can be said of a claim."""

    word: str  # HOLDS | FAILS | OPEN
    margin: Number  # by how much it holds
    value: Number | None = None  # the number that the claim compares with a constant, if it does
    compared: int = 0  # comparisons that it consists of


def judged(claim: Claim, values: Values, sets: Sets, confidence: float = 0.95) -> Verdict:
    """A claim on some numbers.

    A comparison holds if the interval of the difference lies wholly on its side, at a level
    adjusted for how many comparisons the claim consists of (Bonferroni, of intervals and of p).
    """
    if not claim.relation:
        return Verdict(OPEN, UNKNOWN)
    names = vocabulary(values, sets)
    first = Reader(names, values.minus, confidence)
    first(claim.relation)
    reader = Reader(names, values.minus, confidence, max(first.compared, 1))
    margin, value = reader(claim.relation)
    word = HOLDS if margin.low > 0 else FAILS if margin.high < 0 else OPEN
    return Verdict(word, margin, value, first.compared)


def members(sets: Mapping[str, Any]) -> Sets:
    """A paper's sets as the paper has them."""
    return {name: _typed(name, one.members) for name, one in sets.items()}


def _typed(name: str, words: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(map(float, words)) if name == "SIGMAS" else words
