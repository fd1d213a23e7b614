"""Photos shown to a network in changed form: the donor of each, and the rows that follow."""

from __future__ import annotations

from typing import Any

import numpy as np

from rival_jax.data import Examples
from rival_jax.data.source import name_hash


def partners(
    examples: Examples, members: np.ndarray, word: str, most: int | None = None
) -> np.ndarray:
    """For each of `members`, another member of another class; -1 if there is none.

    Depends on `word`, the example's name and the set of names, but not on their order.

    Args:
      members: positions of examples [m].
      word: keys the draw; contains the seed.
      most: partners per class at most, so that few images are read.
    """
    hashes = b"".join(name_hash(f"{word}\0{examples.names[i]}", 8) for i in members)
    draws, labels = np.frombuffer(hashes, "<u8"), examples.labels[members]
    order = np.argsort(draws)
    rank = np.empty(len(members), int)  # within its class
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
    """The results of `Examples.example` for `rows`, each decoded once."""
    once = {int(row): examples.example(int(row)) for row in np.unique(rows)}
    return [once[int(row)] for row in rows]
