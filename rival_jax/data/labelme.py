"""Photos outlined in LabelMe: a JSON file beside each photo.

    ROOT/NAME.jpg, ROOT/NAME.json       or below ROOT/SPLIT, or in folders of classes

Polygons, rectangles, circles and drawn masks are read; points and lines have no inside.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from rival_jax.data.files import hidden
from rival_jax.data.outlines import Outline, Outlined, Photo, Photos, box, name_of, pixels, polygon
from rival_jax.data.transforms import open_picture

FLAT = {"point", "points", "line", "linestrip"}


def load(
    root: Path, split: str, *, ignore: tuple[str, ...] = (), class_from: str = "outline"
) -> Outlined:
    """The photos that have a JSON file, sorted by name.

    Args:
      root: folder of the data.
      split: a folder in it; if there is none, any name means all photos.
      ignore, class_from: see `outlines.Outlined`.

    Raises:
      ValueError: for no files, and for a file that is not LabelMe's or whose photo is missing.
    """
    base = root / split if (root / split).is_dir() else root
    files = sorted(path for path in base.rglob("*.json") if not hidden(path.name))
    if not files:
        raise ValueError(f"labelme: no outlines: looked for NAME.json beside each photo in {base}")
    return Outlined(f"labelme: {base}", (_photo(file, base) for file in files), ignore, class_from)


def _photo(file: Path, base: Path) -> Photo:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        outlines = [_outline(shape) for shape in told["shapes"] if shape["shape_type"] not in FLAT]
        size = int(told["imageWidth"]), int(told["imageHeight"])
        # Windows' paths are saved with backslashes.
        named = str(told["imagePath"]).replace("\\", "/").rpartition("/")[2]
    except (KeyError, TypeError, ValueError, RecursionError, binascii.Error) as error:
        raise ValueError(f"labelme: {file} is not LabelMe's: {error!r}") from error
    path = Photos("labelme", file.parent)(named, file.name)
    return Photo(name_of(path, base), path, outlines, size)


def _outline(shape: dict[str, Any]) -> Outline:
    word, kind = str(shape["label"]), shape.get("shape_type") or "polygon"
    points = np.asarray(shape["points"], np.float64)
    if kind == "polygon":
        return polygon(word, points)
    (left, top), (right, bottom) = points[:2]
    if kind == "rectangle":
        return box(word, left, top, right, bottom)
    if kind == "circle":  # its centre, and a point on it
        angles = np.linspace(0, 2 * math.pi, 256, endpoint=False)
        radius = math.hypot(right - left, bottom - top)
        return polygon(word, [left, top] + radius * np.stack([np.cos(angles), np.sin(angles)], 1))
    if kind == "mask":
        data = io.BytesIO(base64.b64decode(shape["mask"], validate=True))
        inside = np.asarray(open_picture(data, word, "mask")) > 0
        return pixels(word, inside, round(left), round(top))
    raise ValueError(f"{word}: shape_type {kind!r} is not read")
