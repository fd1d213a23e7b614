"""The values that a mask's file stores: numbers, palette indices or colours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image


def check_values(data_set: str, mask_values: Any, ignore: Any) -> None:
    """Raises ValueError unless both hold values (numbers >= 0 or "#rrggbb"), none twice."""
    for key, values in (("mask_values", mask_values), ("ignore", ignore)):
        if not (isinstance(values, (tuple, list)) and all(map(_is_value, values))):
            raise ValueError(
                f"data {data_set}: {key} {values!r}: expected numbers or colours, "
                f"--config.data.{data_set}.{key}='(15,)' or \"('#800000',)\""
            )
    both = set(map(_number, mask_values)) & set(map(_number, ignore))
    if both:
        names = [v for v in mask_values if _number(v) in both]
        raise ValueError(f"data {data_set}: {names} are in mask_values and in ignore: keep one")


def _is_value(value: object) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch("#[0-9a-fA-F]{6}", value))
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _number(value: int | str) -> tuple[bool, int]:
    return (True, int(value[1:], 16)) if isinstance(value, str) else (False, value)


def marked(picture: Image.Image, values: Sequence[int | str], name: str, option: str) -> np.ndarray:
    """bool [h, w]: the pixels that hold one of `values`.

    Raises:
      ValueError: for numbers and a coloured picture, or colours and a picture without any.
    """
    colours = [_number(value)[1] for value in values if isinstance(value, str)]
    numbers = [value for value in values if not isinstance(value, str)]
    found = np.zeros(picture.size[::-1], bool)
    for wanted, pixels, other in (
        (colours, _colours(picture) if colours else None, "numbers"),
        (numbers, _numbers(picture) if numbers else None, "colours such as '#800000'"),
    ):
        if wanted and pixels is None:
            raise ValueError(f"mask {name} has mode {picture.mode}: name {other} in {option}")
        if pixels is not None:
            found |= np.isin(pixels, wanted)
    return found


def stored(picture: Image.Image) -> list[int | str]:
    """The values in a mask, in the form `marked` takes: numbers, or else colours, sorted."""
    numbers = _numbers(picture)
    if numbers is not None:
        return np.unique(numbers).tolist()
    colours = _colours(picture)
    return [] if colours is None else [f"#{code:06x}" for code in np.unique(colours)]


def _numbers(picture: Image.Image) -> np.ndarray | None:
    """[h, w]: the values of a picture with one channel, or several equal ones."""
    if picture.mode in ("RGB", "RGBA", "LA"):
        channels = np.asarray(picture)
        if picture.mode != "LA" and not (channels[..., :3] == channels[..., :1]).all():
            return None
        return channels[..., 0]
    pixels = np.asarray(picture)
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels if pixels.ndim == 2 else None


def _colours(picture: Image.Image) -> np.ndarray | None:
    """int [h, w]: red, green and blue in one number."""
    if picture.mode not in ("RGB", "RGBA", "P"):
        return None
    channels = np.asarray(picture.convert("RGB")).astype(np.int32)
    return channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]
