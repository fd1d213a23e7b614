"""Telling masks with soft rims from maps of labels, by the values that pixels lie next to.

A mask of one object, drawn in black and white, has other values only in its rims: left by
antialiasing, resizing or JPEG, they change from pixel to pixel. Labels (a trimap's unknown, a void
border, the ids of classes) fill areas of one value. So a value counts as a label if some pixel has
it together with all eight neighbours. Labels of at most two pixels' width cannot be told from rims,
nor can soft masks that were enlarged pixel by pixel from labels.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

NEAR = 8  # grey levels: how far JPEG's black and white are at most from 0 and 255
RINGING = 5  # grey levels: JPEG leaves uniform areas this near to black and white
SHARE = 0.05  # of the pixels between black and white; by chance, below 0.01 lie in areas
FEW = 8  # more labels than these fill much of a picture; JPEG's values do not
MUCH = 0.25  # of the picture
SHOWN = 6  # values in a message


def labels(values: np.ndarray) -> list[int]:
    """The values between black and white that fill areas; none for a mask with soft rims.

    None either if all pixels have one value, which marks nothing. Black and
    white are 0 and 255, or the nearest values that fill areas.

    Args:
      values: uint8 [h, w].

    >>> labels(np.repeat(np.uint8([[0, 15, 255]]), 4, 1).repeat(4, 0))
    [15]
    >>> labels(np.repeat(np.uint8([[0, 60, 170, 255]]), 4, 0))
    []
    """
    if min(values.shape) < 3 or values.min() == values.max() or np.isin(values, (0, 255)).all():
        return []
    inner = values[1:-1, 1:-1]
    areas = inner[_surrounded(values)]
    black = int(areas.min(initial=255))
    white = int(areas.max(initial=0))
    black, white = black if black <= NEAR else 0, white if white >= 255 - NEAR else 255

    def between(pixels: np.ndarray, margin: int) -> np.ndarray:
        return pixels[(pixels > black + margin) & (pixels < white - margin)]

    found, there = between(areas, RINGING), between(inner, RINGING)
    kinds = np.unique(found)
    few = kinds.size <= FEW or there.size > MUCH * inner.size
    if few and found.size > SHARE * there.size:
        return np.unique(between(areas, 0)).tolist()
    # JPEG has areas beside black and white too, but also other values in the rims.
    found, there = between(areas, 0), between(inner, 0)
    kinds = np.unique(found)
    return kinds.tolist() if kinds.size == np.unique(there).size else []


def _surrounded(values: np.ndarray) -> np.ndarray:
    """bool [h - 2, w - 2]: where a pixel and its eight neighbours have one value."""
    across = values[:, 1:] == values[:, :-1]
    rows = across[:, 1:] & across[:, :-1]
    down = values[1:, 1:-1] == values[:-1, 1:-1]
    return rows[:-2] & rows[1:-1] & rows[2:] & down[:-1] & down[1:]


def listed(values: Iterable[int | str]) -> str:
    """Values in words, the first six of many.

    >>> listed([0, 15, 255]), listed(range(40))
    ('0, 15 and 255', '0, 1, 2, 3, 4, 5 and 34 more')
    """
    words = list(map(str, values))
    if len(words) > SHOWN:
        words[SHOWN:] = [f"{len(words) - SHOWN} more"]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
