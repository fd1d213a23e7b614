"""What backgrounds are drawn with: a canvas in unit coordinates and smooth noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from rival_jax.data.scenes.filling import filled
from rival_jax.data.scenes.shapes import Colour, Dice, Number, Point

SAMPLES = 2  # per pixel and axis, for smooth edges


class Sketch:
    """A canvas in unit coordinates, drawn larger and averaged down."""

    def __init__(self, size: int, top: Colour, bottom: Colour) -> None:
        self.side = side = size * SAMPLES
        t = np.linspace(0.0, 1.0, side, dtype=np.float32)[:, None]
        ramp = (1 - t) * np.array(top, np.float32) + t * np.array(bottom, np.float32)
        rows = (np.clip(ramp, 0, 1) * 255).astype(np.uint8)
        self._canvas = np.repeat(rows[:, None], side, axis=1)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []  # polygons, not yet drawn

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self._waiting.append((np.array(points, np.float64) * self.side, _rgb(colour)))

    def box(self, left: Number, top: Number, right: Number, bottom: Number, colour: Colour) -> None:
        x0, y0, x1, y1 = (int(edge * self.side) for edge in (left, top, right, bottom))
        columns, rows = slice(max(x0, 0), max(x1 + 1, 0)), slice(max(y0, 0), max(y1 + 1, 0))
        self._drawn()[rows, columns] = _rgb(colour)

    def ellipse(self, x: Number, y: Number, rx: Number, ry: Number, colour: Colour) -> None:
        box = [edge * self.side for edge in (x - rx, y - ry, x + rx, y + ry)]
        inside = Image.new("L", (self.side, self.side))
        ImageDraw.Draw(inside).ellipse(box, fill=1)  # the same in all versions of Pillow
        self._drawn()[np.asarray(inside) > 0] = _rgb(colour)

    def _drawn(self) -> np.ndarray:
        """The canvas with the polygons so far: all at once, which is faster."""
        if self._waiting:
            corners, colours = zip(*self._waiting, strict=True)
            index, position = filled(corners, self.side)
            self._canvas.reshape(-1, 3)[position] = np.stack(colours)[index]
            self._waiting = []
        return self._canvas

    def pixels(self) -> np.ndarray:
        return np.asarray(Image.fromarray(self._drawn()).reduce(SAMPLES), np.float32) / 255


def _rgb(colour: Colour) -> np.ndarray:
    return np.array([int(channel * 255) for channel in colour], np.uint8)


def texture(dice: Dice, size: int, rows: int, columns: int) -> np.ndarray:
    """Smooth noise [size, size, 1] in [0, 1]: a random grid of `rows` x `columns`, enlarged."""
    grid = Image.fromarray((dice.grid(rows, columns) * 255).astype(np.uint8))
    smooth = grid.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(smooth, np.float32)[..., None] / 255


def vary(dice: Dice, colour: Colour, spread: Number = 0.12) -> Colour:
    """`colour` with each channel up to `spread` stronger or weaker."""
    red, green, blue = (min(c * dice.uniform(1 - spread, 1 + spread), 1.0) for c in colour)
    return red, green, blue


def below(size: int, horizon: Number) -> np.ndarray:
    """1 under the horizon, 0 above it: float32 [size, 1, 1]."""
    return (np.arange(size) >= horizon * size).astype(np.float32)[:, None, None]


def grain(dice: Dice, size: int, depth: Number) -> np.ndarray:
    """White noise [size, size, 1] from -depth / 2 to depth / 2."""
    return dice.grid(size, size, 1) * depth - depth / 2
