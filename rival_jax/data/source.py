"""What a data set is, and the ids of its examples."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from rival_jax.types import Geometry

Item = dict[str, Any]


@runtime_checkable
class Source(Protocol):
    """A data set: names and labels at once, pictures one by one.

    It may also have `notices`, tuple[str, ...]: the assumptions made to read it, in sentences for
    the console and the page.
    """

    classes: tuple[str, ...]
    class_wnids: tuple[tuple[str, ...], ...] | None
    """The ImageNet synsets that make up each class, if known."""
    names: list[str]
    """The photos' relative file names with forward slashes: unique, independent of the root.

    They key the noise, so file names are in one form of Unicode, see `files`.
    """
    labels: np.ndarray
    """int32 [n], positions in `classes`."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> Item:
        """`image` (PIL, RGB), `mask` (PIL, "L", 255 on the object) and further entries.

        `mask_name` names the mask in errors; without it they name the photo. Called from several
        threads at once.

        Raises:
          ValueError or OSError: naming the file that is missing, damaged or of the wrong kind.
        """
        ...


@runtime_checkable
class AttributeSource(Source, Protocol):
    """A source that also knows which attributes an object has, and where.

    It offers them when its `load` was given `attributes=True`. Its items then have `attr_labels`
    (int [a], 1 where present), `changed_attrs` (int [a], 1 where a variant of the photo had the
    attribute pasted in or cut out), `merged_mask` (PIL, "L": all attributes in one) and
    `attribute_masks` (PIL, "L", all 0 where absent), in the order of `attributes`. More masks may
    follow: in RIVAL10 and the scenes, the last is the whole object.
    """

    attributes: tuple[str, ...]
    """Names of the attributes; empty unless loaded with `attributes=True`."""

    def attribute_pixels(self, item: Item, geometry: Geometry) -> np.ndarray:
        """uint8 [at least a, h, w], an item's `attribute_masks` on the pixels of its photo."""
        ...


@runtime_checkable
class EvaluationSource(Source, Protocol):
    """A source that a network is scored on by the protocols of `rival_jax.protocols`.

    Outputs are ImageNet's 1000 in the order of the synsets. Networks with a set's own classes have
    one output for each. Items need no mask.
    """

    outputs: tuple[tuple[int, ...], ...]
    """The right outputs of each class, the first listed one first; (): there are none."""
    columns: tuple[int, ...] | None
    """The outputs that protocol `subset` keeps; None: all, as in `full`."""
    groups: np.ndarray | None
    """int [1000], the group of each output, -1 for none: protocol `grouped`, and ImageNet-9."""
    real: tuple[tuple[int, ...], ...] | None
    """The reassessed labels of each photo; (): left out of protocol `real`."""
    factors: Mapping[str, Sequence[str]]
    """Name ("style", "area", "background") -> a word for each photo, "" if unknown; {}: none."""
    units: Sequence[str] | None
    """The unit each photo is resampled with, such as its object; None: by itself."""
    evaluation_only: bool
    """Whether its terms forbid training, tuning and selecting on it."""
    resized: bool
    """Whether photos have the network's size already, and must not be resized."""


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in the order of their labels: sorted, each once.

    Sorted by value if all are whole numbers, so that folder 10 follows 9 and gets label 10;
    otherwise as text.

    >>> class_order(["10", "2", "0"]), class_order(["10", "2", "cat"])
    (('0', '2', '10'), ('10', '2', 'cat'))
    """
    found = sorted(set(names))
    if all(name.isascii() and name.isdigit() for name in found):
        found.sort(key=int)
    return tuple(found)


def check_names(source: Source) -> None:
    """Raises ValueError for a source without examples or with a repeated name."""
    if not len(source):
        raise ValueError("the data set is empty")
    if len(set(source.names)) < len(source):
        twice = {name for name, count in Counter(source.names).items() if count > 1}
        raise ValueError(f"{len(twice)} names occur twice, such as {min(twice)}: names are ids")


def refuse_training(source: Source, what: str) -> None:
    """Raises ValueError if a set's terms only allow evaluation on it.

    Args:
      source: perhaps an `EvaluationSource`.
      what: the intended use, for the error: "fit heads on".
    """
    if getattr(source, "evaluation_only", False):
        raise ValueError(
            f"{getattr(source, 'title', type(source).__name__)}: its terms only allow evaluation "
            f"on it, so do not use it to {what}: name other photos for that"
        )


def refuse_overlap(
    first: Iterable[str], second: Iterable[str], splits: tuple[str, str], why: str
) -> None:
    """Raises ValueError if a photo is in both of two splits.

    Args:
      first, second: the photos' names.
      splits: what the splits are called.
      why: what would be wrong, and the cure.
    """
    if both := set(first) & set(second):
        raise ValueError(
            f"{len(both)} photos are in both {splits[0]} and {splits[1]} ({min(both)}): {why}"
        )


def refuse_other_classes(first: Source, second: Source, splits: tuple[str, str], cure: str) -> None:
    """Raises ValueError unless two splits have the same classes in one order.

    Classes with photos in the second need some in the first.

    Args:
      splits: what they are called.
      cure: besides photos of the same classes.
    """
    filled = [
        {name for i, name in enumerate(source.classes) if (np.asarray(source.labels) == i).any()}
        for source in (first, second)
    ]
    lacking = sorted(filled[1] - filled[0]) or sorted(set(first.classes) ^ set(second.classes))
    if lacking or first.classes != second.classes:
        raise ValueError(
            f"split {splits[0]} and {splits[1]} need the same classes in one order, and "
            f"{', '.join(lacking[:5]) or 'the order'} differs: put photos of the same classes in "
            f"both, {cure}"
        )


def attributes_of(source: Source) -> tuple[str, ...]:
    """The names of a source's attributes; raises ValueError if it has none."""
    if not isinstance(source, AttributeSource) or not source.attributes:
        raise ValueError(
            f"{type(source).__name__} has no attribute masks: load it with attributes=True"
        )
    return tuple(source.attributes)


def noise_id(name: str) -> int:
    """32 bits of a hash (BLAKE2b, little endian) of an example's name, which key its noise.

    Two of n names share their noise with probability n^2 / 2^33: 0.3 % for RIVAL10's test split.

    >>> noise_id("n02391049_n02391049_978.JPEG")
    3841722020
    """
    return int.from_bytes(name_hash(name, 4), "little")


def name_hash(name: str, size: int) -> bytes:
    """`size` bytes of BLAKE2b of an example's name."""
    return hashlib.blake2b(name.encode(), digest_size=size).digest()
