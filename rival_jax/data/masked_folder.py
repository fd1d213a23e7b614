"""Anybody's photos and masks: one folder per class, or a CSV file.

    ROOT/images/CLASS/NAME.jpg       photos; with splits ROOT/SPLIT/images/... instead
    ROOT/masks/CLASS/NAME.png        the mask of the same name, whatever its suffix

or `manifest`, a CSV file with the columns image, mask, class and perhaps split, its paths relative
to the CSV file's folder.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from rival_jax.data.checks import report
from rival_jax.data.transforms import open_photo, open_picture
from rival_jax.runtime.plugins import no_such

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
COLUMNS = ("image", "mask", "class")


@dataclasses.dataclass(frozen=True)
class Row:
    """One photo with its mask; `folder` is the class as the data write it."""

    name: str
    image: Path
    mask: Path
    folder: str


def load(
    root: Path,
    split: str,
    *,
    mask_format: str = "auto",
    class_map: str | None = None,
    manifest: str | None = None,
) -> MaskedFolder:
    """Photos with masks from folders or a CSV file, sorted by name.

    Args:
      root: folder of the data.
      split: folder of the split, or value of the CSV file's column `split`. Where the data have no
        splits every name means all of them.
      mask_format: "auto": grey masks, 0 to 255, or 0 and 1 where nothing is above 1. "binary": what
        is brighter than half. "nonzero": every colour but black, every palette entry but 0.
        "imagenet_s": ImageNet-S's class ids, R + 256 G; id 0 and the id 1000 of pixels to ignore
        are background.
      class_map: JSON file below root, from folder name (or value of the column `class`) to class
        name or [class name, index]; several folders may form one class. Folders that it does not
        name are left out.
      manifest: CSV file below root, instead of folders.

    Raises:
      ValueError: naming every photo without mask, mask without photo, pair of photos of one name
        and empty class (ten at most), or what was looked for where there is nothing.
    """
    if mask_format not in READERS:
        raise ValueError("data masked_folder: mask_format: " + no_such(mask_format, READERS))
    rows = _manifest_rows(root / manifest, split) if manifest else _folder_rows(root, split)
    folders = sorted({row.folder for row in rows})
    where = manifest or root
    mapping = _read_map(root / class_map, folders) if class_map else {f: (f, None) for f in folders}
    return MaskedFolder(rows, mapping, mask_format, str(where))
