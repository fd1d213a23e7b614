"""Folders of segment-anything's automatic mask generator: ROOT/CLASS/NAME/0.png ..., metadata.csv.

A file for every segment of a photo. Together they are nearly all of it: none is said to be the
object.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from rival_jax.data.mask_formats import reader
from rival_jax.data.transforms import open_picture

METADATA = "metadata.csv"
COLUMNS = {"id", "predicted_iou", "stability_score"}
CHOOSE = (
    "a photo's segments together are nearly all of it: list the object's in a CSV file, a line "
    "each (--config.data.masked_folder.manifest), let rival-jax masks choose "
    f"(--config.tokencut.segments), or, if all files left are object, remove {METADATA}"
)


def ids(folder: Path) -> list[str]:
    """The names of a folder's segments; none if it is not the generator's.

    Raises:
      ValueError: for a damaged table.
    """
    try:
        with (folder / METADATA).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not set(reader.fieldnames or ()) >= COLUMNS:
                return []
            found = [row["id"] for row in reader]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{folder / METADATA} cannot be read: {error}; write it again") from error
    for one in found:
        if not one.isdecimal():  # it would be read as a path
            raise ValueError(f"{folder / METADATA}: id {one!r} is no number; write it again")
    return found


def unchosen(where: str, masks: Sequence[Path], *, picked: bool) -> list[str]:
    """What is wrong with masks of a photo that are segments nobody chose; [] if nothing is.

    Args:
      where: the start of the sentence.
      picked: whether they were named one by one. Then only all of several segments are refused.
    """
    for folder in dict.fromkeys(path.parent for path in masks):
        found = ids(folder)
        mine = [path.stem for path in masks if path.parent == folder and path.stem in found]
        if found and not (picked and (len(found) == 1 or len(mine) < len(found))):
            return [
                f"{where}{len(mine)} of the {len(found)} segments that segment-anything found "
                f"({METADATA}), and nothing says which are the object"
            ]
    return []


class Segments(NamedTuple):
    """The segments of one photo."""

    masks: list[np.ndarray]  # bool [h, w]
    digest: str


def read(root: Path, name: str, size: tuple[int, int]) -> Segments:
    """A photo's segments.

    Args:
      root: folder of the photos' folders.
      name: the photo's, "cat/a.jpg": its segments are in ROOT/cat/a.
      size: its height and width.

    Raises:
      ValueError: naming the folder that is not the generator's, or the file that is missing,
        damaged, or of another size than the photo.
    """
    folder = root / PurePosixPath(name).with_suffix("")
    state, masks, found = hashlib.blake2b(digest_size=8), [], ids(folder)
    if not found:
        raise ValueError(
            f"photo {name} has no segments: looked for {folder / METADATA} of segment-anything's "
            "automatic mask generator, with a file 0.png ... for each segment"
        )
    binary, _ = reader("masked_folder", "binary")
    for one in found:
        called = f"{name}, segment {one}"
        mask = binary(open_picture(folder / f"{one}.png", called, "mask"), called)
        if mask.size != size[::-1]:
            sides = (f"{a} x {b}" for a, b in (mask.size, size[::-1]))
            raise ValueError(f"mask {called} is {' pixels, its photo '.join(sides)}")
        masks.append(np.asarray(mask) > 0)
        state.update(np.packbits(masks[-1]).tobytes())
    return Segments(masks, state.hexdigest())
