"""Photos outlined in CVAT, exported as "CVAT for images 1.1".

    ROOT/annotations.xml
    ROOT/images/NAME.jpg        or without images; or both below ROOT/SPLIT

Polygons, boxes, ellipses and drawn masks are read. If images in the file name a subset, it is the
split.
"""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from rival_jax.data.outlines import Outline, Outlined, Photo, Photos, box, pixels, polygon

FILE = "annotations.xml"


def load(
    root: Path, split: str, *, ignore: tuple[str, ...] = (), class_from: str = "outline"
) -> Outlined:
    """The photos of the file, sorted by name.

    Args:
      root: folder of the file and of the photos.
      split: a folder in it, or a subset of the file; if there is neither, any name means all.
      ignore, class_from: see `outlines.Outlined`.

    Raises:
      ValueError: for no file, one that is not CVAT's, missing photos and a subset without any.
    """
    base = next((b for b in (root / split, root) if (b / FILE).is_file()), None)
    if base is None:
        raise ValueError(f"cvat: no outlines: looked for {root / split / FILE}, {root / FILE}")
    file = base / FILE
    text = file.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:  # which could make a small file a huge one
        raise ValueError(f"cvat: {file} declares entities, which CVAT's files do not")
    try:
        images = ElementTree.fromstring(text).findall("image")
        subsets = {image.get("subset", "") for image in images}
        if base == root and subsets - {""}:
            images = [image for image in images if image.get("subset") == split]
        find = Photos("cvat", base / "images", base / "images" / split, base)
        photos = [_photo(image, find, file) for image in images]
    except (ElementTree.ParseError, KeyError) as error:
        raise ValueError(f"cvat: {file} is not CVAT's: {error!r}") from error
    if not photos:
        there = ", ".join(sorted(subsets)) or "no image at all"
        raise ValueError(f"cvat: {file} has no image of subset {split!r}; there are: {there}")
    return Outlined(f"cvat: {file}", photos, ignore, class_from)


def _photo(image: ElementTree.Element, find: Photos, file: Path) -> Photo:
    name = image.attrib["name"]
    try:
        size = int(image.attrib["width"]), int(image.attrib["height"])
        outlines = [found for shape in image if (found := _outline(shape)) is not None]
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"cvat: {file}: photo {name}: an outline cannot be read: {error}"
        ) from error
    return Photo(name, find(name, FILE), outlines, size)


def _outline(shape: ElementTree.Element) -> Outline | None:
    """None for what has no inside."""
    given = shape.attrib
    if shape.tag == "polygon":
        return polygon(given["label"], [pair.split(",") for pair in given["points"].split(";")])
    if shape.tag == "box":
        return box(given["label"], *(float(given[end]) for end in ("xtl", "ytl", "xbr", "ybr")))
    if shape.tag == "ellipse":
        x, y, wide, high = (float(given[end]) for end in ("cx", "cy", "rx", "ry"))
        angles = np.linspace(0, 2 * math.pi, 256, endpoint=False)
        points = np.stack([x + wide * np.cos(angles), y + high * np.sin(angles)], 1)
        return polygon(given["label"], points)
    if shape.tag == "mask":  # runs along the rows, the first one outside
        runs = [int(run) for run in given["rle"].split(",")]
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        inside = flat.reshape(int(given["height"]), int(given["width"]))
        return pixels(given["label"], inside, int(given["left"]), int(given["top"]))
    return None
