"""A configuration's `model_args`, checked against the network that was read.

Every key is requested by the family, known not to matter, or refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rival_jax.weights.config_keys import INERT_ARGS, shown

Expected = Mapping[str, tuple[Any, ...]]
"""Key -> the values that fit, the network's own first; or a function that tests a value."""


class Settings(Mapping[str, Any]):
    """`model_args` that remember which keys were requested."""

    def __init__(self, said: Mapping[str, Any]):
        self._said, self._asked = dict(said), set[str]()

    def __getitem__(self, key: str) -> Any:
        self._asked.add(key)
        return self._said[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._said)

    def __len__(self) -> int:
        return len(self._said)

    def unasked(self) -> list[str]:
        """The keys that were not requested and may matter."""
        return [key for key in self._said if key not in self._asked and key not in INERT_ARGS]


def check_asked(said: Mapping[str, Any], family: str) -> None:
    """Raises ValueError for a key of `Settings` that the family does not know."""
    for key in said.unasked() if isinstance(said, Settings) else ():
        raise ValueError(
            f"model_args.{key} is {shown(said[key])}: the family {family} does not know it, so it "
            "may change what the network computes; remove it from config.json if it does not"
        )


def expect(said: Mapping[str, Any], expected: Expected) -> None:
    """Raises ValueError for a setting that does not fit the network."""
    for key, values in expected.items():
        if key in said and not any(_equal(said[key], value) for value in values):
            raise ValueError(
                f"model_args.{key} is {shown(said[key])}, but the tensors' network, as computed "
                f"here, has {shown(values[0])}; correct config.json, or give the weights that "
                "belong to it"
            )


def count(said: Mapping[str, Any], key: str, default: int, least: int = 0) -> int:
    """A whole number. Raises ValueError for anything else."""
    value = said.get(key, default)
    if type(value) is not int or not least <= value <= 2**20:
        raise ValueError(f"model_args.{key} is {shown(value)}: expected a whole number >= {least}")
    return value


def switch(said: Mapping[str, Any], key: str, default: bool) -> bool:
    """True or False. Raises ValueError for anything else."""
    value = said.get(key, default)
    if not isinstance(value, bool):
        raise ValueError(f"model_args.{key} is {shown(value)}: expected true or false")
    return value


def epsilon(said: Mapping[str, Any], key: str, default: float) -> float:
    """A small number above 0. Raises ValueError for anything else."""
    value = said.get(key, default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and 1e-30 < value <= 1 and math.isfinite(value)):
        raise ValueError(
            f"model_args.{key} is {shown(value)}: expected a number above 0, at most 1"
        )
    return float(value)


def side(values: tuple[int, ...]) -> tuple[Any, ...]:
    """Height and width as configurations write them: both, or one number for a square."""
    both = list(values)
    return (both, both[0]) if both[0] == both[-1] else (both,)


def _equal(said: Any, value: Any) -> bool:
    """Equality in which True is not 1, but 4 is 4.0."""
    if callable(value):
        return bool(value(said))
    if isinstance(said, bool) != isinstance(value, bool):
        return False
    return bool(said == value)
