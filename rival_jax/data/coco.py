"""Photos with outlines in COCO's JSON, such as PartImageNet, whose parts make up the object.

    ROOT/annotations/SPLIT.json, ROOT/annotations/SPLIT/SPLIT.json or instances_SPLIT*.json
    ROOT/images/SPLIT/NAME.jpg, or without images, or without SPLIT

All outlines of a photo together are the object; pixels of crowds (`iscrowd`) are not labelled. A
photo whose file is named by a synset, n02102480_123.JPEG, is of that class (PartImageNet), others
are of the category with the largest outlines.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rival_jax.data.mask_formats import of_labels
from rival_jax.data.outlines import polygon
from rival_jax.data.source import class_order
from rival_jax.data.transforms import open_photo

SYNSET = re.compile(r"(n\d{8})_")
VOID = 255


def load(root: Path, split: str) -> Coco:
    """The photos that have outlines, sorted by name.

    Args:
      root: folder of annotations and photos.
      split: of the names above.

    Raises:
      ValueError: for a missing or malformed file of annotations, and missing photos.
    """
    folder = root / "annotations"
    places = [folder / f"{split}.json", folder / split / f"{split}.json"]
    places += sorted(folder.glob(f"instances_{split}*.json"))
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise ValueError(f"coco: no outlines: looked for {', '.join(map(str, places))}")
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        photos = {one["id"]: one for one in told["images"]}
        named = {one["id"]: str(one["name"]) for one in told["categories"]}
        outlines = defaultdict(list)
        for one in told["annotations"]:
            outlines[photos[one["image_id"]]["file_name"]].append(one)
        return Coco(root, split, outlines, _words(outlines, named))
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"coco: {file} is not COCO's JSON: {error!r}") from error


class Coco:
    """A `Source`; masks are drawn on demand."""

    def __init__(
        self,
        root: Path,
        split: str,
        outlines: Mapping[str, list[dict[str, Any]]],
        words: Mapping[str, str],
    ) -> None:
        self.names = sorted(outlines)
        self.classes = class_order(words.values())
        wnids = all(SYNSET.fullmatch(f"{name}_") for name in self.classes)
        self.class_wnids = tuple((name,) for name in self.classes) if wnids else None
        places = {name: place for place, name in enumerate(self.classes)}
        self.labels = np.array([places[words[name]] for name in self.names], np.int32)
        self._outlines = outlines
        self._files = [_file(root, split, name) for name in self.names]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, position: int) -> dict[str, Any]:
        name = self.names[position]
        photo = open_photo(self._files[position], name)
        labels = np.zeros(photo.size[::-1], np.uint8)
        for one in sorted(self._outlines[name], key=lambda one: -one.get("iscrowd", 0)):
            inside = drawn(one["segmentation"], photo.size, name)
            labels[inside] = VOID if one.get("iscrowd", 0) else 1
        return {"image": photo, "mask": of_labels(labels, VOID)}


def drawn(outline: Any, size: tuple[int, int], name: str) -> np.ndarray:
    """bool [h, w]: the pixels of an outline: polygons, or runs of pixels (RLE) down the columns.

    Raises:
      ValueError: for another form, or runs of another size.
    """
    if isinstance(outline, list):
        inside = np.zeros(size[::-1], bool)
        for points in outline:
            inside |= polygon(name, points).draw(size)
        return inside
    try:
        (height, width), counts = outline["size"], outline["counts"]
        runs = list(_runs(counts) if isinstance(counts, str) else counts)
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        if (width, height) != size:
            raise ValueError(f"its runs are for {width} x {height} pixels, not {size}")
        return flat.reshape(width, height).T
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"outline of {name} cannot be drawn: {error}") from error


def _runs(text: str) -> Iterable[int]:
    """COCO's compressed runs: numbers in groups of 5 bits, each minus the second last one."""
    found: list[int] = []
    value = shift = 0
    for letter in text.encode():
        bits = letter - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            found.append(value + (found[-2] if len(found) > 2 else 0))
            value = shift = 0
    return found


def _words(
    outlines: Mapping[str, list[dict[str, Any]]], named: Mapping[int, str]
) -> dict[str, str]:
    """The class of each photo."""
    found = {}
    for name, some in outlines.items():
        synset = SYNSET.match(name.rpartition("/")[2])
        area: Counter[str] = Counter()
        for one in some:
            area[named[one["category_id"]]] += one.get("area", 1)
        found[name] = synset[1] if synset else max(area, key=lambda word: area[word])
    return found


def _file(root: Path, split: str, name: str) -> Path:
    ways = [root / "images" / split, root / split, root / "images", root]
    found = next((way / name for way in ways if (way / name).is_file()), None)
    if found is None:
        raise ValueError(f"coco: photo {name} is missing: there is no {ways[0] / name}")
    return found
