"""What backgrounds are drawn with: a canvas in unit coordinates and smooth noise."""

from __future__ import annotations

import functools
import itertools
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
        # In drawing order: corners [n, 2] of a polygon, or samples [n], and a colour.
        self._shapes: list[tuple[np.ndarray, np.ndarray]] = []

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self._shapes.append((np.array(points, np.float64) * self.side, _rgb(colour)))

    def box(self, left: Number, top: Number, right: Number, bottom: Number, colour: Colour) -> None:
        x0, y0, x1, y1 = (int(edge * self.side) for edge in (left, top, right, bottom))
        columns = np.arange(max(x0, 0), min(x1 + 1, self.side))
        rows = np.arange(max(y0, 0), min(y1 + 1, self.side))
        self._shapes.append(((rows[:, None] * self.side + columns).ravel(), _rgb(colour)))

    def ellipse(self, x: Number, y: Number, rx: Number, ry: Number, colour: Colour) -> None:
        x0, y0, x1, y1 = (int(edge * self.side) for edge in (x - rx, y - ry, x + rx, y + ry))
        columns, rows = _ellipse(x1 - x0, y1 - y0)
        if min(x0, y0) < 0 or max(x1, y1) >= self.side:
            columns, rows = columns + x0, rows + y0
            inside = (np.minimum(columns, rows) >= 0) & (np.maximum(columns, rows) < self.side)
            samples = (rows * self.side + columns)[inside]
        else:
            samples = (rows + y0) * self.side + columns + x0
        self._shapes.append((samples, _rgb(colour)))

    def pixels(self) -> np.ndarray:
        """The picture [size, size, 3], values in [0, 1]."""
        canvas = self._canvas.reshape(-1, 3)
        polygons = [shape for shape, _ in self._shapes if shape.ndim == 2]
        index, position = filled(polygons, self.side)  # all at once, which is faster
        ends = np.searchsorted(index, np.arange(len(polygons) + 1)).tolist()
        inside = iter([position[start:end] for start, end in itertools.pairwise(ends)])
        for shape, colour in self._shapes:
            canvas[next(inside) if shape.ndim == 2 else shape] = colour
        return np.asarray(Image.fromarray(self._canvas).reduce(SAMPLES), np.float32) / 255


@functools.lru_cache(1 << 9)  # some tens of megabytes for photos of 224 pixels
def _ellipse(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the samples of an ellipse in a box from 0 to `width` and `height`.

    The same in all versions of Pillow.
    """
    canvas = Image.new("L", (max(width, 0) + 1, max(height, 0) + 1))
    ImageDraw.Draw(canvas).ellipse((0, 0, width, height), fill=1)
    rows, columns = np.nonzero(np.asarray(canvas))
    return columns, rows


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
