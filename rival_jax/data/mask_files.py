"""A photo whose objects have a mask each: which files are its own, and their union.

    masks/CLASS/NAME_0.png, NAME_1.png ...     a number after the photo's name
    masks/CLASS/NAME/0.png, person.png ...     any name, in a folder named as the photo

A file that two photos could own (`a_0.png`, of the photos `a` and `a_0`) is of neither.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence

import numpy as np
from PIL import Image

from rival_jax.data import checks
from rival_jax.data.mask_formats import union
from rival_jax.data.photos import counted

OPTION = "--config.data.masked_folder.masks_per_photo=several"
HINT = f"if every object has a mask of its own, pass {OPTION}"


def owners(stem: str, photos: Container[str]) -> list[str]:
    """The photos that a mask may be of: its own name, that before "_NUMBER", that of its folder.

    >>> owners("cat/a_0", {"cat/a", "cat/b"}), owners("cat/a_0", {"cat/a", "cat/a_0"})
    (['cat/a'], ['cat/a_0', 'cat/a'])
    """
    ways = stem, unnumbered(stem), stem.rpartition("/")[0]
    return [way for way in dict.fromkeys(ways) if way in photos]


def unnumbered(stem: str) -> str:
    """A name without the "_NUMBER" at its end, if it has one."""
    return re.sub(r"_[0-9]+$", "", stem)


def gaps(masks: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """A sentence on photos whose masks' numbers leave some out: files may have been lost.

    Args:
      masks: names of each photo's files.

    >>> gaps({"cat/a": ["cat/a_0.png", "cat/a_3.png"], "cat/b": ["cat/b/7.png"]})[0][:57]
    'the masks of 1 photo leave out numbers, such as 1 of cat/'
    """
    found = {}
    for photo, names in masks.items():
        ends = (re.search(r"[_/]([0-9]+)\.[^./]+$", name) for name in names)
        there = {int(end[1]) for end in ends if end}
        if lost := there and {*range(min(there), max(there))} - there:
            found[photo] = min(lost)
    if not found:
        return ()
    photo, number = min(found.items())
    return (
        f"the masks of {counted(len(found))} leave out numbers, such as {number} of {photo}: if "
        "these files were lost, the object is too small",
    )


def together(masks: Sequence[Image.Image], names: Sequence[str], photo: Image.Image) -> Image.Image:
    """One photo's mask of all its objects.

    Raises:
      ValueError: naming the mask that has no object or no background, another shape than the photo,
        or another size than the first.
    """
    if len(masks) == 1:
        return masks[0]
    for mask, name in zip(masks, names, strict=True):
        fault = checks.stored_mask_fault(mask, name, photo, "labelled")
        fault = fault or checks.mask_fault(np.asarray(mask), name)
        if not fault and mask.size != masks[0].size:
            sizes = (f"{width} x {height}" for width, height in (mask.size, masks[0].size))
            fault = f"masks {name} and {names[0]} have different sizes, {' and '.join(sizes)}"
        if fault:
            raise ValueError(fault)
    return union(masks)


def told(counts: Sequence[int]) -> tuple[str, ...]:
    """A sentence on the numbers of masks of all photos; none if each has one."""
    if max(counts, default=1) == 1:
        return ()
    each = f", {min(counts)} to {max(counts)} each" if min(counts) < max(counts) else ""
    return (
        f"{counted(len(counts), 'have')} {sum(counts)} masks{each}; the object of a photo is all "
        "of its masks together",
    )
