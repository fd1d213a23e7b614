"""Figures of TokenCut: IoU by class, and photos with their masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from rival_jax.report.examples import THUMB, sheet
from rival_jax.report.figures import Drawn
from rival_jax.report.lettering import margin
from rival_jax.report.saliency_tables import known
from rival_jax.report.style import FAINT, INK, MUTED, look
from rival_jax.report.tokencut import MEASURES, Summary

ENDS = ("estimate", "low", "high")
ACROSS = 4  # photos side by side, three pictures each
TRUTH, FOUND = (0, 200, 83), (255, 255, 255)


class Shown(NamedTuple):
    """One photo to look at; masks are bool [h, w]."""

    name: str
    label: str
    photo: np.ndarray  # uint8 [h, w, 3]
    coarse: np.ndarray
    mask: np.ndarray
    truth: np.ndarray | None
    iou: float  # NaN without a true mask
    reason: str  # why it is skipped, or ""
    doubt: str = ""  # what is odd about it, or ""


def by_class(summary: Summary, measure: str) -> Drawn:
    """A measure of every class, a mark for every network."""
    models = summary["models"]
    classes = [name for name, count in summary["dataset"]["classes"].items() if count]
    height = 0.9 + 0.26 * len(classes)
    room = 0.3 + margin(classes)
    figure = Figure(figsize=(room + 4.2, height))
    width = room + 4.2
    axes = figure.add_axes((room / width, 0.5 / height, 4 / width, 1 - 0.8 / height))
    lines = []
    for m, (model, entry) in enumerate(models.items()):
        colour, marker = look(m)
        for row, name in enumerate(classes):
            value = entry["by_class"][name][measure]
            y = row + 0.2 * (m - (len(models) - 1) / 2)
            axes.hlines(y, value["low"], value["high"], color=colour, lw=1.2)
            axes.plot(value["estimate"], y, marker, color=colour, ms=4.5)
            lines.append((model, name, *(value[end] for end in ENDS)))
        if known(entry[measure]):
            axes.axvline(entry[measure]["estimate"], color=colour, lw=0.8, ls=":")
        axes.plot([], [], marker, color=colour, ms=4.5, label=model)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(ylim=(len(classes) - 0.4, -0.6), xlim=(0, 1))
    axes.grid(axis="x", color=FAINT, lw=0.4)
    axes.set_xlabel(MEASURES[measure])
    if len(models) > 1:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper right")
    axes.tick_params(axis="y", length=0, color=MUTED)
    return Drawn(figure, ("model", "class", *ENDS), lines)


def overlays(shown: Sequence[Shown]) -> Drawn:
    """Photo, cut and mask of some photos, outlined in white; the true outline is green."""
    cells, lines = [], []
    for place, one in enumerate(shown):
        row, column = divmod(place, ACROSS)
        told = "skipped" if one.reason else f"IoU {one.iou:.2f}" if np.isfinite(one.iou) else ""
        told += ", doubtful" if one.doubt else ""
        pictures = (
            (one.photo, one.label, ""),
            (_outlined(one.photo, one.coarse, one.truth), "", "cut"),
            (_outlined(one.photo, one.mask, one.truth), "", f"mask {told}".strip()),
        )
        for k, (picture, title, text) in enumerate(pictures):
            cells.append((row, 3 * column + k, _square(picture), title, text))
        area = float(one.mask.mean())
        lines.append((one.name, one.label, area, one.iou, one.reason, one.doubt))
    return Drawn(sheet(cells), ("example", "class", "area", "iou", "reason", "doubt"), lines)


def _square(picture: np.ndarray) -> np.ndarray:
    """Padded with white to a square of the size shown."""
    image = ImageOps.contain(Image.fromarray(picture), (THUMB, THUMB))
    canvas = Image.new("RGB", (THUMB, THUMB), "white")
    canvas.paste(image, ((THUMB - image.width) // 2, (THUMB - image.height) // 2))
    return np.asarray(canvas)


def _outlined(photo: np.ndarray, mask: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
    """The photo at about the size shown, darkened outside the mask."""
    scale = THUMB / max(photo.shape[:2])
    size = (max(1, round(scale * photo.shape[1])), max(1, round(scale * photo.shape[0])))
    drawn = np.array(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))
    inside = _resized(mask, size)
    drawn = np.where(inside[..., None], drawn, drawn * 0.45).astype(np.uint8)
    if truth is not None:
        drawn[_rim(_resized(truth, size))] = TRUTH
    drawn[_rim(inside)] = FOUND
    return drawn


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def _rim(mask: np.ndarray) -> np.ndarray:
    """The outermost pixels of a mask."""
    wide = np.pad(mask, 1, mode="edge")
    inner = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return mask & ~inner
