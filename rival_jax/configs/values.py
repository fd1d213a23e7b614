"""What the values of a config may be, written in their types: numbers with ends, lists, words.

A choice of words is a `typing.Literal`. `configs.typed` checks all of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal


@dataclass(frozen=True)
class Between:
    """Numbers from `least` to `most`, ends included unless `inside`."""

    least: float | int = -math.inf
    most: float | int = math.inf
    inside: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a number is one of them; NaN is not."""
        if self.inside:
            return self.least < value < self.most
        return self.least <= value <= self.most

    def __str__(self) -> str:
        if self.most < math.inf:
            between = "between" if self.inside else "from"
            return f"{between} {self.least:g} {'and' if self.inside else 'to'} {self.most:g}"
        return f"above {self.least:g}" if self.inside else f"from {self.least:g} up"


@dataclass(frozen=True)
class Distinct:
    """Lists without duplicates, of at least a given length."""

    least: int = 1

    def holds(self, value: Any) -> bool:
        """Whether a list is one of them."""
        return len(value) >= self.least and len(set(value)) == len(value)

    def __str__(self) -> str:
        return "no two alike" + (", at least one" if self.least else "")


Share = Annotated[float, Between(0, 1)]
Inside = Annotated[float, Between(0, 1, inside=True)]
Positive = Annotated[float, Between(0, inside=True)]
Amount = Annotated[float, Between(0)]
Count = Annotated[int, Between(0)]
Several = Annotated[int, Between(1)]
BatchSize = Literal["auto"] | Several
