"""Photos without masks: one folder per class, as ImageNet is laid out.

    ROOT/SPLIT/CLASS/NAME.jpg       or without SPLIT; or with a folder `images` above the classes

For experiments that need no masks, such as `tokencut`, which makes them. Photos may lie deeper,
CLASS/MORE/NAME.jpg.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from rival_jax.data import files
from rival_jax.data.checks import report
from rival_jax.data.orientation import noted, turned
from rival_jax.data.photos import MAX_PIXELS, PhotoRules
from rival_jax.data.source import class_order
from rival_jax.data.transforms import open_photo
from rival_jax.runtime.plugins import no_such

EXIF = ("photo", "ignore")


def load(
    root: Path,
    split: str,
    *,
    alpha_colour: str = "white",
    max_pixels: int = MAX_PIXELS,
    exif: str = "photo",
) -> ImageFolder:
    """Photos by class folder, sorted by name; folders named by numbers are in numeric order.

    Args:
      root: folder of the data.
      split: folder of the split. If the data have no splits, any name means all photos.
      alpha_colour, max_pixels: see `PhotoRules`.
      exif: "photo": photos are turned as their files note, so that masks fit what viewers show.
        "ignore": they stay as stored, as for published results on ImageNet.

    Raises:
      ValueError: for an unknown `exif`; if there is no photo, naming the places searched; for class
        folders without photos; for pictures in formats that are not read.
    """
    rules = PhotoRules(alpha_colour, max_pixels, "--config.data.image_folder.")
    if exif not in EXIF:
        raise ValueError("data image_folder: exif: " + no_such(exif, EXIF))
    places = [root / split / "images", root / split, root / "images", root]
    base = next((place for place in places if _is_base(place)), None)
    if base is None:
        raise ValueError(f"no photos: looked for CLASS/NAME.jpg in {', '.join(map(str, places))}")
    there = sorted(files.below(base))
    photos = [(name, path) for name, path in there if files.suffix(name) in files.SUFFIXES]
    unread, strange = files.unread(name for name, _ in there)
    faults = [f"photo {name} is of a suffix that is not read" for name in unread]
    empty = files.class_folders(base) - {name.split("/")[0] for name, _ in photos}
    faults += [f"class folder {folder} holds no photo" for folder in sorted(empty)]
    if faults:
        total = len(there) + len(empty)
        cure = f"convert or remove them; {files.READ}"
        raise ValueError(f"{base}: " + report(faults, total, "files and folders", cure))
    return ImageFolder(photos, files.unread_notice(base, strange), rules, exif)


def _is_base(place: Path) -> bool:
    """Whether photos lie directly in a class folder: else a folder of splits could pass for one."""
    inside = place.glob("*/*")
    return any(
        files.suffix(path.name) in files.SUFFIXES
        and not files.hidden(path.name)
        and not files.hidden(path.parent.name)
        for path in inside
    )


class ImageFolder:
    """A `Source` whose items have an `image` and no `mask`."""

    def __init__(
        self,
        photos: list[tuple[str, Path]],
        notices: tuple[str, ...],
        rules: PhotoRules,
        exif: str,
    ) -> None:
        self.names = [name for name, _ in photos]
        folders = [name.split("/")[0] for name in self.names]
        self.classes = class_order(folders)
        wnids = all(re.fullmatch(r"n\d{8}", name) for name in self.classes)
        self.class_wnids = tuple((name,) for name in self.classes) if wnids else None
        places = {name: place for place, name in enumerate(self.classes)}
        self.labels = np.array([places[folder] for folder in folders], np.int32)
        self.notices = notices
        self._files, self._rules = [path for _, path in photos], rules
        self._exif = exif

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, position: int) -> dict[str, Any]:
        photo = open_photo(self._files[position], self.names[position], self._rules)
        note = 1 if self._exif == "ignore" else noted(photo)
        return {"image": turned(photo, note), "turned": note != 1}
