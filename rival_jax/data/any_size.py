"""Photos of all sizes: each is read once for its shape, then photos of one shape form batches."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from rival_jax.data import checks
from rival_jax.data.photos import remarks, sentences
from rival_jax.data.pixels import stacked
from rival_jax.data.source import Source
from rival_jax.runtime import hosts
from rival_jax.runtime.progress import Meter
from rival_jax.types import Batch

THREADS = min(16, os.cpu_count() or 1)
T = TypeVar("T")
R = TypeVar("R")


class Photo(NamedTuple):
    """One photo of a source that can be read."""

    position: int  # in the source
    name: str
    label: int
    file: str  # CLASS/NAME without an ending: the place of its mask
    size: tuple[int, int]  # height, width
    digest: str  # of its name and pixels, and of what is beside it
    remarks: tuple[str, ...]  # see `photos.remarks`


def threaded(fn: Callable[[T], R], values: Iterable[T]) -> Iterator[R]:
    """`map` in threads, in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(fn, values)


class Photos(NamedTuple):
    """The photos of a source."""

    usable: list[Photo]
    skipped: list[tuple[str, str]]  # (name, reason) of the others
    notices: list[str]  # what was assumed to read them, in sentences


def read(
    source: Source,
    on_bad: str,
    per_class: int,
    meter: Meter,
    beside: Callable[[str, tuple[int, int]], str] = lambda name, size: "",
) -> Photos:
    """Every photo decoded once, by one of the hosts.

    Args:
      source: of the photos.
      on_bad: "error" | "skip".
      per_class: only this many of each class, the first ones of the source; 0: all.
      meter: counts the photos.
      beside: reads what belongs to a photo, by its name, height and width; returns a digest of it,
        or raises ValueError if the photo cannot be used.

    Raises:
      ValueError: naming the unreadable photos, unless they are skipped.
    """
    files, photos, skipped = _files(source), [], []
    taken = _first(source.labels, per_class) if per_class else list(range(len(source)))

    def look(position: int) -> Photo | str:
        name = source.names[position]
        try:
            image = source[position]["image"]
            more = beside(name, (image.size[1], image.size[0]))
        except (ValueError, OSError) as error:
            return str(error)
        state = hashlib.blake2b(f"{name}\0{image.size}".encode(), digest_size=8)
        state.update(image.tobytes() + more.encode())
        label, size = int(source.labels[position]), (image.size[1], image.size[0])
        where = (position, name, label, files[position])
        return Photo(*where, size, state.hexdigest(), remarks(image))

    mine = [taken[i] for i in hosts.shares(len(taken))[hosts.index()]]
    for position, photo in zip(mine, threaded(look, mine), strict=True):
        meter.advance(1)
        if isinstance(photo, Photo):
            photos.append(photo)
        else:
            skipped.append((source.names[position], photo))
    found = hosts.gathered([[photo._asdict() for photo in photos], skipped])
    tuples = ("size", "remarks")  # lists on the way between hosts
    photos = [
        Photo(**{**row, **{key: tuple(row[key]) for key in tuples}})
        for some, _ in found
        for row in some
    ]
    skipped = [(name, reason) for _, some in found for name, reason in some]
    if skipped and (on_bad == "error" or not photos):
        cure = f"drop {'it' if len(skipped) == 1 else 'them'} or pass {checks.CURE}"
        faults = [reason for _, reason in skipped]
        raise ValueError(checks.report(faults, len(taken), "photos", cure))
    count = Counter(remark for photo in photos for remark in photo.remarks)
    notices = [*getattr(source, "notices", ()), *sentences(count, len(photos))]
    return Photos(photos, skipped, notices)


def _first(labels: np.ndarray, count: int) -> list[int]:
    """The first `count` positions of every label, in order."""
    first = [np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]
    return np.sort(np.concatenate(first)).tolist()


def _files(source: Source) -> list[str]:
    """CLASS/NAME of every photo; NAME is the file's own if unique in its class."""
    folders = [plain(source.classes[label]) for label in source.labels]
    short = [f"{f}/{PurePosixPath(n).stem}" for f, n in zip(folders, source.names, strict=True)]
    count = Counter(short)
    whole = (plain(str(PurePosixPath(name).with_suffix(""))) for name in source.names)
    found = [
        own if count[own] == 1 else f"{folder}/{long}"
        for own, folder, long in zip(short, folders, whole, strict=True)
    ]
    twice = [file for file, n in Counter(found).items() if n > 1]
    if twice:
        raise ValueError(f"{len(twice)} photos differ in their ending alone, such as {twice[0]}")
    return found


def plain(name: str) -> str:
    """A name as one file name."""
    return re.sub(r"[/\\:]+|^\.", "_", name)


def batches(
    source: Source, photos: Sequence[Photo], pixels: tuple[int, int], batch_size: int
) -> Iterator[Batch]:
    """Batches of this host's photos of one shape, resized by Lanczos' filter; padding has index -1.

    Every host has equally many batches of equal size.

    Args:
      source: of the photos.
      photos: those of all hosts; `index` in batches is the position in this list.
      pixels: height and width.
      batch_size: images per batch, over all hosts.
    """

    def load(photo: Photo) -> np.ndarray:
        image = source[photo.position]["image"]
        return np.asarray(image.resize(pixels[::-1], Image.Resampling.LANCZOS))

    size, shares = -(-batch_size // hosts.count()), hosts.shares(len(photos))
    mine = shares[hosts.index()]
    for start in range(0, max(map(len, shares)), size):
        rows = mine[start : start + size]
        images = list(threaded(load, [photos[i] for i in rows] or photos[:1]))
        index = np.full(size, -1, np.int32)
        index[: len(rows)] = rows
        yield Batch(image=stacked(images, size, np.float32), index=index)


def true_mask(item: dict[str, Any]) -> np.ndarray | None:
    """An item's own mask at its photo's size, bool [h, w]; None without a mask or an object."""
    if "mask" not in item:
        return None
    mask, size = item["mask"], item["image"].size
    mask = mask if mask.size == size else mask.resize(size, Image.Resampling.BILINEAR)
    found = np.asarray(mask) > 127
    return found if found.any() else None
