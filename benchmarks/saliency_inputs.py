"""What both sides of the neuron attribution in `saliency.py` read: drawn when asked for.

The network costs next to nothing (mean colour of 7 x 7 patches, one projection, ReLU, global
average pooling), so that attribution itself is timed; its features are pooled channels, as a
ResNet's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SIZE, GRID, CLASSES, TOP = 224, 7, 10, 10
PRESENT = 0.3  # share of the attributes that an image has


class Photo(NamedTuple):
    """One example."""

    image: np.ndarray  # uint8 [224, 224, 3]
    masks: np.ndarray  # bool [attributes, 224, 224], all False where absent
    label: int


def photo(index: int, attributes: int) -> Photo:
    """Example `index`: patches of random colours, rectangles as attributes."""
    rng = np.random.default_rng([7, index])
    side = SIZE // GRID
    colours = rng.integers(0, 256, (GRID, GRID, 3), np.uint8)
    masks = np.zeros((attributes, SIZE, SIZE), bool)
    present = rng.random(attributes) < PRESENT
    corners = rng.integers(0, SIZE // 2, (attributes, 2))
    sizes = rng.integers(SIZE // 8, SIZE // 2, (attributes, 2))
    for a in np.flatnonzero(present):
        (top, left), (height, width) = corners[a], sizes[a]
        masks[a, top : top + height, left : left + width] = True
    image = colours.repeat(side, axis=0).repeat(side, axis=1)
    return Photo(image, masks, index % CLASSES)


def projection(features: int) -> np.ndarray:
    """[3, features]: the network's weights."""
    return np.random.default_rng(3).normal(size=(3, features)).astype(np.float32)
