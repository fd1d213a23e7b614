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

from rival_jax.data.checks import report
from rival_jax.data.mask_formats import Read, reader
from rival_jax.data.orientation import RULES, noted, upright
from rival_jax.data.transforms import open_photo, open_picture
from rival_jax.runtime.plugins import no_such

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
COLUMNS = ("image", "mask", "class")
PAIRS = "every photo needs one mask of its name, every mask a photo, every class a photo"


@dataclasses.dataclass(frozen=True)
class Row:
    """One photo with its mask; `folder` is the class as the data write it."""

    name: str
    image: Path
    mask_name: str
    mask: Path
    folder: str


def load(
    root: Path,
    split: str,
    *,
    mask_format: str = "auto",
    class_map: str | None = None,
    manifest: str | None = None,
    mask_values: tuple[int | str, ...] = (),
    ignore: tuple[int | str, ...] = (),
    void: str = "background",
    exif: str = "fit",
) -> MaskedFolder:
    """Photos with masks from folders or a CSV file, sorted by name.

    Args:
      root: folder of the data.
      split: folder of the split, or value of the CSV file's column `split`. Where the data have no
        splits, every name means all of them.
      mask_format: see `mask_formats`: "auto", "inverted", "binary", "nonzero", "grey" or
        "imagenet_s".
      class_map: JSON file below root, from folder name (or value of the column `class`) to class
        name or to [class name, index]; several folders may form one class. Folders that it does
        not name are left out.
      manifest: CSV file below root, instead of folders.
      mask_values, ignore, void: see `mask_formats.reader`: the values that are object, those that
        nobody labelled, and whether these count as "background" or "foreground".
      exif: which of photo and mask is turned where a photo's file notes that it is stored turned,
        see `orientation.upright`: "fit", "photo", "both" or "ignore".

    Raises:
      ValueError: naming every photo without mask, mask without photo, pair of photos of one name
        and empty class (ten at most), or what was looked for where there is nothing.
    """
    if exif not in RULES:
        raise ValueError("data masked_folder: exif: " + no_such(exif, RULES))
    masks = reader("masked_folder", mask_format, mask_values, ignore, void)
    rows = _manifest_rows(root / manifest, split) if manifest else _folder_rows(root, split)
    folders = {row.folder for row in rows}
    class_of, classes = {folder: folder for folder in folders}, tuple(sorted(folders))
    if class_map:
        class_of, classes = _read_map(root / class_map, folders)
    rows = [row for row in rows if row.folder in class_of]
    return MaskedFolder(rows, class_of, classes, masks, exif)


class MaskedFolder:
    """A `Source`, sorted by name; classes in the order of the class map's indices, else by name."""

    def __init__(
        self,
        rows: list[Row],
        class_of: dict[str, str],
        classes: tuple[str, ...],
        masks: tuple[Read, tuple[str, ...]],
        exif: str,
    ) -> None:
        self.classes = classes
        self.class_wnids = _wnids(class_of, classes)
        self._rows = sorted(rows, key=lambda row: row.name)
        self.names = [row.name for row in self._rows]
        labels = [classes.index(class_of[row.folder]) for row in self._rows]
        self.labels = np.array(labels, np.int32)
        self._read_mask, self.notices = masks
        self._exif = exif

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        row = self._rows[position]
        photo = open_photo(row.image, row.name)
        stored = open_picture(row.mask, row.mask_name, "mask")
        mask, notes = self._read_mask(stored, row.mask_name), (noted(photo), noted(stored))
        photo, mask = upright(photo, mask, notes, self._exif, row.name)
        turned = self._exif != "ignore" and notes[0] != 1
        return {"image": photo, "mask": mask, "mask_name": row.mask_name, "turned": turned}


def _wnids(
    class_of: dict[str, str], classes: tuple[str, ...]
) -> tuple[tuple[str, ...], ...] | None:
    """The folders of each class, if all of them are named as WordNet's synsets."""
    if not all(re.fullmatch(r"n\d{8}", folder) for folder in class_of):
        return None
    return tuple(tuple(sorted(f for f in class_of if class_of[f] == name)) for name in classes)


def _folder_rows(root: Path, split: str) -> list[Row]:
    base = _base(root, split)
    images, masks = _by_stem(base / "images"), _by_stem(base / "masks")
    faults = _misplaced(base / "images", {folder for folder, _ in images})
    keys = images.keys() | masks.keys()
    for folder, stem in keys:
        found, wanted = images.get((folder, stem), []), masks.get((folder, stem), [])
        for kind, files in (("photo", found), ("mask", wanted)):
            if len(files) > 1:
                names = " and ".join(file.name for file in sorted(files))
                faults.append(f"{kind}s {names} of {folder} have one name")
        if not wanted:
            faults.append(f"photo {folder}/{found[0].name} has no mask masks/{folder}/{stem}.*")
        if not found:
            faults.append(f"mask {folder}/{wanted[0].name} has no photo images/{folder}/{stem}.*")
    if faults:
        raise ValueError(f"{base}: " + report(sorted(faults), len(keys), "files", PAIRS))
    if not images:
        raise ValueError(f"no photo in {base / 'images'}: looked for images/CLASS/NAME.jpg")
    rows = []
    for (folder, stem), files in images.items():
        image, mask = files[0], masks[folder, stem][0]
        rows.append(Row(f"{folder}/{image.name}", image, f"{folder}/{mask.name}", mask, folder))
    return rows


def _base(root: Path, split: str) -> Path:
    """The folder that holds `images` and `masks`."""
    for base in (root / split, root):
        if (base / "images").is_dir():
            return base
    splits = sorted(path.parent.name for path in root.glob("*/images"))
    there = f"; splits there are: {', '.join(splits)}" if splits else ""
    raise ValueError(
        f"no photos: looked for {root / split / 'images'} and {root / 'images'}{there}. "
        "Lay the data out as images/CLASS/NAME.jpg and masks/CLASS/NAME.png or pass "
        "--config.data.manifest=FILE.csv"
    )


def _by_stem(base: Path) -> dict[tuple[str, str], list[Path]]:
    """Picture files by (class folder, name without suffix)."""
    files = defaultdict(list)
    for path in base.glob("*/*"):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            files[path.parent.name, path.stem].append(path)
    return dict(files)


def _misplaced(images: Path, filled: set[str]) -> list[str]:
    """Faults: class folders without a photo, and photos outside a class folder."""
    faults = []
    for path in images.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir() and path.name not in filled:
            faults.append(f"class folder images/{path.name} holds no photo")
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            faults.append(f"photo images/{path.name} lies in no class folder")
    return faults


def _manifest_rows(path: Path, split: str) -> list[Row]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        lines = list(reader)
    header = list(reader.fieldnames or ())
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise ValueError(
            f"manifest {path} has no column {', '.join(missing)}; it has {', '.join(header)}"
        )
    rows, faults = [], []
    for number, line in enumerate(lines, start=2):
        if "split" in header and line["split"] != split:
            continue
        image, mask = (PurePosixPath((line[c] or "").replace("\\", "/")) for c in COLUMNS[:2])
        base, folder = path.parent, line["class"] or ""
        row = Row(str(image), base / image, str(mask), base / mask, folder)
        rows.append(row)
        absent = [c for c, p in (("image", row.image), ("mask", row.mask)) if not p.is_file()]
        absent += [] if row.folder else ["class"]
        faults += [f"line {number}: there is no {what} {line[what]!r}" for what in absent]
    if faults:
        raise ValueError(f"manifest {path}: " + report(faults, len(rows), "rows", "mend the rows"))
    if not rows:
        splits = sorted({line.get("split", "") for line in lines})
        raise ValueError(f"manifest {path} has no row of split {split!r}; its splits are {splits}")
    return rows


def _read_map(path: Path, folders: set[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The class of each folder, and the classes in order."""
    try:
        mapping = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"class_map {path} is not JSON: {error}") from error
    if not isinstance(mapping, dict) or not mapping:
        raise ValueError(f"class_map {path} is not an object of folder names")
    for folder in mapping:
        if folder not in folders:
            raise ValueError(f"class_map {path}: no photo for it: " + no_such(folder, folders))
    values = list(mapping.values())
    if all(isinstance(value, str) for value in values):
        return mapping, tuple(sorted(set(values)))
    if not all(isinstance(v, list) and [type(part) for part in v] == [str, int] for v in values):
        raise ValueError(f"class_map {path}: expected class names throughout, or [name, index]")
    pairs = sorted({(index, name) for name, index in values})
    classes = tuple(name for _, name in pairs)
    if [index for index, _ in pairs] != list(range(len(set(classes)))):
        raise ValueError(
            f"class_map {path}: classes and indices {pairs}, expected one index for each class, "
            "0 and up without a gap"
        )
    return {folder: name for folder, (name, _) in mapping.items()}, classes
