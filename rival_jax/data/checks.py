"""What makes an example unusable, as a message that names the example."""

from __future__ import annotations

import numpy as np
from PIL import Image

from rival_jax.data import mask_formats
from rival_jax.data.mask_labels import labels, listed

CURE = "--config.data.on_bad='skip'"
SHOWN = 10  # messages in one error
KINDS = 8  # a mask with more grey levels is not searched for uniform areas


def check_mask(mask: np.ndarray, name: str) -> None:
    """Raises ValueError unless foreground and background both exist in `mask`.

    Args:
      mask: [h, w], bool, float in [0, 1] or uint8 in [0, 255]; 0 is background.
      name: the mask's name in errors.

    >>> check_mask(np.zeros((2, 2)), "cat.png")
    Traceback (most recent call last):
        ...
    ValueError: mask cat.png is 0 of 4 pixels; drop it or pass --config.data.on_bad='skip'
    """
    fault = mask_fault(mask, name)
    if fault:
        raise ValueError(f"{fault}; drop it or pass {CURE}")


def mask_fault(mask: np.ndarray, name: str, mode: str = "soft") -> str | None:
    """The reason why `check_mask` raises, or None.

    Args:
      mask, name: as for `check_mask`.
      mode: config.data.mask. If "binary" (object where above half), both regions need a pixel;
        if "labelled", unlabelled pixels are neither.
    """
    if mask.ndim != 2 or not mask.size:
        return f"mask {name} has shape {mask.shape}, expected (height, width)"
    if mode == "labelled":
        mask = np.where(mask > 127, 255, 0).astype(np.uint8)
    if mask.dtype == np.uint8:
        low, high, white = mask.min(), mask.max(), 255
    elif mask.dtype == bool or np.issubdtype(mask.dtype, np.floating):
        low, high, white = float(mask.min()), float(mask.max()), 1
    else:
        return f"mask {name} is {mask.dtype}, expected bool, float or uint8"
    if np.isnan(low):  # min and max of an array with a NaN are NaN
        return f"mask {name} has {int(np.isnan(mask).sum())} NaN values of {mask.size}"
    if low < 0 or high > white:
        return f"mask {name} reaches from {low:g} to {high:g}, expected [0, 1]"
    if high == 0:
        return f"mask {name} is 0 of {mask.size} pixels"
    if low == white:
        return f"mask {name} is {mask.size} of {mask.size} pixels"
    if low == high:
        return f"mask {name} is grey {low:g} of {white} everywhere: it marks no object"
    low, high = float(low), float(high)
    if mode == "binary" and (2 * high <= white or 2 * low > white):
        most, least = ("object", high) if 2 * high <= white else ("background", white - low)
        return (
            f"mask {name} has no pixel of {most} at {mask.shape[1]} x {mask.shape[0]}, at most "
            f"{least / white:.0%} of one: config.data.mask='binary' asks for more than half; cut "
            "the photo closer, or pass a larger --config.image_size"
        )
    return None


def stored_mask_fault(
    mask: Image.Image, name: str, photo: Image.Image, mode: str = "soft"
) -> str | None:
    """What is wrong with a mask beside its photo, before any resizing, or None.

    The mask may have another size, if its shape is the photo's to within one pixel of the smaller
    of the two.
    """
    if (photo.mode, mask.mode) != ("RGB", "L"):
        return (
            f"mask {name} and its photo have modes {mask.mode} and {photo.mode}, expected L and RGB"
        )
    if not same_shape(mask.size, photo.size):
        (width, height), (photo_width, photo_height) = mask.size, photo.size
        return (
            f"mask {name} is {width} x {height} pixels, which is not the shape of its photo, "
            f"{photo_width} x {photo_height}"
        )
    if mask_formats.unlabelled(mask):
        if mode == "labelled":
            return None
        return (
            f"mask {name} has unlabelled pixels, which void='ignored' leaves out; only config "
            "segmentation can: pass void=background or void=foreground"
        )
    if mask.getextrema() == (0, 1):
        return f"mask {name} holds 0 and 1, expected 0 to 255: 1 would count as 1/255 of object"
    if mask.getcolors(KINDS) and labels(np.asarray(mask)):
        there = listed(np.unique(np.asarray(mask)).tolist())
        return f"mask {name} holds the labels {there}, expected 0 to 255 with 255 on the object"
    return None


def same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes have the same shape, to within one pixel of the smaller."""
    (width, height), (other_width, other_height) = size, other
    mismatch = abs(other_width * height - other_height * width)
    return mismatch <= max(width, height, other_width, other_height)


def report(faults: list[str], total: int, things: str, cure: str) -> str:
    """One error text for all faults: the first ten, and how many more there are.

    An option that all of them recommend (after a colon) is printed once.
    """
    if len(faults) == 1:
        return f"{faults[0]}; {cure}"
    common = {fault.partition(": ")[2] for fault in faults}
    if len(common) == 1 and "--config." in (shared := common.pop()):
        faults, cure = [fault.partition(": ")[0] for fault in faults], f"{shared}; or {cure}"
    lines = [f"{len(faults)} of {total} {things} cannot be used; {cure}:", *faults[:SHOWN]]
    if len(faults) > SHOWN:
        lines.append(f"and {len(faults) - SHOWN} more")
    return "\n  ".join(lines)
