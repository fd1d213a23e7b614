"""(image, attribute) pairs: all existing ones, their batches, and the steps that change them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from rival_jax import noise
from rival_jax.changes import CHANGES, PartChange, part_changed
from rival_jax.data import Examples
from rival_jax.data.donors import partners, repacked
from rival_jax.report.grids import Shown, pictures

SHOWN = 8  # attributes on the sheet of all changes
STEPS = 3  # changes of a pair per unit; the same in each, so that one program serves all units
LENDERS = 4  # donor images of each class and attribute
PIXELS = ("image", "mask", "attribute_masks")
Steps = tuple[tuple[int, int], ...]
"""(position in `CHANGES`, number of the draw) of each step that a unit computes."""
_changed = jax.jit(part_changed, static_argnums=0)


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Every attribute of every image that has it, in the order of the images."""

    examples: Examples
    names: tuple[str, ...]  # of the attributes
    image: np.ndarray  # [n], positions of examples
    attribute: np.ndarray  # [n], positions of names
    lender: np.ndarray  # [n], the donor, an example of another class with the attribute; -1: none


def find(examples: Examples, asked: Sequence[str], seed: int) -> Pairs:
    """The pairs of an evaluated split, for all attributes or those asked for."""
    has = dict(zip(examples.attributes, (examples.attribute_labels > 0).T, strict=True))
    names = tuple(name for name in asked or has if name in has and has[name].any())
    present = np.stack([has[name] for name in names], 1) if names else np.zeros((0, 0), bool)
    image, attribute = np.nonzero(present)
    lender = np.full(len(image), -1)
    for place, name in enumerate(names):
        members = np.flatnonzero(present[:, place])
        lender[attribute == place] = partners(examples, members, f"{seed} {name}", LENDERS)
    return Pairs(examples, names, image, attribute, lender)


def batches(pairs: Pairs, size: int, *, swap: bool) -> Iterator[Any]:
    """This host's pairs in batches of `size`, from one pass over the examples.

    Keys: image, mask, label, noise_id, part and attribute of the pair; other_image, other_part and
    other_label of its donor (the image itself if it has none, or without `swap`); index, the
    position of the pair, -1 for padding.
    """
    made = functools.partial(_pair, pairs, swap=swap)
    return repacked(pairs.examples, size, pairs.image, made)


def _pair(pairs: Pairs, place: int, item: Mapping[str, Any], *, swap: bool) -> Mapping[str, Any]:
    """One pair as in batches, from `PIXELS` of its image."""
    examples, row, attribute = pairs.examples, pairs.image[place], pairs.attribute[place]
    image, mask, masks = (item[name] for name in PIXELS)
    column = examples.attributes.index(pairs.names[attribute])
    lender = int(row if pairs.lender[place] < 0 else pairs.lender[place])
    other: Any = image, masks[column]
    if swap:
        other = (part.astype(np.float32) / 255 for part in _lent(examples, lender, column))
    found = {"image": image, "mask": mask, "part": masks[column]}
    found |= zip(("other_image", "other_part"), other, strict=True)
    found |= {"index": np.int32(place), "attribute": np.int32(attribute)}
    found |= {"label": examples.labels[row], "other_label": examples.labels[lender]}
    return {**found, "noise_id": examples.noise_ids[row]}


@functools.lru_cache(maxsize=1024)  # 200 MB at 224 pixels: nearly all possible donors
def _lent(examples: Examples, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    item: dict[str, Any] = examples.example(row)
    return item["image"], item["attribute_masks"][column].copy()


def all_steps(draws: int) -> dict[str, Steps]:
    """The steps of every unit by name; the last may repeat a draw, which is then dropped.

    >>> all_steps(4)["controls_1"]
    ((2, 3), (2, 3), (2, 3))
    """
    found: dict[str, Steps] = {"parts": ((0, 0), (1, 0), (3, 0))}
    for number, start in enumerate(range(0, draws, STEPS)):
        chosen = [min(draw, draws - 1) for draw in range(start, start + STEPS)]
        found[f"controls_{number}"] = tuple((CHANGES.index("control"), draw) for draw in chosen)
    return found


def sheet(how: PartChange, seed: int, pairs: Pairs) -> Shown:
    """One image of each attribute under every change, at most `SHOWN`; none without any donor."""
    able, rows = np.flatnonzero(pairs.lender >= 0), []
    chosen = able[np.unique(pairs.attribute[able], return_index=True)[1]][:SHOWN]
    for place in chosen.tolist():
        item: dict[str, Any] = pairs.examples.example(int(pairs.image[place]))
        pixels = {name: item[name].astype(np.float32) / 255 for name in PIXELS}
        rows.append(_pair(pairs, place, pixels, swap=True))
    if not rows:
        return []
    batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    show = functools.partial(_changed, how, batch)
    changes = {name: (noise.key(seed), place, 0) for place, name in enumerate(CHANGES)}
    names = [pairs.names[attribute] for attribute in pairs.attribute[chosen]]
    shown = [pairs.examples.names[image] for image in pairs.image[chosen]]
    return list(zip(names, shown, pictures(show, changes), strict=True))
