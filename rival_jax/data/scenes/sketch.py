"""What backgrounds are drawn with: a canvas in unit coordinates and smooth noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from rival_jax.data.scenes.shapes import Colour, Dice, Number, Point

SAMPLES = 2  # per pixel and axis, for smooth edges


class Sketch:
    """A canvas in unit coordinates, drawn larger and averaged down."""

    def __init__(self, size: int, top: Colour, bottom: Colour) -> None:
        self.side = side = size * SAMPLES
        t = np.linspace(0.0, 1.0, side, dtype=np.float32)[:, None]
        ramp = (1 - t) * np.array(top, np.float32) + t * np.array(bottom, np.float32)
        rows = (np.clip(ramp, 0, 1) * 255).astype(np.uint8)
        self.image = Image.fromarray(np.repeat(rows[:, None], side, axis=1))
        self.draw = ImageDraw.Draw(self.image)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self.draw.polygon([(x * self.side, y * self.side) for x, y in points], fill=_rgb(colour))

    def box(self, left: Number, top: Number, right: Number, bottom: Number, colour: Colour) -> None:
        box = [edge * self.side for edge in (left, top, right, bottom)]
        self.draw.rectangle(box, fill=_rgb(colour))

    def ellipse(self, x: Number, y: Number, rx: Number, ry: Number, colour: Colour) -> None:
        box = [edge * self.side for edge in (x - rx, y - ry, x + rx, y + ry)]
        self.draw.ellipse(box, fill=_rgb(colour))

    def pixels(self) -> np.ndarray:
        return np.asarray(self.image.reduce(SAMPLES), np.float32) / 255


def _rgb(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = colour
    return int(red * 255), int(green * 255), int(blue * 255)


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
