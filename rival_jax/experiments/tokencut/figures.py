"""Photos of TokenCut with their masks."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from rival_jax.experiments.tokencut.ratings import Cut
from rival_jax.report.document import Picture
from rival_jax.report.figures import Drawn
from rival_jax.report.grids import THUMB, rim, sheet

ACROSS = 4  # photos side by side, three pictures each
WORST = 12  # photos
TRUTH, FOUND = (0, 200, 83), (255, 255, 255)


class Shown(NamedTuple):
    """One photo to look at; masks are bool [h, w]."""

    label: str
    photo: np.ndarray  # uint8 [h, w, 3]
    coarse: np.ndarray
    mask: np.ndarray
    truth: np.ndarray | None


def sheets(
    stem: str, name: str, made: Sequence[Cut], look: Callable[[Cut], Shown], count: int, seed: int
) -> list[Picture]:
    """Two sheets of a network: photos taken at random, and those with the lowest IoU.

    Args:
      stem: how the names of their files end.
      name: of the network.
      made: what became of every photo.
      look: gives one to look at.
      count: photos on a sheet, at most.
      seed: of the draw.
    """
    drawn = sorted(made, key=lambda one: _draw(seed, one.photo.name))
    # Doubtful ones first.
    some = sorted(
        (one for one in drawn if one.component is not None), key=lambda one: not one.doubt
    )
    worst = sorted((one for one in some if np.isfinite(one.iou)), key=lambda one: one.iou)
    rated = any(np.isfinite(one.iou_coarse) for one in made)
    text = "Photo, cut and mask; what lies outside is dark. White: the outline found"
    outline = "; green: the true one." if rated else "."
    told = {
        "sample": (some[:count], "Doubtful masks first, then photos taken at random"),
        "worst": (worst[: min(count, WORST)], "The masks of the lowest IoU"),
    }
    return [
        Picture(
            f"{kind}_{stem}",
            functools.partial(overlays, photos, look),
            f"{name}: {title.lower()}. {text}{outline}",
            f"{title} with the masks of {name}",
            photos=True,
        )
        for kind, (photos, title) in told.items()
        if photos
    ]


def _draw(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()


def overlays(photos: Sequence[Cut], look: Callable[[Cut], Shown]) -> Drawn:
    """Photo, cut and mask of some photos, outlined in white; the true outline is green."""
    cells, lines = [], []
    for place, one in enumerate(photos):
        (row, column), shown = divmod(place, ACROSS), look(one)
        told = "skipped" if one.reason else f"IoU {one.iou:.2f}" if np.isfinite(one.iou) else ""
        told += ", doubtful" if one.doubt else ""
        pictures = (
            (shown.photo, shown.label, ""),
            (_outlined(shown.photo, shown.coarse, shown.truth), "", "cut"),
            (_outlined(shown.photo, shown.mask, shown.truth), "", f"mask {told}".strip()),
        )
        for k, (picture, title, text) in enumerate(pictures):
            cells.append((row, 3 * column + k, _square(picture), title, text))
        area = float(shown.mask.mean())
        lines.append((one.photo.name, shown.label, area, one.iou, one.reason, one.doubt))
    return Drawn(sheet(cells), ("example", "class", "area", "iou", "reason", "doubt"), lines)


def _square(picture: np.ndarray) -> np.ndarray:
    """Padded with white to a square of the size shown."""
    image = ImageOps.contain(Image.fromarray(picture), (THUMB, THUMB))
    canvas = Image.new("RGB", (THUMB, THUMB), "white")
    canvas.paste(image, ((THUMB - image.width) // 2, (THUMB - image.height) // 2))
    return np.asarray(canvas)


def _outlined(photo: np.ndarray, mask: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
    """The photo at about the size shown, darkened outside the mask."""
    scale = THUMB / max(photo.shape[:2])
    size = (max(1, round(scale * photo.shape[1])), max(1, round(scale * photo.shape[0])))
    drawn = np.array(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))
    inside = _resized(mask, size)
    drawn = np.where(inside[..., None], drawn, drawn * 0.45).astype(np.uint8)
    if truth is not None:
        drawn[rim(_resized(truth, size))] = TRUTH
    drawn[rim(inside)] = FOUND
    return drawn


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
