"""Images that lend pixels to others, and batches of rows that are made from images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from rival_jax.data.examples import Examples
from rival_jax.data.source import name_hash
from rival_jax.types import Batch


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


def lent_pixels(examples: Examples, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images [b, h, w, 3] and masks [b, h, w] of `rows`, float32 in [0, 1] as in a batch."""
    items = lent(examples, rows)
    image, mask = (np.stack([item[key] for item in items]) for key in ("image", "mask"))
    return image.astype(np.float32) / 255, mask.astype(np.float32) / 255


def with_others(examples: Examples, size: int, others: np.ndarray | None) -> Iterator[Batch]:
    """The batches with `other_image` and `other_mask`, of the examples `others` [n].

    Without `others`, every image is its own.
    """
    for batch in examples.batches(size):
        image, mask = batch["image"], batch["mask"]
        if others is not None:
            image, mask = lent_pixels(examples, others[np.maximum(batch["index"], 0)])
        yield {**batch, "other_image": image, "other_mask": mask}


def repacked(
    examples: Examples,
    size: int,
    owner: np.ndarray,
    made: Callable[[int, Mapping[str, Any]], Mapping[str, Any]],
) -> Iterator[Any]:
    """Batches of rows that are made from images, any number from each, in one pass over the images.

    With several hosts, each makes the rows of its own images; all have equally many batches. In
    padding, `index` is -1.

    Args:
      size: rows per batch, of all hosts together.
      owner: every row's image, ascending [r].
      made: (number of a row, its image's part of a batch) -> the row.
    """
    each = -(-size // len(examples.rows_of_hosts))
    ends = np.searchsorted(owner, [(r.start, r.stop) for r in examples.rows_of_hosts])

    def stream() -> Iterator[Mapping[str, Any]]:
        item: Mapping[str, Any] = {}
        for batch in examples.batches(size):
            for place, image in enumerate(np.asarray(batch["index"]).tolist()):
                item = {name: np.asarray(values)[place] for name, values in batch.items()}
                mine = np.searchsorted(owner, [image, image + 1]).tolist()
                yield from (made(row, item) for row in range(*mine))
        yield from itertools.repeat({**made(0, item), "index": np.int32(-1)})

    rows = stream()
    for _ in range(-(-int(np.diff(ends).max()) // each)):
        some = list(itertools.islice(rows, each))
        yield {name: np.stack([row[name] for row in some]) for name in some[0]}
