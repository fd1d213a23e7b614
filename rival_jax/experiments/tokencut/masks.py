"""A photo's mask: made of the cut, rated against the true one, written as a file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from rival_jax.experiments.tokencut import bilateral as _bilateral
from rival_jax.experiments.tokencut.bilateral import Sigmas, overlap
from rival_jax.runtime import row_files
from rival_jax.runtime.results import atomic

HIT = 0.5  # IoU of boxes above which an object counts as found, as in CorLoc


# What makes a mask doubtful. On bundled pictures masks below the first had an IoU of 0.08 (others
# 0.70), and those below the agreement of 0.23 (others 0.75).
LEAST_AREA, MOST_AREA = 0.05, 0.7  # of the photo
BORDER = 0.5  # of the photo's border that is the mask's
AGREEMENT = 0.3  # IoU of cut and refined mask
GAP = 0.05  # by how much the third eigenvalue exceeds the second, of the third


class Made(NamedTuple):
    """What came of a photo."""

    mask: np.ndarray  # bool [h, w]
    coarse: np.ndarray  # bool [h, w], before refinement
    agreement: float  # IoU of the coarse mask with the solver's; NaN without refinement
    reason: str  # why the photo is skipped, "" where it is not


def make(image: np.ndarray, component: np.ndarray, gap: float, config: Any) -> Made:
    """The mask of a photo.

    Args:
      image: uint8 [h, w, 3].
      component: bool [rows, columns] of the cut.
      gap: third minus second eigenvalue.
      config: `config.tokencut`.
    """
    coarse = pixels(component, image.shape[:2])
    mask, agreement, reason = coarse, np.nan, ""
    if config.refine == "bilateral":
        soft = _bilateral.solve(image, coarse.astype(np.float64), Sigmas(*config.sigmas))
        refined = _bilateral.choose(soft, coarse, config.choice, config.agreement)
        mask, agreement = refined.mask > 0, refined.iou
        if config.choice == "released" and agreement < config.agreement:
            reason = (
                f"negated, as released: the refined mask is not the coarse one ({agreement:.2f})"
            )
    if gap <= config.min_gap:
        reason = f"no cut: the second and the third eigenvalue differ by {gap:.1g}"
    elif not reason and mask.all():
        reason = "all of the photo"
    elif not reason and mask.sum() < max(1, config.min_pixels):
        reason = f"mask too small: {mask.sum()} pixels of at least {config.min_pixels}"
    return Made(mask, coarse, agreement, reason)


def doubt(made: Made, second: float, third: float) -> str:
    """Why a mask has to be looked at before use, from the mask itself; "" where nothing is odd.

    Nothing odd is not good: a clean cut of the wrong thing has no doubt.
    """
    if made.reason:
        return ""
    mask, area = made.mask, float(made.mask.mean())
    rim = float(np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]]).mean())
    found = {
        f"covers {100 * area:.1f} % of the photo": not LEAST_AREA <= area <= MOST_AREA,
        f"takes up {100 * rim:.0f} % of the photo's border": rim > BORDER,
        f"refinement moved it, IoU {made.agreement:.2f}": made.agreement < AGREEMENT,
        "another cut is as good": third - second < GAP * third,
    }
    return "; ".join(text for text, odd in found.items() if odd)


def pixels(component: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """`tokencut.upscale` on the host, where every photo has another size."""
    rows, columns = (np.arange(n) * k // n for n, k in zip(size, component.shape, strict=True))
    return component[rows[:, None], columns]


def rate(made: Made, truth: np.ndarray | None) -> dict[str, float]:
    """How good a mask is; NaN where it cannot be told.

    `area`, its share of the photo; with a true mask: `iou`, `iou_coarse`, `box`, 1 where the boxes
    round both overlap by more than 1/2, and `centred`, the IoU of a box of the mask's area in the
    middle of the photo, which is what a guess of this size is worth.
    """
    kept = not made.reason
    found = {"area": made.mask.mean() if kept else np.nan, "agreement": made.agreement}
    if truth is None:
        return found | dict.fromkeys(("iou", "iou_coarse", "box", "centred"), np.nan)
    found["iou_coarse"] = overlap(made.coarse, truth)
    if not kept:  # an object that is not found
        return found | {"iou": np.nan, "box": 0.0, "centred": np.nan}
    centred = centre_box(made.mask.shape, float(made.mask.mean()))
    boxes = overlap(filled_box(made.mask), filled_box(truth))
    return found | {
        "iou": overlap(made.mask, truth),
        "box": float(boxes > HIT),
        "centred": overlap(centred, truth),
    }


def filled_box(mask: np.ndarray) -> np.ndarray:
    """The smallest box round a mask that is not empty, as a mask."""
    box = np.zeros_like(mask)
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return box


def centre_box(size: tuple[int, ...], area: float) -> np.ndarray:
    """A box of the photo's shape in its middle that takes up a share of it."""
    box = np.zeros(size, bool)
    margins = [round(side * (1 - area**0.5) / 2) for side in size]
    box[tuple(slice(m, side - m) for m, side in zip(margins, size, strict=True))] = True
    return box


def write(folder: Path, file: str, made: Made, photo: Image.Image | None) -> None:
    """masks/CLASS/NAME.png, and images/CLASS/NAME.png if there is a photo to be written.

    Of a skipped photo neither is left.
    """
    pictures = {"masks": Image.fromarray(np.uint8(255) * made.mask), "images": photo}
    for kind, picture in pictures.items():
        target = folder / kind / f"{file}.png"
        if made.reason:
            target.unlink(missing_ok=True)
        elif picture:
            with atomic(target) as partial:
                picture.save(partial, "PNG")


def digest(made: Made) -> str:
    """Of the file that is to be there; "" if none."""
    return "" if made.reason else _digest(made.mask)


def _digest(mask: np.ndarray) -> str:
    return hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=8).hexdigest()


def intact(rows: Path, folder: Path, photos: bool) -> bool:
    """Whether all files that a unit's rows tell of are there, masks as they were written."""
    table = row_files.read(rows, ["file", "mask"])
    for file, wanted in zip(*(table.column(k).to_pylist() for k in ("file", "mask")), strict=True):
        mask, photo = (folder / kind / f"{file}.png" for kind in ("masks", "images"))
        if not wanted:
            if mask.exists():
                return False
            continue
        if not mask.exists() or (photos and not photo.exists()):
            return False
        try:
            with Image.open(mask) as picture:
                found = _digest(np.asarray(picture) > 0)
        except (OSError, SyntaxError, ValueError):  # damaged, in Pillow's words
            return False
        if found != wanted:
            return False
    return True
