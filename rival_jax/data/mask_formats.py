"""How stored masks mark the object: `READERS[mask_format](picture, name)` -> PIL "L", 0 to 255.

- "auto": grey pictures, 0 to 255 with soft rims allowed, or labels 0 and 1 where nothing is
  above 1. Also palette pictures of two values, and colour ones whose three channels are equal.
- "binary": what is brighter than half of white.
- "nonzero": every colour but black, every palette entry but 0.
- "grey": grey values from 0 to 255 as they are stored.
- "imagenet_s": ImageNet-S's class ids, R + 256 G. Id 0 (other) and id 1000 (ignore) are background;
  there is one other id.

All raise ValueError, naming the mask, its mode and the value of mask_format that reads it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageChops

GREY = ("1", "L", "LA")
COLOUR = ("RGB", "RGBA")
IGNORE = 1000  # ImageNet-S's id of pixels that nobody labelled


def _auto(picture: Image.Image, name: str) -> Image.Image:
    values = _grey_values(picture)
    if values is None:
        raise ValueError(
            f"mask {name} ({picture.mode}) is not grey, two-valued or opaque: pass mask_format="
            "'binary', 'nonzero' or 'imagenet_s'"
        )
    high = int(values.max())
    if 1 < high < 128:
        raise ValueError(
            f"mask {name} reaches from 0 to {high}, neither labels 0 and 1 nor grey values: pass "
            "mask_format='nonzero' if all that is not 0 is object"
        )
    return Image.fromarray(values * np.uint8(255) if high <= 1 else values)


def _grey_values(picture: Image.Image) -> np.ndarray | None:
    """uint8 [h, w], or None where the picture cannot be read as grey values."""
    if picture.mode == "P":
        indices = np.asarray(picture)
        colours = np.asarray(picture.convert("RGB"))
        if len(np.unique(indices)) > 2:
            return None
        return colours[..., 0] if _equal_channels(colours) else indices
    if picture.mode in ("LA", "RGBA") and picture.getextrema()[-1] != (255, 255):
        return None
    if picture.mode in COLOUR:
        colours = np.asarray(picture)[..., :3]
        return colours[..., 0] if _equal_channels(colours) else None
    return np.asarray(picture.convert("L")) if picture.mode in GREY else None


def _equal_channels(colours: np.ndarray) -> bool:
    return bool((colours == colours[..., :1]).all())


def _binary(picture: Image.Image, name: str) -> Image.Image:
    if picture.mode not in (*GREY, *COLOUR, "P"):
        raise ValueError(f"mask {name} has mode {picture.mode}: pass mask_format='nonzero'")
    return _object(np.asarray(picture.convert("RGB").convert("L")) > 127)


def _grey(picture: Image.Image, name: str) -> Image.Image:
    if picture.mode not in (*GREY, *COLOUR):
        raise ValueError(f"mask {name} has mode {picture.mode}: pass mask_format='nonzero'")
    return picture.convert("L")


def _nonzero(picture: Image.Image, name: str) -> Image.Image:
    channels = [
        c for c, band in zip(picture.split(), picture.getbands(), strict=True) if band != "A"
    ]
    if len(channels) > 1:
        return brightest(channels).point([0] + [255] * 255)
    return _object(np.asarray(channels[0]) != 0)


def brightest(channels: Sequence[Image.Image]) -> Image.Image:
    """Pixel by pixel the largest value of some channels of mode "L"."""
    return functools.reduce(ImageChops.lighter, channels)


def _imagenet_s(picture: Image.Image, name: str) -> Image.Image:
    if picture.mode != "RGB":
        raise ValueError(
            f"mask {name} has mode {picture.mode}, ImageNet-S's are RGB: pass another mask_format"
        )
    channels = np.asarray(picture).astype(np.int32)
    ids = channels[..., 0] + 256 * channels[..., 1]
    there = sorted(set(np.unique(ids).tolist()) - {0, IGNORE})
    if len(there) > 1:
        raise ValueError(
            f"mask {name} has the class ids {', '.join(map(str, there))}; ImageNet-S marks one "
            "class in a mask. Keep one, or pass mask_format='nonzero' if all are the object"
        )
    return _object((ids != 0) & (ids != IGNORE))


def _object(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(np.uint8(255) * mask)


READERS: dict[str, Callable[[Image.Image, str], Image.Image]] = {
    "auto": _auto,
    "binary": _binary,
    "grey": _grey,
    "nonzero": _nonzero,
    "imagenet_s": _imagenet_s,
}
