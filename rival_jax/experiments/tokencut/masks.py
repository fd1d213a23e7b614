"""A photo's mask: made from the cut, rated against the true one, written; and all outcomes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from rival_jax import bilateral
from rival_jax.data.any_size import Photo
from rival_jax.runtime import row_files
from rival_jax.runtime.results import atomic
from rival_jax.tokencut import upscale

MEASURES = {  # of a photo -> its title in tables
    "area": "area of the mask",
    "iou": "IoU with the true mask",
    "iou_coarse": "the same before refinement",
    "box": "boxes overlap by more than 1/2",
    "centred": "IoU of a centred box of that area",
    "agreement": "IoU before and after refinement",
}
ABSENT = "photo too small: fewer tokens than 3"
KINDS = ("images", "masks")
# What makes a mask doubtful. On bundled pictures masks below LEAST_AREA had an IoU of 0.08 (others
# 0.70), and masks below AGREEMENT one of 0.23 (others 0.75).
LEAST_AREA, MOST_AREA = 0.05, 0.7  # of the photo
BORDER = 0.5  # share of the photo's border that the mask covers
AGREEMENT = 0.3  # IoU between cut and refined mask
GAP = 0.05  # gap between third and second eigenvalue, as a share of the third


class Made(NamedTuple):
    """A photo's outcome."""

    mask: np.ndarray  # bool [h, w]
    coarse: np.ndarray  # bool [h, w], before refinement
    agreement: float  # IoU of the coarse mask with the solver's; NaN without refinement
    reason: str  # why the photo is skipped, "" if it is not


def make(image: np.ndarray, component: np.ndarray, gap: float, config: Any) -> Made:
    """The mask of a photo.

    Args:
      image: uint8 [h, w, 3].
      component: bool [rows, columns], the cut's object.
      gap: third minus second eigenvalue.
      config: `config.tokencut`.
    """
    coarse = upscale(component, image.shape[:2])
    mask, agreement, reason = coarse, np.nan, ""
    if config.refine == "bilateral":
        sigmas = bilateral.Sigmas(*config.sigmas)
        soft = bilateral.solve(image, coarse.astype(np.float64), sigmas)
        refined = bilateral.choose(soft, coarse, config.choice, config.agreement)
        mask, agreement = refined.mask > 0, refined.iou
    if gap <= config.min_gap:
        reason = f"no cut: the second and the third eigenvalue differ by {gap:.1g}"
    elif config.choice == "released" and agreement < config.agreement:
        reason = f"negated, as released: the refined mask is not the coarse one ({agreement:.2f})"
    elif mask.all():
        reason = "all of the photo"
    elif mask.sum() < max(1, config.min_pixels):
        reason = f"mask too small: {mask.sum()} pixels of at least {config.min_pixels}"
    return Made(mask, coarse, agreement, reason)


def doubt(made: Made, second: float, third: float) -> str:
    """Why a mask should be looked at before use, from the mask itself; "" if nothing is odd.

    "" does not mean good: a clean cut of the wrong thing raises no doubt.
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


def write(folder: Path, file: str, made: Made, photo: Image.Image | None) -> None:
    """Writes masks/CLASS/NAME.png, and images/CLASS/NAME.png if a photo is given.

    For a skipped photo neither is left.
    """
    for kind, picture in zip(
        KINDS, (photo, Image.fromarray(np.uint8(255) * made.mask)), strict=True
    ):
        target = folder / kind / f"{file}.png"
        if made.reason:
            target.unlink(missing_ok=True)
        elif picture:
            with atomic(target) as partial:
                picture.save(partial, "PNG")


def digest(mask: np.ndarray) -> str:
    """A digest of a file's pixels."""
    return hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=8).hexdigest()


def intact(rows: Path, folder: Path, photos: bool) -> bool:
    """Whether all files named in a unit's rows exist, with masks as they were written."""
    for row in row_files.read(rows, ["file", "mask"]).to_pylist():
        photo, mask = (folder / kind / f"{row['file']}.png" for kind in KINDS)
        if not row["mask"]:
            if mask.exists():
                return False
            continue
        try:
            with Image.open(mask) as picture:
                same = digest(np.asarray(picture) > 0) == row["mask"]
        except (OSError, SyntaxError, ValueError):  # missing, or damaged
            return False
        if not same or (photos and not photo.exists()):
            return False
    return True


class Cut(NamedTuple):
    """One photo's outcome."""

    photo: Photo
    reason: str  # why there is no mask; "" if there is one
    doubt: str  # what is odd about the mask; "" if nothing is
    iou: float  # NaN without a mask, or without a true one
    iou_coarse: float  # before refinement; NaN without a true one
    component: np.ndarray | None  # bool [rows, columns], the tokens; None if there are too few


def cuts(files: Iterable[Path], models: Sequence[str], photos: Sequence[Photo]) -> dict[str, list]:
    """Every network's `Cut` of every photo, in order, from all files of rows."""
    found: dict[tuple[str, str], tuple[Any, ...]] = {}
    for row in (row for file in files for row in row_files.read(file).to_pylist()):
        shape = row["rows"], row["columns"]
        bits = np.unpackbits(np.frombuffer(row["component"], np.uint8), count=shape[0] * shape[1])
        told = (row[name] for name in ("reason", "doubt", "iou", "iou_coarse"))
        found[row["model"], row["example"]] = (*told, bits.reshape(shape).astype(bool))
    nothing = (ABSENT, "", np.nan, np.nan, None)
    return {m: [Cut(p, *found.get((m, p.name), nothing)) for p in photos] for m in models}


def counts(made: Sequence[Cut]) -> dict[str, int]:
    """Counts of a network's outcomes."""
    skipped, doubtful = (sum(map(bool, some)) for some in zip(*(c[1:3] for c in made), strict=True))
    masks = len(made) - skipped
    return {"photos": len(made), "masks": masks, "skipped": skipped, "doubtful": doubtful}
