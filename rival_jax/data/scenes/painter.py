"""From parts to pixels: placing a drawing, filling its polygons, cutting out its mask."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from rival_jax.data.scenes.filling import filled
from rival_jax.data.scenes.shapes import Dice, Part

SAMPLES = 2  # per pixel and axis
COVERED = SAMPLES**2 // 2  # samples that make a pixel the object's


@dataclasses.dataclass(frozen=True)
class Cutout:
    """An object without its background."""

    pixels: np.ndarray  # float32 [size, size, 3], meaningful where the mask is
    mask: np.ndarray  # bool [size, size]
    attributes: np.ndarray  # bool [size, size, len(names)], inside the mask


def place(parts: list[Part], dice: Dice, side: int) -> list[np.ndarray]:
    """Each part's corners on a square canvas `side` wide: turned, mirrored, scaled and moved.

    The drawing always lies inside the canvas, and its longer side fills 70 to 97 % of it.
    """
    angle, mirrored = dice.uniform(-0.15, 0.15), dice.chance(0.5)
    stretch = dice.uniform(0.9, 1.12) * (-1 if mirrored else 1)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[stretch * cos, stretch * sin], [-sin, cos]])
    corners = [_readable(part) if mirrored else part.points for part in parts]
    moved = np.concatenate(corners) @ turn
    counts = [len(points) for points in corners]
    solid = np.repeat([not part.marking for part in parts], counts)
    low, high = moved[solid].min(0), moved[solid].max(0)
    scale = dice.uniform(0.7, 0.97) * side / (high - low).max()
    spare = side - scale * (high - low)
    corner = spare * (dice.uniform(0.05, 0.95), dice.uniform(0.05, 0.95))
    moved, ends = (moved - low) * scale + corner, np.cumsum(counts).tolist()
    return [moved[end - count : end] for end, count in zip(ends, counts, strict=True)]


def _readable(part: Part) -> np.ndarray:
    """The points turned about the part's own axis, so that mirroring the whole undoes it."""
    return part.points if part.axis is None else part.points * (-1, 1) + (2 * part.axis, 0)


def _fill(parts: list[Part], corners: list[np.ndarray], side: int) -> tuple[np.ndarray, np.ndarray]:
    """The part and the marking at each sample, counted from 1: uint8 [side, side] twice."""
    index, position = filled(corners, side)
    marking = np.array([part.marking for part in parts])[index]
    parts_at, marks_at = np.zeros((2, side, side), np.uint8)
    for canvas, mine in ((parts_at, ~marking), (marks_at, marking)):
        canvas.ravel()[position[mine]] = index[mine] + 1  # where parts overlap, the last one stays
    coat = np.array([False, *(part.coat for part in parts)])
    marks_at[~coat[parts_at]] = 0
    return parts_at, marks_at


def _pooled(samples: np.ndarray) -> np.ndarray:
    """Sums over each pixel's samples: [side, side, ...] -> [size, size, ...]."""
    rows = samples[::SAMPLES].astype(np.uint16)
    for row in range(1, SAMPLES):
        rows += samples[row::SAMPLES]
    columns = [rows[:, column::SAMPLES] for column in range(SAMPLES)]
    return np.asarray(np.sum(columns, axis=0, dtype=np.uint16))


def cut_out(parts: list[Part], whole: str, names: Sequence[str], dice: Dice, size: int) -> Cutout:
    """Draw `parts` on an empty `size` x `size` canvas.

    `whole` holds the attributes (separated by spaces) that every part has, `names` the attributes
    to make masks of. A pixel is the object's when at least half of its samples are; its colour is
    the mean of those samples alone, so no background shines through.
    """
    parts_at, marks_at = _fill(parts, place(parts, dice, size * SAMPLES), size * SAMPLES)
    covered = _pooled(parts_at > 0)
    mask = covered >= COVERED
    colours = [(0.0, 0.0, 0.0), *(part.colour for part in parts)]
    palette = (np.array(colours) * 255).astype(np.uint8)
    drawn = np.where(marks_at, marks_at, parts_at)
    total = _pooled(np.take(palette, drawn, axis=0)).astype(np.float32)
    pixels = total / (255 * np.maximum(covered, 1)[..., None]).astype(np.float32)
    has = np.zeros((len(parts) + 1, len(names)), bool)
    for index, part in enumerate(parts, 1):
        own = f"{part.attributes} {whole}".split()
        has[index] = [name in own for name in names]
    held = _pooled(has[parts_at] | has[marks_at]) >= COVERED if names else mask[..., None][..., :0]
    return Cutout(_light(pixels, mask, dice), mask, held & mask[..., None])


def _light(pixels: np.ndarray, mask: np.ndarray, dice: Dice) -> np.ndarray:
    """Lit from above, with a little grain."""
    size = len(mask)
    rows = np.flatnonzero(mask.any(1))
    depth = (np.arange(size, dtype=np.float32) - rows[0]) / max(rows[-1] - rows[0], 1)
    gain = (1.1 - 0.25 * depth)[:, None, None]
    return pixels * gain + (dice.grid(size, size, 1) - 0.5) * 0.05
