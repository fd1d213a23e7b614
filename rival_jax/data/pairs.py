"""Photos and masks of one name in two folders, paired."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from rival_jax.data import files, mask_files, segments
from rival_jax.data.checks import report
from rival_jax.data.files import Row

PAIRS = "every photo needs one mask of its name, every mask a photo, every class a photo"
SEVERAL = (
    "every photo needs masks NAME_0.png, NAME_1.png ... or, in a folder of its name, NAME/0.png "
    "..., every mask one photo, every class a photo"
)
Found = list[tuple[str, Path]]  # names below `images` or `masks`, and where the files are


def read(base: Path, *, several: bool = False) -> tuple[list[Row], tuple[str, ...]]:
    """Every photo in BASE/images/CLASS, at any depth, with its mask in BASE/masks/CLASS.

    If `several`, with a mask for each object, see `mask_files`.

    Returns:
      The pairs by name, and sentences on unread files that may have been meant to be read.

    Raises:
      ValueError: if there is no photo; naming every photo without mask, mask without photo, files
        with one name, pictures in formats that are not read, photos outside class folders, class
        folders without photos, masks that two photos could own, and photos with all segments that
        segment-anything found.
    """
    images, masks = _by_stem(base / "images"), _by_stem(base / "masks")
    loose = files.loose(base / "images")
    faults = [f"photo images/{name} lies in no class folder" for name in loose]
    empty = files.class_folders(base / "images")
    found, strange, total = [], [], len(loose)
    mine, unsure = _by_photo(images, masks, several)
    for stem in sorted(images.keys() | mine.keys()):
        photo, each = images.get(stem, []), mine.get(stem, {})
        mask = [file for some in each.values() for file in some]
        if not _pictures(photo + mask):
            strange += [name for name, _ in photo + mask]
            continue
        if photo:
            empty.discard(stem.split("/")[0])
        said = _faults("photo", photo, mask, f"{stem}/* or masks/{stem}_0" if several else stem)
        for own, some in each.items():
            said += _faults("mask", some, photo, mask_files.unnumbered(own) if several else own)
        ours = [] if said else [_readable(some)[0] for some in each.values()]
        if several and ours:
            said = segments.unchosen(f"masks/{stem}: ", [path for _, path in ours], picked=False)
        faults, total = faults + said, total + len(photo) + len(mask)
        if not said:
            found.append(Row(*_readable(photo)[0], tuple(ours), stem.split("/")[0]))
    faults += [f"class folder images/{folder} holds no photo" for folder in empty] + unsure
    if faults:
        total += len(empty)
        lost = [] if several else masks.keys() - images.keys()
        cures = {
            SEVERAL if several else PAIRS: not all(segments.METADATA in fault for fault in faults),
            files.READ: any("suffix" in fault for fault in faults),
            segments.CHOOSE: any(segments.METADATA in fault for fault in faults),
            mask_files.HINT: any(mask_files.owners(stem, images) for stem in lost),
        }
        cure = "; ".join(words for words, true in cures.items() if true)
        raise ValueError(f"{base}: " + report(sorted(faults), total, "files and folders", cure))
    if not found:
        raise ValueError(f"no photo in {base / 'images'}: looked for images/CLASS/NAME.jpg")
    named = {row.name: [name for name, _ in row.masks] for row in found if several}
    return found, (*files.unread_notice(base, strange), *mask_files.gaps(named))


def _by_stem(base: Path) -> dict[str, Found]:
    """Files by their name without suffix, except files known not to be pictures."""
    found = defaultdict(list)
    for name, path in files.below(base):
        if files.suffix(name) not in files.HARMLESS:
            found[os.path.splitext(name)[0]].append((name, path))
    return dict(found)


def _by_photo(
    images: Mapping[str, Found], masks: Mapping[str, Found], several: bool
) -> tuple[dict[str, dict[str, Found]], list[str]]:
    """Each photo's masks by their own names, and what is wrong with those that two could own."""
    mine, unsure = defaultdict(dict), []
    for stem, some in sorted(masks.items()):
        owners = (mask_files.owners(stem, images) if several else []) or [stem]
        mine[owners[0]][stem] = some
        if len(owners) > 1:
            unsure.append(f"mask {some[0][0]} may be of photo {' or of '.join(owners)}")
    return mine, unsure


def _pictures(found: Found) -> bool:
    return any(files.suffix(name) in files.PICTURES for name, _ in found)


def _readable(found: Found) -> Found:
    return [pair for pair in found if files.suffix(pair[0]) in files.SUFFIXES]


def _faults(kind: str, mine: Found, others: Found, place: str) -> list[str]:
    """What is wrong with photos (masks) of one name whose masks (photos) are `others`.

    Args:
      place: the name that one of `others` was looked for by.
    """
    other, here, elsewhere = ("mask", "images", "masks")
    if kind == "mask":
        other, here, elsewhere = ("photo", "masks", "images")
    names = sorted(name for name, _ in _readable(mine))
    if not names:
        return [f"{kind} {here}/{name} is of a suffix that is not read" for name, _ in mine]
    faults = []
    if len(names) > 1:
        listed = " and ".join(name.rpartition("/")[2] for name in names)
        forms = " (in two forms of Unicode)" if len(set(names)) < len(names) else ""
        folder = names[0].rpartition("/")[0]
        faults.append(f"{kind}s {listed} of {folder} have one name{forms}")
    if not others:
        faults.append(f"{kind} {names[0]} has no {other} {elsewhere}/{place}.*")
    return faults
