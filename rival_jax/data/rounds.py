"""The order in which a pass shows examples: parts of equal size, and rounds of other orders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

EPOCHS = 20  # bits of an epoch's number


def cut(rows: Sequence[int], size: int) -> list[Sequence[int]]:
    """Consecutive parts of `size`; the last may be shorter."""
    return [rows[start : start + size] for start in range(0, len(rows), max(size, 1))]


def turned(seed: int, epoch: int, turn: int) -> tuple[int, int]:
    """What a round's random order and crops are drawn from; round 0 is a plain epoch."""
    return seed, epoch + (turn << EPOCHS)


def shuffled(count: int, shown: int, seed: int, epoch: int) -> list[int]:
    """`shown` places of an epoch; place `turn * count + row` is a row of `count` in a round.

    >>> sorted(row % 3 for row in shuffled(3, 7, seed=0, epoch=0)[:6])
    [0, 0, 1, 1, 2, 2]
    """
    places: list[int] = []
    for turn in range(-(-shown // count)):
        order = np.random.default_rng(turned(seed, epoch, turn)).permutation(count)
        places += (order + turn * count).tolist()
    return places[:shown]
