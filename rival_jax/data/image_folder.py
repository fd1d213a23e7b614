"""Photos without masks: one folder per class, as ImageNet is laid out.

    ROOT/SPLIT/CLASS/NAME.jpg       or without SPLIT; or with a folder `images` above the classes

For experiments that need no masks, such as `tokencut`, which makes them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from rival_jax.data.masked_folder import SUFFIXES
from rival_jax.data.orientation import noted, turned
from rival_jax.data.transforms import open_photo
from rival_jax.runtime.plugins import no_such

EXIF = ("photo", "ignore")


def load(root: Path, split: str, *, exif: str = "photo") -> ImageFolder:
    """Photos by class folder, sorted by name.

    Args:
      root: folder of the data.
      split: folder of the split. Where the data have no splits, every name means all of them.
      exif: "photo": photos are turned as their files note, so that masks are made of what viewers
        show. "ignore": they are left as stored, as published results on ImageNet are computed.

    Raises:
      ValueError: for an unknown `exif`; naming the places that were looked at, where there is no
        photo, and class folders without one.
    """
    if exif not in EXIF:
        raise ValueError("data image_folder: exif: " + no_such(exif, EXIF))
    places = [root / split / "images", root / split, root / "images", root]
    base = next((place for place in places if place.is_dir() and _photos(place)), None)
    if base is None:
        raise ValueError(f"no photos: looked for CLASS/NAME.jpg in {', '.join(map(str, places))}")
    files = _photos(base)
    empty = {p.name for p in base.iterdir() if p.is_dir()} - {file.parent.name for file in files}
    if empty := sorted(name for name in empty if not name.startswith(".")):
        raise ValueError(f"{base}: class folder {', '.join(empty[:10])} holds no photo; remove it")
    return ImageFolder(base, files, exif)


def _photos(base: Path) -> list[Path]:
    return sorted(
        path
        for path in base.glob("*/*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


class ImageFolder:
    """A `Source` whose items have an `image` and no `mask`."""

    def __init__(self, base: Path, files: list[Path], exif: str) -> None:
        self.classes = tuple(sorted({file.parent.name for file in files}))
        wnids = all(re.fullmatch(r"n\d{8}", name) for name in self.classes)
        self.class_wnids = tuple((name,) for name in self.classes) if wnids else None
        self.names = [file.relative_to(base).as_posix() for file in files]
        places = {name: place for place, name in enumerate(self.classes)}
        self.labels = np.array([places[file.parent.name] for file in files], np.int32)
        self._files, self._exif = files, exif

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, position: int) -> dict[str, Any]:
        photo = open_photo(self._files[position], self.names[position])
        note = 1 if self._exif == "ignore" else noted(photo)
        return {"image": turned(photo, note), "turned": note != 1}
