"""What is read of one example, and how examples' pixels become a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rival_jax.data import checks
from rival_jax.data.source import AttributeSource, Item, Source
from rival_jax.data.transforms import resize_mask, resize_photo
from rival_jax.types import Geometry


class Pixels(NamedTuple):
    """One example at a geometry; the last two are there where attribute masks are read."""

    image: np.ndarray  # uint8 [h, w, 3]
    mask: np.ndarray  # uint8 [h, w], 255 on the object
    attribute_masks: np.ndarray | None = None  # uint8 [a, h, w], 255 on the attribute
    attribute_labels: np.ndarray | None = None  # int64 [a], 1 where the attribute is present


def read_pixels(source: Source, position: int, geometry: Geometry, attributes: bool) -> Pixels:
    """One example of a source, decoded, resized and checked.

    Raises:
      ValueError, OSError: naming what cannot be used.
    """
    name, label = source.names[position], int(source.labels[position])
    if not 0 <= label < len(source.classes):
        raise ValueError(f"label {label} of {name} is none of the {len(source.classes)} classes")
    item = source[position]
    if "mask" not in item:
        raise ValueError(f"photo {name} has no mask: config tokencut makes one")
    photo, mask, mask_name = item["image"], item["mask"], item.get("mask_name", name)
    fault = checks.stored_mask_fault(mask, mask_name, photo)
    if fault:
        raise ValueError(fault)
    resized = resize_mask(mask, geometry, photo.size)
    fault = checks.mask_fault(resized, mask_name)
    if fault:
        raise ValueError(fault)
    image = resize_photo(photo, geometry)
    if not attributes:
        return Pixels(image, resized)
    assert isinstance(source, AttributeSource)  # of every source that attributes are asked of
    return Pixels(image, resized, *_attributes(source, item, geometry, name))


def _attributes(
    source: AttributeSource, item: Item, geometry: Geometry, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Masks uint8 [a, h, w] and labels [a] of an item, without what follows the attributes."""
    count = len(source.attributes)
    masks, labels = source.attribute_pixels(item, geometry), np.asarray(item["attr_labels"])
    if masks.dtype != np.uint8 or masks.shape[1:] != geometry.size or len(masks) < count:
        raise ValueError(
            f"attribute masks of {name} are {masks.dtype} {masks.shape}, expected uint8 "
            f"{(count, *geometry.size)}"
        )
    if labels.shape != (count,) or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            f"attribute labels of {name} are {labels.tolist()}, expected {count} of 0 and 1"
        )
    return masks[:count], labels.astype(np.int64)


class Digests:
    """Two hashes that grow with the examples: of photos and masks, and of attributes alone."""

    def __init__(
        self, classes: tuple[str, ...], attributes: tuple[str, ...], geometry: Geometry
    ) -> None:
        self._pixels, self._attributes = (
            hashlib.blake2b(repr((names, *geometry.size)).encode(), digest_size=16)
            for names in (classes, attributes)
        )
        self._with_attributes = bool(attributes)

    def update(self, name: str, label: int, pixels: Pixels) -> None:
        self._pixels.update(f"{name}\0{label}\0".encode())
        self._pixels.update(pixels.image.tobytes())
        self._pixels.update(pixels.mask.tobytes())
        if pixels.attribute_masks is not None and pixels.attribute_labels is not None:
            self._attributes.update(f"{name}\0".encode())
            self._attributes.update(pixels.attribute_labels.tobytes())
            self._attributes.update(pixels.attribute_masks.tobytes())

    def hex(self) -> tuple[str, str]:
        """Both, in hex digits; the second is empty without attributes."""
        attributes = self._attributes.hexdigest() if self._with_attributes else ""
        return self._pixels.hexdigest(), attributes


def stacked(pictures: Sequence[np.ndarray], size: int, dtype: Any) -> np.ndarray:
    """float [size, ...] in [0, 1] of uint8 pictures; places beyond the last repeat the first."""
    exact = np.promote_types(dtype, np.float32)
    out = np.empty((size, *pictures[0].shape), exact)
    for place, picture in enumerate(pictures):
        np.divide(picture, 255, out=out[place], dtype=exact)
    out[len(pictures) :] = out[0]
    return out.astype(dtype, copy=False)
