"""Photos shown to a network in changed form: who lends pixels to whom, and the rows that follow."""

from __future__ import annotations

from typing import Any

import numpy as np

from rival_jax.data import Examples
from rival_jax.data.source import name_hash
from rival_jax.experiments.subject import Loaded
from rival_jax.runtime.results import Category, Columns


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


def tidy(
    dataset: str,
    loaded: Loaded,
    examples: Examples,
    image: np.ndarray,
    words: dict[str, str],
    values: dict[str, np.ndarray],
) -> Columns:
    """Columns of one unit: model, dataset, example, label, the constant `words`, the `values`.

    Args:
      image: position in `examples` of every row.

    Raises:
      ValueError: if the network gives NaN.
    """
    name = loaded.model.name
    bad = np.flatnonzero(np.isnan(values["probability"]))
    if bad.size:
        raise ValueError(
            f"{name} gives NaN for {len(np.unique(image[bad]))} of {len(examples)} images, the "
            f"first {examples.names[image[bad[0]]]}; its weights or config.dtype are not usable"
        )
    constant = {"model": name, "dataset": dataset, **words}
    return {
        **{key: Category(0 * image, [value]) for key, value in constant.items()},
        "example": Category(image, list(examples.names)),
        "label": Category(examples.labels[image], list(examples.classes)),
        **values,
    }
