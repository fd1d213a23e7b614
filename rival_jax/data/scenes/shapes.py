"""Polygons, colours and dice: what the pictures of `scenes` are made of."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Colour = tuple[float, float, float]
Number = float | int  # the tests check annotations without promoting int to float
Point = tuple[Number, Number]

BLACK: Colour = (0.09, 0.09, 0.1)
WHITE: Colour = (0.95, 0.94, 0.92)
GLASS: Colour = (0.55, 0.7, 0.8)
PINK: Colour = (0.88, 0.58, 0.56)
NATURAL: tuple[Colour, ...] = (
    (0.93, 0.9, 0.84),
    (0.85, 0.72, 0.52),
    (0.83, 0.5, 0.22),
    (0.55, 0.34, 0.2),
    (0.36, 0.24, 0.18),
    (0.62, 0.61, 0.6),
    (0.38, 0.4, 0.44),
    (0.2, 0.2, 0.22),
)
BRIGHT: tuple[Colour, ...] = (
    (0.82, 0.16, 0.16),
    (0.95, 0.75, 0.15),
    (0.3, 0.62, 0.24),
    (0.1, 0.55, 0.6),
    (0.16, 0.34, 0.72),
    (0.95, 0.48, 0.12),
)


class Dice:
    """Random choices keyed by integers; only `Generator.random` is used, whose stream is stable."""

    def __init__(self, *key: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))

    def uniform(self, low: Number, high: Number) -> float:
        return low + (high - low) * self._generator.random()

    def chance(self, probability: Number) -> bool:
        return self._generator.random() < probability

    def choice(self, options: Sequence[T]) -> T:
        return options[int(self._generator.random() * len(options))]

    def grid(self, *shape: int) -> np.ndarray:
        """float32 in [0, 1)."""
        return self._generator.random(shape, dtype=np.float32)

    def colour(self, options: Sequence[Colour]) -> Colour:
        """One of `options`, a little lighter or darker."""
        return shade(self.choice(options), self.uniform(0.88, 1.12))


@dataclasses.dataclass(frozen=True)
class Part:
    """One filled polygon in object coordinates: x right, y down; later parts cover earlier ones."""

    points: np.ndarray  # [n, 2]
    colour: Colour
    attributes: str = ""  # names of visual attributes, separated by spaces
    coat: bool = False  # carries the object's markings
    marking: bool = False  # seen only on the parts that are coat
    axis: Number | None = None  # x about which it is turned back when the object is mirrored


def shade(colour: Colour, gain: Number) -> Colour:
    """`colour` times `gain`, at most white."""
    red, green, blue = colour
    return min(red * gain, 1.0), min(green * gain, 1.0), min(blue * gain, 1.0)


def mix(first: Colour, second: Colour, share: Number) -> Colour:
    """`first` with `share` of `second` blended in."""
    (a, b, c), (x, y, z) = first, second
    return a + share * (x - a), b + share * (y - b), c + share * (z - c)


def is_light(colour: Colour) -> bool:
    """Whether dark marks show better on it than light ones."""
    return sum(colour) > 1.4


def polygon(*points: Point) -> np.ndarray:
    """The corners themselves, [n, 2]."""
    return np.array(points)


def box(left: Number, top: Number, right: Number, bottom: Number) -> np.ndarray:
    """An upright rectangle."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


@functools.cache
def _circle(count: int = 20) -> np.ndarray:
    angles = np.arange(count) * (2 * np.pi / count)
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def ellipse(x: Number, y: Number, rx: Number, ry: Number, *, turn: Number = 0.0) -> np.ndarray:
    """An ellipse around (x, y); `turn` in radians, clockwise on screen."""
    points = _circle() * (rx, ry)
    if turn:
        cos, sin = np.cos(turn), np.sin(turn)
        points = points @ np.array([[cos, sin], [-sin, cos]])
    return points + np.array((x, y))


@functools.cache
def _spline(count: int, closed: bool, steps: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Matrices [outline points, count] that give a Catmull-Rom curve and its tangents."""
    spans = count if closed else count - 1
    t = np.arange(spans * steps + (not closed)) / steps
    span = np.minimum(t.astype(int), spans - 1)
    t = t - span
    value = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]
    slope = [-1 + 4 * t - 3 * t**2, -10 * t + 9 * t**2, 1 + 8 * t - 9 * t**2, 3 * t**2 - 2 * t]
    matrices = np.zeros((2, len(t), count))
    for offset in range(4):
        near = span + offset - 1
        column = near % count if closed else np.clip(near, 0, count - 1)
        for matrix, weights in zip(matrices, (value, slope), strict=True):
            np.add.at(matrix, (np.arange(len(t)), column), weights[offset] / 2)
    return matrices[0], matrices[1]


@functools.cache
def _outline(path: str) -> np.ndarray:
    points = np.array(path.split(), float).reshape(-1, 2) / 100
    return _spline(len(points), True)[0] @ points


def blob(path: str, at: Point = (0.0, 0.0)) -> np.ndarray:
    """The smooth closed outline through "x y  x y ...", in hundredths, moved to `at`."""
    return _outline(path) + np.array(at)


def tube(points: Sequence[Point], widths: Sequence[Number]) -> np.ndarray:
    """A smooth band along `points`, `widths[i]` wide at the i-th, with blunt ends."""
    curve, slope = _spline(len(points), False)
    line, along = curve @ np.array(points), slope @ np.array(points)
    along /= np.sqrt((along * along).sum(1, keepdims=True)) + 1e-9
    along *= curve @ (np.array(widths)[:, None] / 2)
    side = along[:, ::-1] * (-1, 1)
    tip, root = line[-1:] + along[-1] * 0.8, line[:1] - along[0] * 0.8
    return np.concatenate([line + side, tip, (line - side)[::-1], root])


def ribbon(x0: Number, y0: Number, x1: Number, y1: Number, width: Number) -> np.ndarray:
    """A straight stroke with square ends."""
    dx, dy = x1 - x0, y1 - y0
    half = width / 2 / ((dx * dx + dy * dy) ** 0.5 + 1e-9)
    side = np.array((-dy, dx)) * half
    start, end = np.array((x0, y0)), np.array((x1, y1))
    return np.stack([start + side, end + side, end - side, start - side])


STROKES = {  # x0 y0 x1 y1 on a grid 2 wide and 4 high
    "A": ("0410", "1024", "0323"),
    "E": ("0004", "0020", "0222", "0424"),
    "F": ("0004", "0020", "0222"),
    "H": ("0004", "2024", "0222"),
    "L": ("0004", "0424"),
    "N": ("0400", "0024", "2420"),
    "T": ("0020", "1014"),
    "V": ("0014", "1420"),
    "X": ("0024", "2004"),
    "Z": ("0020", "2004", "0424"),
}


def sign(
    dice: Dice, x: Number, y: Number, width: Number, height: Number, panel: Colour
) -> list[Part]:
    """A panel centred on (x, y) with three random letters, which stay readable when mirrored."""
    ink, left, top = (BLACK if is_light(panel) else WHITE), x - width / 2, y - height / 2
    parts = [Part(box(left, top, left + width, top + height), panel, "text")]
    across, down = width / 12, height * 0.16
    for letter in range(3):
        corner, foot = left + width / 3 * letter + across, top + height * 0.18
        for stroke in STROKES[dice.choice(sorted(STROKES))]:
            x0, y0, x1, y1 = map(int, stroke)
            ends = corner + x0 * across, foot + y0 * down, corner + x1 * across, foot + y1 * down
            parts.append(Part(ribbon(*ends, height * 0.17), ink, "text", axis=x))
    return parts


def coat(points: np.ndarray, colour: Colour, attributes: str = "") -> Part:
    """A part of an animal that carries its markings."""
    return Part(points, colour, attributes, coat=True)


def mark(points: np.ndarray, colour: Colour, attributes: str = "patterned") -> Part:
    """A marking, seen on the coat only."""
    return Part(points, colour, attributes, marking=True)


def spots(dice: Dice, wide: Point, high: Point, size: Number, ink: Colour) -> list[Part]:
    """Twelve spots with centres in `wide` (x) and `high` (y)."""
    parts = []
    for _ in range(12):
        x, y, stretch = dice.uniform(*wide), dice.uniform(*high), dice.uniform(0.7, 1.3)
        parts.append(mark(ellipse(x, y, size * stretch, size), ink))
    return parts
