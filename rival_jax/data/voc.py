"""PASCAL VOC: photos with masks of 20 classes, as they unpack.

    ROOT/JPEGImages/NAME.jpg
    ROOT/SegmentationClass/NAME.png              0 background, 1 to 20 classes, 255 not labelled
    ROOT/ImageSets/Segmentation/SPLIT.txt        names of the photos, a line each

All classes are object. A photo is of the class with the most pixels in its mask. Source: Everingham
et al., IJCV 2010.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rival_jax.data.mask_formats import of_labels
from rival_jax.data.transforms import open_photo, open_picture

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
FOLDERS = ("", "VOC2012", "VOCdevkit/VOC2012", "VOC2007", "VOCdevkit/VOC2007")
VOID = 255


def load(root: Path, split: str) -> Voc:
    """The photos of a split that have masks, in the order of its list.

    Args:
      root: the folder of JPEGImages, or one above it.
      split: "train", "val" or "trainval"; "test", whose masks are not public, means "val".

    Raises:
      ValueError: for a missing list, and for a mask that is missing, damaged or of other labels.
    """
    split = "val" if split == "test" else split
    bases = [root / folder for folder in FOLDERS]
    lists = [base / "ImageSets" / "Segmentation" / f"{split}.txt" for base in bases]
    found = next((file for file in lists if file.is_file()), None)
    if found is None:
        raise ValueError(f"voc: no list of photos: looked for {', '.join(map(str, lists))}")
    return Voc(found.parents[2], found.read_text(encoding="utf-8").split())


class Voc:
    """A `Source` of the 20 classes; masks are read once at the start, for the photos' classes."""

    classes, class_wnids = CLASSES, None

    def __init__(self, base: Path, names: list[str]) -> None:
        self._base, self.names = base, names
        counts = [np.bincount(self._mask(name).ravel(), minlength=256) for name in names]
        labels = np.array(counts).reshape(-1, 256)[:, 1 : len(CLASSES) + 1]
        if (empty := np.flatnonzero(labels.sum(1) == 0)).size:
            raise ValueError(f"voc: mask {names[empty[0]]} has no pixel of a class")
        self.labels = labels.argmax(1).astype(np.int32)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, position: int) -> dict[str, Any]:
        name = self.names[position]
        photo = open_photo(self._base / "JPEGImages" / f"{name}.jpg", name)
        return {"image": photo, "mask": of_labels(self._mask(name), VOID)}

    def _mask(self, name: str) -> np.ndarray:
        """The stored labels, uint8 [h, w]."""
        picture = open_picture(self._base / "SegmentationClass" / f"{name}.png", name, "mask")
        labels = np.asarray(picture)
        strange = set(np.unique(labels).tolist()) - {*range(len(CLASSES) + 1), VOID}
        if picture.mode not in ("P", "L") or strange:
            raise ValueError(
                f"voc: mask {name} ({picture.mode}) holds {sorted(strange)[:5]}, expected a "
                f"palette of 0 to {len(CLASSES)} and {VOID}"
            )
        return labels
