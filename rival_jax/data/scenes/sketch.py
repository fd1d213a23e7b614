"""What backgrounds are drawn with: a canvas in unit coordinates and smooth noise."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from rival_jax.data.scenes.shapes import Colour, Dice

SAMPLES = 2  # per pixel and axis, for smooth edges


class Sketch:
    """A canvas in unit coordinates, drawn larger and averaged down."""

    def __init__(self, size: int, top: Colour, bottom: Colour) -> None:
        self.size = size
        self.side = side = size * SAMPLES
        t = np.linspace(0.0, 1.0, side, dtype=np.float32)[:, None]
        ramp = (1 - t) * np.array(top, np.float32) + t * np.array(bottom, np.float32)
        pixels = np.broadcast_to(
            (np.clip(ramp, 0, 1) * 255).astype(np.uint8)[:, None], (side, side, 3)
        )
        self.image = Image.fromarray(np.ascontiguousarray(pixels))
        self.draw = ImageDraw.Draw(self.image)

    def polygon(self, points: list[tuple[float, float]], colour: Colour) -> None:
        self.draw.polygon([(x * self.side, y * self.side) for x, y in points], fill=_rgb(colour))

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        box = [left * self.side, top * self.side, right * self.side, bottom * self.side]
        self.draw.rectangle(box, fill=_rgb(colour))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        box = [
            (x - rx) * self.side,
            (y - ry) * self.side,
            (x + rx) * self.side,
            (y + ry) * self.side,
        ]
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


def vary(dice: Dice, colour: Colour, spread: float = 0.12) -> Colour:
    """`colour` with each channel up to `spread` stronger or weaker."""
    red, green, blue = (min(c * dice.uniform(1 - spread, 1 + spread), 1.0) for c in colour)
    return red, green, blue


def below(size: int, horizon: float) -> np.ndarray:
    """1 under the horizon, 0 above it: float32 [size, 1, 1]."""
    return (np.arange(size) >= horizon * size).astype(np.float32)[:, None, None]
