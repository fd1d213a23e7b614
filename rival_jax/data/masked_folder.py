"""Your own photos and masks: one folder per class, or a CSV file.

    ROOT/images/CLASS/NAME.jpg       photos; with splits ROOT/SPLIT/images/... instead
    ROOT/masks/CLASS/NAME.png        the mask of the same name, with any suffix

Both may lie deeper, CLASS/MORE/NAME. Every object may have a mask of its own, see `mask_files`. Or
`manifest`, a CSV file with the columns image, mask, class and perhaps split, its paths relative to
the CSV file's folder. Names are compared in one form of Unicode, see `files`.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from rival_jax.data import manifests, mask_files, pairs
from rival_jax.data.files import Row, nfc
from rival_jax.data.mask_formats import Read, reader
from rival_jax.data.mask_labels import listed
from rival_jax.data.orientation import RULES, noted, upright
from rival_jax.data.photos import MAX_PIXELS, PhotoRules
from rival_jax.data.source import class_order
from rival_jax.data.transforms import open_photo, open_picture
from rival_jax.runtime.plugins import no_such

LAYOUT = (
    "images/CLASS/NAME.jpg and masks/CLASS/NAME.png; if every object has a mask of its own, "
    "masks/CLASS/NAME_0.png ... or masks/CLASS/NAME/0.png ..., and masks_per_photo=several"
)


def load(
    root: Path,
    split: str,
    *,
    mask_format: str = "auto",
    class_map: str | None = None,
    manifest: str | None = None,
    alpha_colour: str = "white",
    max_pixels: int = MAX_PIXELS,
    mask_values: tuple[int | str, ...] = (),
    ignore: tuple[int | str, ...] = (),
    void: str = "background",
    exif: str = "fit",
    masks_per_photo: str = "one",
) -> MaskedFolder:
    """Photos with masks from folders or a CSV file, sorted by name.

    Args:
      root: folder of the data.
      split: folder of the split, or value of the CSV file's column `split`. If the data have no
        splits, any name means all photos.
      mask_format: see `mask_formats`: "auto", "inverted", "binary", "nonzero", "grey" or
        "imagenet_s".
      class_map: JSON file below root, from folder name (or value of the column `class`) to class
        name or to [class name, index]; several folders may form one class. Folders not named are
        left out.
      manifest: CSV file below root, instead of folders; see `manifests.read`.
      alpha_colour, max_pixels: see `PhotoRules`; the second counts for masks too.
      mask_values, ignore, void: see `mask_formats.reader`: the values that are object, those of
        unlabelled pixels, and whether the latter count as "background" or "foreground".
      exif: which of photo and mask is turned if a photo's file says it is stored turned, see
        `orientation.upright`: "fit", "photo", "both" or "ignore".
      masks_per_photo: "one", or "several": one for each object, see `mask_files`; in a manifest, a
        line each.

    Raises:
      ValueError: naming every photo without mask, mask without photo, pair of photos with one name
        and empty class (ten at most), or the places searched if there is nothing.
    """
    rules = PhotoRules(alpha_colour, max_pixels, "--config.data.masked_folder.")
    if exif not in RULES:
        raise ValueError("data masked_folder: exif: " + no_such(exif, RULES))
    if masks_per_photo not in ("one", "several"):
        known = no_such(masks_per_photo, ("one", "several"))
        raise ValueError(f"data masked_folder: masks_per_photo: {known}")
    read_mask, assumed = reader("masked_folder", mask_format, mask_values, ignore, void)
    rows, notices = _rows(root, split, manifest, several=masks_per_photo == "several")
    folders = {row.folder for row in rows}
    class_of, classes = {folder: folder for folder in folders}, class_order(folders)
    if class_map:
        class_of, classes = _read_map(root / class_map, folders)
        notices += _left_out(class_map, folders - class_of.keys())
    rows = [row for row in rows if row.folder in class_of]
    source = MaskedFolder(rows, class_of, classes, rules, read_mask, exif)
    counts = mask_files.told([len(row.masks) for row in rows])
    source.notices = (*assumed, *notices, *counts, *_look_alike(classes))
    return source


class MaskedFolder:
    """A `Source`, sorted by name; classes by the class map's indices, or `class_order`."""

    def __init__(
        self,
        rows: list[Row],
        class_of: dict[str, str],
        classes: tuple[str, ...],
        rules: PhotoRules,
        read_mask: Read,
        exif: str,
    ) -> None:
        self.classes = classes
        self.class_wnids = _wnids(class_of, classes)
        self._rows = sorted(rows, key=lambda row: row.name)
        self.names = [row.name for row in self._rows]
        labels = [classes.index(class_of[row.folder]) for row in self._rows]
        self.labels = np.array(labels, np.int32)
        self._rules, self._read_mask, self._exif = rules, read_mask, exif
        self.notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        row = self._rows[position]
        photo = open_photo(row.image, row.name, self._rules)
        note, shown, masks = noted(photo), photo, []
        for name, path in row.masks:
            stored = open_picture(path, name, "mask", self._rules)
            notes = note, noted(stored)
            shown, mask = upright(photo, self._read_mask(stored, name), notes, self._exif, row.name)
            masks.append(mask)
        names = [name for name, _ in row.masks]
        turned = self._exif != "ignore" and note != 1
        whole = {"image": shown, "mask": mask_files.together(masks, names, shown)}
        return {**whole, "mask_name": listed(names), "turned": turned}


def _rows(
    root: Path, split: str, manifest: str | None, *, several: bool
) -> tuple[list[Row], tuple[str, ...]]:
    """Photos with their masks, and sentences about other files."""
    if manifest:
        return manifests.read(root / manifest, split, several=several), ()
    return pairs.read(_base(root, split), several=several)


def _left_out(class_map: str, folders: set[str]) -> tuple[str, ...]:
    if not folders:
        return ()
    return (f"class_map {class_map} leaves out {len(folders)} classes, such as {min(folders)}",)


def _look_alike(classes: Iterable[str]) -> tuple[str, ...]:
    """Sentences on classes that differ only in case or spaces."""
    alike = defaultdict(list)
    for name in classes:
        alike["".join(name.casefold().split())].append(name)
    return tuple(
        f"classes {' and '.join(map(repr, names))} differ in case or spaces alone and are counted "
        "as different classes; if they are one, rename them or pass "
        "--config.data.masked_folder.class_map"
        for names in alike.values()
        if len(names) > 1
    )


def _wnids(
    class_of: dict[str, str], classes: tuple[str, ...]
) -> tuple[tuple[str, ...], ...] | None:
    """The folders of each class, if all are named by WordNet's synsets."""
    if not all(re.fullmatch(r"n\d{8}", folder) for folder in class_of):
        return None
    return tuple(tuple(sorted(f for f in class_of if class_of[f] == name)) for name in classes)


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
        "--config.data.masked_folder.manifest=FILE.csv"
    )


def _read_map(path: Path, folders: set[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The class of each folder, and the classes in order."""
    try:
        mapping = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:  # the latter: nested too deeply
        raise ValueError(f"class_map {path} is not JSON: {error}") from error
    if not isinstance(mapping, dict) or not mapping:
        raise ValueError(f"class_map {path} is not an object of folder names")
    for folder in mapping:
        if folder not in folders:
            raise ValueError(f"class_map {path}: no photo for it: " + no_such(folder, folders))
    values = list(mapping.values())
    if all(isinstance(value, str) for value in values):
        return mapping, class_order(values)
    if not all(isinstance(v, list) and [type(part) for part in v] == [str, int] for v in values):
        raise ValueError(f"class_map {path}: expected class names throughout, or [name, index]")
    order = sorted({(index, nfc(name)) for name, index in values})
    classes = tuple(name for _, name in order)
    if [index for index, _ in order] != list(range(len(set(classes)))):
        raise ValueError(
            f"class_map {path}: classes and indices {order}, expected one index for each class, "
            "0 and up without a gap"
        )
    return {folder: nfc(name) for folder, (name, _) in mapping.items()}, classes


def _distinct(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; refuses repeated names, which would otherwise lose their first value."""
    found = {}
    for name, value in members:
        if nfc(name) in found:
            raise ValueError(f"{name!r} occurs twice")
        found[nfc(name)] = nfc(value) if isinstance(value, str) else value
    return found
