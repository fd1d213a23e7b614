"""Ten drawn classes over ten backgrounds, with exact masks and a knob that ties the two.

The truth is known: behind the object, only the kind of background depends on its class, and only to
the degree `background_correlation`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rival_jax.data.rival10 import ATTRIBUTES
from rival_jax.data.scenes import animals, grounds, quadrupeds, vehicles
from rival_jax.data.scenes.painter import cut_out
from rival_jax.data.scenes.shapes import Dice, Part
from rival_jax.data.transforms import resize_masks
from rival_jax.types import Geometry

Draw = Callable[[Dice], tuple[list[Part], str]]

DRAWINGS: dict[str, tuple[Draw, str]] = {  # class -> what draws it, its own background
    "truck": (vehicles.truck, "road"),
    "car": (vehicles.car, "city"),
    "plane": (vehicles.plane, "sky"),
    "ship": (vehicles.ship, "sea"),
    "cat": (animals.cat, "room"),
    "dog": (quadrupeds.dog, "lawn"),
    "equine": (quadrupeds.equine, "prairie"),
    "deer": (quadrupeds.deer, "forest"),
    "frog": (animals.frog, "pond"),
    "bird": (animals.bird, "canopy"),
}
CLASSES = tuple(DRAWINGS)
GROUNDS = tuple(ground for _, ground in DRAWINGS.values())
SPLITS = ("train", "val", "test")


class Scenes:
    """Scenes drawn on demand; classes take turns, so every prefix is balanced.

    An example depends only on its seed, split, class and number: neither `per_class` nor the order
    of access changes it, and `background_correlation` changes only its background.
    """

    class_wnids = None

    def __init__(
        self, split: str, size: int, per_class: int, seed: int, correlation: float, attributes: bool
    ) -> None:
        self.classes = CLASSES
        self.labels = np.tile(np.arange(len(CLASSES), dtype=np.int32), per_class)
        self.names = [
            f"{split}/{CLASSES[label]}_{index // len(CLASSES):04d}"
            for index, label in enumerate(self.labels)
        ]
        self.attributes = ATTRIBUTES if attributes else ()
        self._size, self._correlation = size, correlation
        self._key = seed, zlib.crc32(split.encode())

    def __len__(self) -> int:
        return len(self.names)

    def _dice(self, index: int, stream: int) -> Dice:
        return Dice(*self._key, int(self.labels[index]), index // len(CLASSES), stream)

    def _ground(self, dice: Dice, index: int) -> str:
        tied, other = dice.chance(self._correlation), dice.choice(GROUNDS)
        return GROUNDS[self.labels[index]] if tied else other

    def ground(self, index: int) -> str:
        """The kind of background behind example `index`, one of `GROUNDS`."""
        return self._ground(self._dice(index, 0), index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        behind = self._dice(index, 0)
        ground = getattr(grounds, self._ground(behind, index))(behind, self._size)
        front = self._dice(index, 1)
        draw, _ = DRAWINGS[CLASSES[self.labels[index]]]
        cut = cut_out(*draw(front), self.attributes, front, self._size)
        pixels = np.where(cut.mask[..., None], cut.pixels, ground) * front.uniform(0.9, 1.1)
        example: dict[str, Any] = {
            "image": Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)),
            "mask": _stencil(cut.mask),
        }
        if self.attributes:
            shown = np.moveaxis(cut.attributes, -1, 0)
            example["attr_labels"] = shown.any((1, 2)).astype(np.int64)
            example["changed_attrs"] = np.zeros(len(shown), np.int64)
            example["merged_mask"] = _stencil(np.any(shown, axis=0))
            example["attribute_masks"] = [_stencil(mask) for mask in (*shown, cut.mask)]
        return example

    def attribute_pixels(self, item: dict[str, Any], geometry: Geometry) -> np.ndarray:
        """An item's `attribute_masks` on the pixels of its resized scene: uint8 [19, h, w].

        255 is inside; rims are soft if the size differs.
        """
        return resize_masks(item["attribute_masks"], geometry, item["image"].size)


def _stencil(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8) * 255)


def load(
    root: str | Path | None = None,
    split: str = "test",
    *,
    size: int = 64,
    per_class: int = 20,
    seed: int = 0,
    background_correlation: float = 0.0,
    attributes: bool = False,
) -> Scenes:
    """`10 * per_class` drawn scenes of `size` x `size` pixels; no file is read, `root` is ignored.

    With probability `background_correlation` the background is the class's own, else it is one of
    the ten at random (the class's own among them): at 0 it carries no information about the class.

    Each example is a dict of `image` (RGB) and `mask` ("L", 255 on the object, 0 elsewhere). With
    `attributes` also, as for RIVAL10, `attr_labels` (int64 [18], 1 unless the mask is empty),
    `changed_attrs` (all 0), `attribute_masks` (19 "L": RIVAL10's attributes in its order, then the
    whole object) and `merged_mask` ("L", all attributes in one).

    Raises ValueError for a split other than train, val or test, and values out of range.
    """
    if split not in SPLITS:
        raise ValueError(f"scenes has no split {split!r}; it has {', '.join(SPLITS)}")
    if not 0 <= background_correlation <= 1:
        raise ValueError(f"background_correlation must be in [0, 1], got {background_correlation}")
    if size < 32 or per_class < 1 or seed < 0:
        raise ValueError(
            "scenes needs size >= 32, per_class >= 1 and seed >= 0, "
            f"got {size}, {per_class} and {seed}"
        )
    return Scenes(split, size, per_class, seed, background_correlation, attributes)
