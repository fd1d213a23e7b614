"""Numbers with the intervals that they lie in, and what can be said of one against another.

A comparison is itself a number, its margin: it holds for sure where the interval lies above 0, and
fails where it lies below. "All of" is then the smallest margin and "one of" the largest.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, Union

import scipy

TINY = 1e-9  # tells "more" from "at least" once differences are rounded
DIGITS = 6


Real = Union["Number", float, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Number:
    """A number and the interval it lies in; an unknown number may be anything.

    Sums and products combine the ends that are furthest apart: that is right however two numbers
    depend on each other. If a run has tested a difference itself, `Measured.minus` uses that.
    """

    estimate: float
    low: float
    high: float
    p: float = math.nan  # of a difference that a run has tested against 0
    key: Any = None  # of the result that it is, see `Measured.minus`

    @property
    def ends(self) -> tuple[float, float, float]:
        """The estimate, and the interval."""
        return self.estimate, self.low, self.high

    @property
    def known(self) -> bool:
        """Whether there is an estimate."""
        return not math.isnan(self.estimate)

    def __add__(self, other: Real) -> Number:
        return Number(*(x + y for x, y in zip(self.ends, number(other).ends, strict=True)))

    def __neg__(self) -> Number:
        return Number(-self.estimate, -self.high, -self.low, self.p)

    def __sub__(self, other: Real) -> Number:
        return self + -number(other)

    def __mul__(self, other: Real) -> Number:
        b = number(other)
        ends = [x * y if x and y else 0.0 for x in (self.low, self.high) for y in (b.low, b.high)]
        return Number(self.estimate * b.estimate, min(ends), max(ends))

    def __truediv__(self, other: float | int) -> Number:
        return self * (1 / other)

    def __abs__(self) -> Number:
        ends = (abs(self.low), abs(self.high))
        return Number(abs(self.estimate), 0.0 if self.low < 0 < self.high else min(ends), max(ends))

    __radd__, __rmul__ = __add__, __mul__

    def scaled(self, factor: float | int) -> Number:
        """The same result in another unit."""
        a, b, c = (factor * x for x in self.ends)
        return dataclasses.replace(self, estimate=a, low=b, high=c)

    def stretched(self, count: int, confidence: float) -> Number:
        """With an interval wide enough to hold together with those of `count` - 1 comparisons more.

        By Bonferroni, widened as a normal distribution's would be. If p times `count` is above the
        level, the interval includes 0.
        """
        level = 1 - confidence
        quantile = statistics.NormalDist().inv_cdf
        factor = quantile(1 - level / 2 / count) / quantile(1 - level / 2)
        low, high = self.low, self.high
        if math.isfinite(self.estimate):
            low, high = (self.estimate + factor * (end - self.estimate) for end in (low, high))
        if self.p * count > level:
            low, high = min(low, -TINY), max(high, TINY)
        return dataclasses.replace(self, low=low, high=high)


UNKNOWN = Number(math.nan, -math.inf, math.inf)
Some = Iterable[Real]


def number(value: Real) -> Number:
    """A plain value as an exact number; True holds for sure, False fails for sure."""
    if isinstance(value, Number):
        return value
    if isinstance(value, bool):
        value = math.inf if value else -math.inf
    return Number(*[float(value)] * 3)


def mean(values: Some) -> Number:
    """The mean; unknown if there are no values."""
    every = [number(value) for value in values]
    return sum(every, number(0.0)) / len(every) if every else UNKNOWN


def smallest(values: Some) -> Number:
    """The smallest of some numbers, or whether all of some comparisons hold."""
    every = [number(value) for value in values]
    if not every:
        return UNKNOWN
    estimate, low, high = (min(column) for column in zip(*(one.ends for one in every), strict=True))
    return Number(estimate if all(one.known for one in every) else math.nan, low, high)


def largest(values: Some) -> Number:
    """The largest of some numbers, or whether one of some comparisons holds."""
    return -smallest(-number(value) for value in values)


def spread(values: Some) -> Number:
    """The largest minus the smallest; unknown if there are fewer than two."""
    every = [number(value) for value in values]
    if len(every) < 2:
        return UNKNOWN
    found = largest(every) - smallest(every)
    return dataclasses.replace(found, low=max(found.low, 0.0))


def share(margins: Some) -> Number:
    """The share of comparisons that hold."""
    every = [number(value) for value in margins]
    if not every:
        return UNKNOWN
    columns = zip(*(one.ends for one in every), strict=True)
    estimate, low, high = (sum(x > 0 for x in column) / len(every) for column in columns)
    return Number(estimate if all(one.known for one in every) else math.nan, low, high)


def trend(places: Sequence[float], values: Sequence[Number]) -> Number:
    """The slope of the least-squares line through numbers at some places."""
    middle = sum(places) / max(len(places), 1)
    scale = sum((place - middle) ** 2 for place in places)
    parts = [y * ((x - middle) / scale) for x, y in zip(places, values, strict=True) if scale]
    return sum(parts, number(0.0)) if parts else UNKNOWN


def spearman(first: Sequence[Real], second: Sequence[Real]) -> Number:
    """Rank correlation of estimates; its interval is over networks like these.

    Raises:
      ValueError: if the numbers of estimates differ.

    Source: Bonett and Wright, Psychometrika 65, 2000: Fisher's z with variance (1 + r^2/2)/(n - 3).
    """
    pairs = [(number(a).estimate, number(b).estimate) for a, b in zip(first, second, strict=True)]
    columns = list(zip(*pairs, strict=True))
    if len(pairs) < 4 or any(math.isnan(x) for pair in pairs for x in pair):
        return UNKNOWN
    if any(len(set(column)) < 2 for column in columns):
        return UNKNOWN
    r = float(scipy.stats.spearmanr(*columns).statistic)
    r = math.copysign(min(abs(r), 1 - 1e-12), r)
    half = 1.959964 * math.sqrt((1 + r * r / 2) / (len(pairs) - 3))
    return Number(r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half))


def seen(value: Number) -> Number:
    """The estimate without its interval: true of the measured images, not beyond them."""
    return number(value.estimate) if math.isfinite(value.estimate) else UNKNOWN


def known(value: Number) -> Number | bool:
    """True if there is an estimate; otherwise unknown."""
    return True if value.known else UNKNOWN


def same(words: Any, wanted: str) -> Number:
    """Whether some words are those in a text, in any order."""
    given = (words,) if isinstance(words, str) else words
    return UNKNOWN if isinstance(given, Number) else number(set(given) == set(wanted.split()))


def margin(difference: Number, *, strict: bool) -> Number:
    """How far a difference is above 0; an exact 0 fails if `strict`, otherwise it holds."""
    ends = [round(x, DIGITS) if math.isfinite(x) else x for x in difference.ends]
    if difference.low == difference.high:
        ends = [x - TINY if strict else x + TINY for x in ends]
    return dataclasses.replace(difference, estimate=ends[0], low=ends[1], high=ends[2], key=None)
