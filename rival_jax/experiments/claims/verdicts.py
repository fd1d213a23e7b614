"""Claims judged: holds, fails or cannot tell, and by which numbers."""

from __future__ import annotations

from typing import NamedTuple

from rival_jax.experiments.claims.language import Reader
from rival_jax.experiments.claims.measured import Missing
from rival_jax.experiments.claims.numbers import UNKNOWN, Number
from rival_jax.experiments.claims.tables import Claim, Sets
from rival_jax.experiments.claims.tables import sets as sets_of
from rival_jax.experiments.claims.values import Values, vocabulary

HOLDS, FAILS, OPEN = "holds", "fails", "cannot tell"


class Verdict(NamedTuple):
    """What can be said of a claim."""

    word: str  # HOLDS | FAILS | OPEN
    margin: Number  # by how much it holds
    value: Number | None = None  # the number that the claim compares with a constant, if it does


class Judged(NamedTuple):
    """A claim and what can be said of it."""

    claim: Claim
    printed: Verdict  # on the papers' numbers
    claimed: Verdict  # on the user's numbers of the papers' networks and data
    own: Verdict  # on the networks and data at hand, in the place of theirs
    missing: tuple[Missing, ...]  # for `claimed`


def judged(claim: Claim, values: Values, sets: Sets, confidence: float = 0.95) -> Verdict:
    """A claim on some numbers.

    A comparison holds if the interval of the difference lies wholly on its side, at a level
    adjusted for how many comparisons the claim consists of (Bonferroni, of intervals and of p).
    """
    if not claim.relation:
        return Verdict(OPEN, UNKNOWN)
    names = vocabulary(values, sets)
    reader = Reader(names, values.minus, confidence)
    margin, value = reader(claim.relation)
    count = reader.compared
    if count > 1 and not margin.low <= 0 <= margin.high:  # else it is open at any level
        margin, value = Reader(names, values.minus, confidence, count)(claim.relation)
    word = HOLDS if margin.low > 0 else FAILS if margin.high < 0 else OPEN
    return Verdict(word, margin, value)


def members(paper: str) -> Sets:
    """A paper's sets as the paper has them."""
    return {name: one.members for name, one in sets_of(paper).items()}
