"""Drawn photos and masks, in memory and on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (40, 30)  # width, height


def photo(seed: int = 0, size: tuple[int, int] = SIZE) -> Image.Image:
    """A smooth random RGB picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def disc(size: tuple[int, int] = SIZE, white: int = 255) -> Image.Image:
    """A mask of mode "L": a centred disc of `white` on 0."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    inside = np.hypot(x - size[0] / 2, y - size[1] / 2) < min(size) / 3
    return Image.fromarray(np.uint8(white) * inside)


def plain(value: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A mask of mode "L" of one value."""
    return Image.new("L", size, value)


def save(picture: Image.Image, path: Path) -> Path:
    """Writes the picture below folders that are made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


class Drawn:
    """A source of `count` drawn pictures of two classes; `changes` replaces items by position.

    A change that is an exception is raised, another one updates the item.
    """

    class_wnids = None

    def __init__(self, count: int, changes: dict | None = None, names: list[str] | None = None):
        self.classes = ("cat", "dog")
        self.names = names or [f"{self.classes[i % 2]}/{i:03d}.png" for i in range(count)]
        self.labels = np.array([i % 2 for i in range(count)], np.int32)
        self.changes = changes or {}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, position: int) -> dict:
        change = self.changes.get(position, {})
        if isinstance(change, Exception):
            raise change
        seed = sum(self.names[position].encode())
        return {"image": photo(seed), "mask": disc()} | change
