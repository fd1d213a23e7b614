"""Photos shown to a network in changed form: who lends pixels to whom, and the rows that follow."""

from __future__ import annotations

from typing import Any

import numpy as np

from rival_jax.data import Examples
from rival_jax.data.source import name_hash


def partners(
    examples: Examples, members: np.ndarray, word: str, most: int | None = None
) -> np.ndarray:
    """For each of `members` one of them of another class, -1 where there is none.

    A function of `word`, the example's name and which names there are: not of their order.

    Args:
      members: positions of examples [m].
      word: what the draw is keyed by, with the seed in it.
      most: of each class at most so many are taken as partners, so that few images are read.
    """
    hashes = b"".join(name_hash(f"{word}\0{examples.names[i]}", 8) for i in members)
    draws, labels = np.frombuffer(hashes, "<u8"), examples.labels[members]
    order = np.argsort(draws)
    rank = np.empty(len(members), int)  # among those of one class
    for label in np.unique(labels):
        mine = order[labels[order] == label]
        rank[mine] = np.arange(len(mine))
    pool = order[rank[order] < most] if most else order
    found = np.full(len(members), -1)
    for label in np.unique(labels):
        others = pool[labels[pool] != label]
        if len(others):
            chosen = draws[labels == label] % np.uint64(len(others))
            found[labels == label] = members[others[chosen.astype(int)]]
    return found


def lent(examples: Examples, rows: np.ndarray) -> list[dict[str, Any]]:
    """What `Examples.example` gives of `rows`, each decoded once."""
    once = {int(row): examples.example(int(row)) for row in np.unique(rows)}
    return [once[int(row)] for row in rows]
