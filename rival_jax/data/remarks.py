"""Oddities of single masks that do not stop a run, and when a reader must know of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rival_jax.data import photos
from rival_jax.types import Geometry

WORDS = ("turned", "framed", "faint")  # remarks on examples; those on photos are phrases
BORDER = 0.8  # of the picture's border: an object that covers more may be the background


def remarks(mask: np.ndarray, turned: bool) -> tuple[str, ...]:
    """Remarks on one example: "turned" upright, "framed" by its object, "faint" object.

    Args:
      mask: uint8 [h, w] at the network's size, 255 on the object.
      turned: whether the photo was turned as its file notes.
    """
    inside = mask > 127
    border = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    said = {"turned": turned, "framed": border.mean() > BORDER, "faint": not inside.any()}
    return tuple(word for word, true in said.items() if true)


def sentences(counts: Mapping[str, int], total: int, geometry: Geometry) -> list[str]:
    """Sentences on how many of `total` examples had each remark, those on photos included."""
    height, width = geometry.size
    found = photos.sentences({k: n for k, n in counts.items() if k not in WORDS}, total)
    if turned := counts.get("turned", 0):
        found.append(
            f"{turned} of {total} photos are stored turned and are shown upright, as their EXIF "
            "notes say; the data set's option exif=ignore leaves them as they are stored"
        )
    if 2 * (framed := counts.get("framed", 0)) > total:
        found.append(
            f"in {framed} of {total} masks the object takes up nearly all of the picture's border: "
            "masks may be inverted, the object black. If so, pass mask_format=inverted "
            "(--config.data.masked_folder.mask_format or --config.data.tfds.mask_format)"
        )
    if faint := counts.get("faint", 0):
        found.append(
            f"{faint} of {total} objects fill no pixel by half at {width} x {height}, so what is "
            "done to them is done to hardly anything; with --config.data.mask=binary they are "
            "refused, and --config.data.on_bad=skip leaves them out"
        )
    return found
