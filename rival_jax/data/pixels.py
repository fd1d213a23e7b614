"""The pixels of one example, and how examples' pixels become a batch."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rival_jax.data import checks, photos
from rival_jax.data.remarks import remarks
from rival_jax.data.source import AttributeSource, Item, Source
from rival_jax.data.transforms import resize_labels, resize_mask, resize_photo
from rival_jax.types import Batch, Geometry


class Pixels(NamedTuple):
    """One example in a geometry; attributes only if they are read."""

    image: np.ndarray  # uint8 [h, w, 3]
    mask: np.ndarray  # uint8 [h, w], 255 on the object
    attribute_masks: np.ndarray | None = None  # uint8 [a, h, w], 255 on the attribute
    attribute_labels: np.ndarray | None = None  # int64 [a], 1 where the attribute is present
    remarks: tuple[str, ...] = ()  # see `remarks` and `photos.remarks`


def read_pixels(
    source: Source, position: int, geometry: Geometry, attributes: bool, mask_mode: str = "soft"
) -> Pixels:
    """One example of a source, decoded, resized and checked for the mask mode config.data.mask.

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
    fault = checks.stored_mask_fault(mask, mask_name, photo, mask_mode)
    if fault:
        raise ValueError(fault)
    resize = resize_labels if mask_mode == "labelled" else resize_mask
    resized = resize(mask, geometry, photo.size)
    fault = checks.mask_fault(resized, mask_name, mask_mode)
    if fault:
        raise ValueError(fault)
    found = Pixels(
        resize_photo(photo, geometry),
        resized,
        remarks=(*remarks(resized, bool(item.get("turned", False))), *photos.remarks(photo)),
    )
    if not attributes:
        return found
    assert isinstance(source, AttributeSource)  # attributes are asked only of such sources
    masks, labels = _attributes(source, item, geometry, name)
    return found._replace(attribute_masks=masks, attribute_labels=labels)


def _attributes(
    source: AttributeSource, item: Item, geometry: Geometry, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Masks uint8 [a, h, w] and labels [a] of an item, without any masks after the attributes'."""
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


class Read(NamedTuple):
    """What is known about examples besides pixels; first of one host's, then of all."""

    position: np.ndarray  # int32 [n], in the source
    pixels: np.ndarray  # uint8 [n, 16], of name, label, photo and mask
    attributes: np.ndarray  # uint8 [n, 16], of name, attribute labels and masks
    labels: np.ndarray  # int64 [n, a], see `Pixels`

    @classmethod
    def of(
        cls, rows: Sequence[tuple[int, bytes, bytes, np.ndarray | None]], attributes: int
    ) -> Read:
        """From (position, both digests, attribute labels) of every example."""
        pixels, parts = (
            np.frombuffer(b"".join(pair), np.uint8).reshape(-1, 16)
            for pair in ([row[1] for row in rows], [row[2] for row in rows])
        )
        labels = np.array([row[3] for row in rows if attributes], np.int64)
        labels = labels.reshape(len(rows), attributes)
        return cls(np.array([row[0] for row in rows], np.int32), pixels, parts, labels)


def digests(name: str, label: int, pixels: Pixels) -> tuple[bytes, bytes]:
    """Digests of 16 bytes: of one example's photo and mask, and of its attributes alone."""
    whole = hashlib.blake2b(f"{name}\0{label}\0".encode(), digest_size=16)
    whole.update(pixels.image.tobytes())
    whole.update(pixels.mask.tobytes())
    parts = hashlib.blake2b(f"{name}\0".encode(), digest_size=16)
    if pixels.attribute_masks is not None and pixels.attribute_labels is not None:
        parts.update(pixels.attribute_labels.tobytes())
        parts.update(pixels.attribute_masks.tobytes())
    return whole.digest(), parts.digest()


def fingerprint(names: Sequence[str], geometry: Geometry, found: np.ndarray) -> str:
    """Hex digits of a hash of names (of classes or attributes), size and digests [n, 16]."""
    state = hashlib.blake2b(repr((names, *geometry.size)).encode(), digest_size=16)
    state.update(np.ascontiguousarray(found).tobytes())
    return state.hexdigest()


def batch_of(
    rows: Sequence[int],
    pixels: Iterator[Pixels],
    of_all: tuple[np.ndarray, np.ndarray],
    size: int,
    dtype: Any,
) -> Batch:
    """A batch of `size` examples, padded with its first at `index` -1; an empty one is all padding.

    Args:
      rows: numbers of the examples.
      pixels: yields theirs next; row 0's if there are no rows.
      of_all: labels and noise ids of all examples.
    """
    shown = rows or (0,)
    real = list(itertools.islice(pixels, len(shown)))
    taken = np.full(size, shown[0], np.int32)
    taken[: len(shown)] = shown
    labels, noise_ids = of_all
    batch = Batch(
        image=stacked([one.image for one in real], size, dtype),
        mask=stacked([one.mask for one in real], size, dtype),
        label=labels[taken],
        index=np.where(np.arange(size) < len(rows), taken, -1).astype(np.int32),
        noise_id=noise_ids[taken],
    )
    parts = [one.attribute_masks for one in real if one.attribute_masks is not None]
    if parts:
        batch["attribute_masks"] = stacked(parts, size, dtype)
    return batch


def stacked(pictures: Sequence[np.ndarray], size: int, dtype: Any) -> np.ndarray:
    """uint8 pictures as float [size, ...] in [0, 1]; places beyond the last repeat the first.

    `dtype` uint8: as they are, see `parallel.of_bytes`.
    """
    whole = np.dtype(dtype) == np.uint8
    exact = dtype if whole else np.promote_types(dtype, np.float32)
    out = np.empty((size, *pictures[0].shape), exact)
    for place, picture in enumerate(pictures):
        if whole:
            out[place] = picture
        else:
            np.divide(picture, 255, out=out[place], dtype=exact)
    out[len(pictures) :] = out[0]
    return out.astype(dtype, copy=False)
