"""A data set: photos, classes and boxes in a CSV file; the object is what lies in its box.

    ROOT/photos.csv     image,class,split,left,top,right,bottom
                        cats/7.jpg,cat,test,12,30,180,200      the box in pixels of the photo

  python -m rival_jax.main --config=configs/background.py \
      --config.data.name=examples.csv_photos --config.data.root=path/to/ROOT \
      --config.models="('path/to/model',)" --config.head=own

A CSV file that names masks needs none of this: --config.data.masked_folder.manifest=FILE.csv.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from rival_jax.data.source import class_order
from rival_jax.data.transforms import open_photo

COLUMNS = ("image", "class", "split", "left", "top", "right", "bottom")


def load(root: Path, split: str, *, table: str = "photos.csv") -> CsvPhotos:
    """The photos of one split; nothing is decoded yet.

    Args:
      root: --config.data.root.
      split: --config.data.split, and for heads that are fitted config.data.train_split.
      table: an option of this data set: a block of the config has it, named as the module with
        "_" for ".". In a config file of yours: `data.examples_csv_photos = {"table": "a.csv"}`.

    Raises:
      ValueError: naming the file and what is wrong; all bad lines at once.
    """
    with (root / table).open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    missing = [name for name in COLUMNS if not lines or name not in lines[0]]
    if missing:
        raise ValueError(f"{root / table}: no column {', '.join(missing)}; expected {COLUMNS}")
    bad = [f"line {i}: {line}" for i, line in enumerate(lines, 2) if not _box(line)]
    if bad:
        raise ValueError(f"{root / table}: boxes are four whole numbers: " + "; ".join(bad[:10]))
    classes = class_order(line["class"] for line in lines)  # of all splits: labels are theirs
    mine = sorted((line for line in lines if line["split"] == split), key=lambda v: v["image"])
    if not mine:
        known = ", ".join(sorted({line["split"] for line in lines}))
        raise ValueError(f"{root / table}: no line of split {split!r}; there are: {known}")
    return CsvPhotos(root, mine, classes)


class CsvPhotos:
    """A `data.Source`: names and labels at once, pictures one by one."""

    class_wnids = None  # the ImageNet synsets of every class, where they are known

    def __init__(self, root: Path, lines: list[dict[str, str]], classes: tuple[str, ...]):
        self._root, self._lines, self.classes = root, lines, classes
        self.names = [line["image"] for line in lines]  # stable and unique: they key the noise
        self.labels = np.array([classes.index(line["class"]) for line in lines], np.int32)
        self.notices = ("masks are boxes: what of the background lies in them counts as object",)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, position: int) -> dict[str, Any]:
        name, box = self.names[position], _box(self._lines[position])
        photo = open_photo(self._root / name, name)  # errors name the photo
        mask = Image.new("L", photo.size)
        left, top, right, bottom = box
        ImageDraw.Draw(mask).rectangle((left, top, right - 1, bottom - 1), fill=255)
        return {"image": photo, "mask": mask}


def _box(line: dict[str, str]) -> tuple[int, ...]:
    """Left, top, right, bottom; () unless these are whole numbers of a box with pixels in it."""
    try:
        box = tuple(int(line[name]) for name in COLUMNS[3:])
    except (TypeError, ValueError):
        return ()
    return box if box[0] < box[2] and box[1] < box[3] else ()
