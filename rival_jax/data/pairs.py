"""Photos and masks of one name in two folders, paired."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from rival_jax.data import files
from rival_jax.data.checks import report
from rival_jax.data.files import Row

PAIRS = "every photo needs one mask of its name, every mask a photo, every class a photo"
Found = list[tuple[str, Path]]  # names below `images` or `masks`, and where the files are


def read(base: Path) -> tuple[list[Row], tuple[str, ...]]:
    """Every photo in BASE/images/CLASS, at any depth, with its mask in BASE/masks/CLASS.

    Returns:
      The pairs by name, and sentences on unread files that may have been meant to be read.

    Raises:
      ValueError: if there is no photo; naming every photo without mask, mask without photo, files
        with one name, pictures in formats that are not read, photos outside class folders, and
        class folders without photos.
    """
    images, masks = _by_stem(base / "images"), _by_stem(base / "masks")
    loose = files.loose(base / "images")
    faults = [f"photo images/{name} lies in no class folder" for name in loose]
    empty = files.class_folders(base / "images")
    found, strange, total = [], [], len(loose)
    for stem in sorted(images.keys() | masks.keys()):
        photo, mask = images.get(stem, []), masks.get(stem, [])
        if not _pictures(photo + mask):
            strange += [name for name, _ in photo + mask]
            continue
        if photo:
            empty.discard(stem.split("/")[0])
        said = _faults("photo", stem, photo, mask) + _faults("mask", stem, mask, photo)
        faults, total = faults + said, total + len(photo) + len(mask)
        if not said:
            found.append(Row(*_readable(photo)[0], *_readable(mask)[0], stem.split("/")[0]))
    faults += [f"class folder images/{folder} holds no photo" for folder in empty]
    if faults:
        total += len(empty)
        cure = PAIRS + (f"; {files.READ}" if any("suffix" in fault for fault in faults) else "")
        raise ValueError(f"{base}: " + report(sorted(faults), total, "files and folders", cure))
    if not found:
        raise ValueError(f"no photo in {base / 'images'}: looked for images/CLASS/NAME.jpg")
    return found, files.unread_notice(base, strange)


def _by_stem(base: Path) -> dict[str, Found]:
    """Files by their name without suffix, except files known not to be pictures."""
    found = defaultdict(list)
    for name, path in files.below(base):
        if files.suffix(name) not in files.HARMLESS:
            found[os.path.splitext(name)[0]].append((name, path))
    return dict(found)


def _pictures(found: Found) -> bool:
    return any(files.suffix(name) in files.PICTURES for name, _ in found)


def _readable(found: Found) -> Found:
    return [pair for pair in found if files.suffix(pair[0]) in files.SUFFIXES]


def _faults(kind: str, stem: str, mine: Found, others: Found) -> list[str]:
    """What is wrong with photos (masks) of one name whose masks (photos) are `others`."""
    other, place, elsewhere = ("mask", "images", "masks")
    if kind == "mask":
        other, place, elsewhere = ("photo", "masks", "images")
    names = sorted(name for name, _ in _readable(mine))
    if not names:
        return [f"{kind} {place}/{name} is of a suffix that is not read" for name, _ in mine]
    folder, _, _ = stem.rpartition("/")
    faults = []
    if len(names) > 1:
        listed = " and ".join(name.rpartition("/")[2] for name in names)
        forms = " (in two forms of Unicode)" if len(set(names)) < len(names) else ""
        faults.append(f"{kind}s {listed} of {folder} have one name{forms}")
    if not others:
        faults.append(f"{kind} {names[0]} has no {other} {elsewhere}/{stem}.*")
    return faults
