"""(image, attribute) pairs: which there are, what is done to them, and their batches."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rival_jax import ablation, noise
from rival_jax.data import Examples
from rival_jax.experiments.changed import partners
from rival_jax.types import Array

CHANGES = ("clean", "grey", "control", "swap")
SHOWN = 8  # attributes on the sheet of all changes
LENDERS = 4  # images of each class and attribute that lend their parts


class Pairs(NamedTuple):
    """Every attribute of every image that has it, in the order of the images."""

    image: np.ndarray  # [n], positions of examples
    attribute: np.ndarray  # [n], positions among the attributes asked for
    lender: np.ndarray  # [n], an example of another class with the attribute; -1: there is none


@dataclasses.dataclass(frozen=True)
class Plan:
    """How parts are taken away."""

    grey: float
    black_background: bool
    binary_mask: bool


def find(examples: Examples, attributes: Sequence[str], seed: int) -> Pairs:
    """The pairs of an evaluated split."""
    columns = [examples.attributes.index(name) for name in attributes]
    present = examples.attribute_labels[:, columns] > 0
    image, attribute = np.nonzero(present)
    lender = np.full(len(image), -1)
    for place, name in enumerate(attributes):
        members = np.flatnonzero(present[:, place])
        lender[attribute == place] = partners(examples, members, f"{seed} {name}", LENDERS)
    return Pairs(image, attribute, lender)


def changed(
    plan: Plan, batch: Mapping[str, Any], key: Array, change: Array | int, draw: Array | int
) -> Array:
    """The images [p, h, w, 3] with the part of each pair changed.

    Args:
      batch: see `batches`.
      key: of the random regions.
      change: position in `CHANGES`. "control": a random region of the object as large as the part
        is grey; "swap": the part shows the same part of the lender, moved and stretched onto it.
      draw: number of the random region.
    """
    names = ("image", "mask", "part", "other", "other_part")
    image, mask, part, other, other_part = (jnp.asarray(batch[name]) for name in names)
    if plan.binary_mask:
        mask, part, other_part = ((m > 0.5).astype(image.dtype) for m in (mask, part, other_part))
    if plan.black_background:
        image = noise.grey_out(image, 1 - mask, 0.0)

    def control() -> Array:
        ids = (jnp.asarray(batch["noise_id"]), jnp.asarray(batch["attribute"]))
        keys = jax.vmap(_folded, (None, 0, 0, None))(key, *ids, draw)
        region = ablation.random_region(mask, part.sum((1, 2)), jax.vmap(jax.random.uniform)(keys))
        return noise.grey_out(image, region, plan.grey)

    def swap() -> Array:
        moved = ablation.fit_onto(ablation.fill(other, other_part), other_part, part)
        return ablation.composite(image, part, moved)

    branches = (lambda: image, lambda: noise.grey_out(image, part, plan.grey), control, swap)
    return lax.switch(jnp.asarray(change), branches)


def _folded(key: Array, *words: Array | int) -> Array:
    for word in words:
        key = jax.random.fold_in(key, word)
    return key


def batches(
    examples: Examples, attributes: Sequence[str], pairs: Pairs, size: int, *, swap: bool
) -> Iterator[Any]:
    """The pairs in batches of `size`, from one pass over the examples; of this host's.

    Keys: image, mask, label, noise_id, part and attribute of the pair; other, other_part and
    other_label of its lender, which is itself where it has none or without `swap`; index, the
    position of the pair, -1 for padding.
    """
    columns = np.array([examples.attributes.index(name) for name in attributes])
    waiting: dict[str, np.ndarray] = {}
    filler: dict[str, np.ndarray] = {}
    done = 0
    for batch in examples.batches(size):
        size, first = len(batch["index"]), int(batch["index"][0])
        real = int((batch["index"] >= 0).sum())
        here = np.arange(*np.searchsorted(pairs.image, [first, first + real]))
        row, attribute = pairs.image[here] - first, pairs.attribute[here]
        lender = np.where(pairs.lender[here] < 0, pairs.image[here], pairs.lender[here])
        found: dict[str, Any] = {
            name: batch[name][row] for name in ("image", "mask", "label", "noise_id")
        }
        found |= {"index": here.astype(np.int32), "attribute": attribute.astype(np.int32)}
        found["part"] = batch["attribute_masks"][row, columns[attribute]]
        found["other_label"] = examples.labels[lender]
        found |= {"other": found["image"], "other_part": found["part"]}
        if swap and len(here):
            found["other"], found["other_part"] = _shown(examples, lender, columns[attribute])
        filler = filler or {name: _filler(name, batch, value) for name, value in found.items()}
        waiting = _joined(waiting, found)
        while len(waiting["index"]) >= size:
            yield {name: value[:size] for name, value in waiting.items()}
            waiting = {name: value[size:] for name, value in waiting.items()}
            done += 1
    ends = [np.searchsorted(pairs.image, [r.start, r.stop]) for r in examples.rows_of_hosts]
    for _ in range(done, max(-(-int(stop - start) // size) for start, stop in ends)):
        short = size - len(waiting["index"])
        padding = {name: np.repeat(value, short, axis=0) for name, value in filler.items()}
        yield _joined(waiting, padding)
        waiting = {name: value[:0] for name, value in waiting.items()}


def _filler(name: str, batch: Mapping[str, Any], like: np.ndarray) -> np.ndarray:
    """One row that fills up a batch of pairs: the first image of a batch, of which all is part."""
    if name in ("index", "attribute"):
        return np.full(1, -1 if name == "index" else 0, like.dtype)
    of = {"other": "image", "part": "mask", "other_part": "mask", "other_label": "label"}
    return np.asarray(batch[of.get(name, name)][:1])


def _joined(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n: np.concatenate([first[n], v]) if first else v for n, v in second.items()}


@functools.lru_cache(maxsize=1024)  # 200 MB at 224 pixels: every lender there can be, nearly
def _part(examples: Examples, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    """One example's image and one of its attribute masks, uint8."""
    item: dict[str, Any] = examples.example(row)
    return item["image"], item["attribute_masks"][column].copy()


def _shown(examples: Examples, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """Images and attribute masks of some examples as batches have them."""
    found = [_part(examples, int(i), int(c)) for i, c in zip(rows, columns, strict=True)]
    return tuple(np.stack(part).astype(np.float32) / 255 for part in zip(*found, strict=True))


def sheet(
    plan: Plan, examples: Examples, attributes: Sequence[str], pairs: Pairs, seed: int
) -> list[tuple[str, str, dict[str, np.ndarray]]]:
    """One image for each attribute under every change, for people to look at.

    Returns:
      (attribute, example, {change: uint8 [h, w, 3]}), at most `SHOWN`; none if no image lends.
    """
    able = np.flatnonzero(pairs.lender >= 0)
    _, first = np.unique(pairs.attribute[able], return_index=True)
    chosen = able[first][:SHOWN]
    if not len(chosen):
        return []
    rows = pairs.image[chosen]
    names = [attributes[int(place)] for place in pairs.attribute[chosen]]
    columns = np.array([examples.attributes.index(name) for name in names])
    batch = {"noise_id": examples.noise_ids[rows], "attribute": pairs.attribute[chosen]}
    batch["image"], batch["part"] = _shown(examples, rows, columns)
    batch["other"], batch["other_part"] = _shown(examples, pairs.lender[chosen], columns)
    masks: list[dict[str, Any]] = [examples.example(int(row)) for row in rows]
    batch["mask"] = np.stack([item["mask"] for item in masks]).astype(np.float32) / 255
    show = jax.jit(functools.partial(changed, plan))
    made = [np.asarray(255 * show(batch, noise.key(seed), k, 0) + 0.5) for k in range(len(CHANGES))]
    return [
        (
            name,
            examples.names[row],
            {w: m[k].astype(np.uint8) for w, m in zip(CHANGES, made, strict=True)},
        )
        for k, (name, row) in enumerate(zip(names, rows, strict=True))
    ]
