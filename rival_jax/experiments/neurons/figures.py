"""The study's figure 10, and held-out IoU against networks of shuffled weights."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from rival_jax.experiments.neurons.detectors import Found
from rival_jax.report.document import Picture
from rival_jax.report.figures import Drawn, bars
from rival_jax.report.grids import THUMB, Cell, rim, sheet
from rival_jax.report.lettering import letters
from rival_jax.report.results import Results, Row
from rival_jax.report.style import COLOURS, FAINT, INK, MUTED

Shown = Callable[[str, int, str], tuple[np.ndarray, ...]]
"""(example, feature, attribute) -> photo uint8 [h, w, 3], salient pixels and mask bool [h, w]."""

EACH = 5  # images of a feature
MOST_PAIRS = 30  # in the overview of a model
BINS = np.linspace(0, 1, 21)
RED = np.array([230, 0, 0])
KEY = ("class", "attribute", "feature")


def of_model(stem: str, results: Results, found: Found, shown: Shown, count: int) -> list[Picture]:
    """A model's pictures: its best features at work, their IoU, and all pairs.

    Args:
      stem: how the names of their files begin.
      results: of the model's pairs.
      found: its rows.
      shown: its photos.
      count: of features at work.
    """
    pairs = results.where(measure="iou").rows
    overview = Picture(
        f"{stem}_pairs",
        functools.partial(_overview, results),
        f"{pairs[0]['model']}: mean IoU on held-out images of the best feature of each class and "
        "attribute, with its interval, blue where it is reported; upright marks: the same for "
        "networks of shuffled weights.",
        f"Bars with intervals for up to {MOST_PAIRS} pairs of class and attribute.",
    )
    if not count:
        return [overview]
    named = ", ".join(map(pair_title, pairs[:count]))
    top = functools.partial(_top, results, pairs[:count], found, shown)
    bottom = functools.partial(_bottom, results, pairs[:count], found)
    return [
        Picture(f"{stem}_fig10_top", top, TOP, f"Rows of {EACH} photos for {named}.", photos=True),
        Picture(f"{stem}_fig10_bottom", bottom, BOTTOM, f"Histograms for {named}."),
        overview,
    ]


def pair_title(row: Row) -> str:
    """A pair of a class and an attribute, in words."""
    return f"{row['class']}, {row['attribute']}"


def _number(results: Results, row: Row, measure: str) -> float | None:
    """Another number of a row's pair."""
    found = results.where(measure=measure, **{name: row[name] for name in KEY}).rows
    return found[0]["estimate"] if found else None


def _top(results: Results, pairs: Sequence[Row], found: Found, shown: Shown) -> Drawn:
    cells: list[Cell] = []
    lines: list[Sequence[Any]] = []
    for place, pair in enumerate(pairs):
        iou, activation, names = found.of(pair)
        reported = bool(_number(results, pair, "reported"))
        title = f"{pair_title(pair)} (feature {pair['feature']})"
        title += "" if reported else ", not reported"
        for column, i in enumerate(np.argsort(-activation, kind="stable")[:EACH].tolist()):
            picture = _overlay(*shown(names[i], pair["feature"], pair["attribute"]))
            cells.append((place, column, picture, "" if column else title, f"IoU {iou[i]:.2f}"))
            told = (pair[name] for name in KEY)
            lines.append((*told, names[i], activation[i], iou[i], reported))
    return Drawn(sheet(cells), (*KEY, "example", "activation", "iou", "reported"), lines)


def _overlay(*parts: np.ndarray) -> np.ndarray:
    """A photo, red where it is salient, the mask outlined in white and black, at the size shown."""
    size = (THUMB, THUMB)
    photo, salient, mask = (np.asarray(Image.fromarray(part).resize(size)) for part in parts)
    drawn = np.where(salient[..., None], 0.55 * photo + 0.45 * RED, photo).astype(np.uint8)
    drawn[rim(mask)], drawn[rim(~mask)] = 255, 0
    return drawn


def _bottom(results: Results, pairs: Sequence[Row], found: Found) -> Drawn:
    figure = Figure(figsize=(0.5 + 2.5 * len(pairs), 2.1))
    lines: list[Sequence[Any]] = []
    for column, pair in enumerate(pairs):
        counts, _ = np.histogram(found.of(pair)[0], BINS)
        axes = figure.add_subplot(1, len(pairs), column + 1)
        colour = COLOURS[0] if _number(results, pair, "reported") else MUTED
        axes.bar(BINS[:-1], counts, width=0.05, align="edge", color=colour, alpha=0.6, lw=0)
        axes.axvline(pair["estimate"], color=INK, lw=1.2)
        if (shuffled := _number(results, pair, "shuffled_iou")) is not None:
            axes.axvline(shuffled, color=FAINT, lw=1.2)
        axes.set_title(f"{pair_title(pair)}\nfeature {pair['feature']}", loc="left")
        axes.set(xlim=(0, 1), xlabel="IoU", ylabel="" if column else "held-out images")
        for low, high, n in zip(BINS[:-1].round(2), BINS[1:].round(2), counts, strict=True):
            lines.append((*(pair[name] for name in KEY), low, high, int(n)))
    letters(figure)  # whose sizes the layout follows
    figure.tight_layout()
    return Drawn(figure, (*KEY, "iou_from", "iou_to", "images"), lines)


def _overview(results: Results) -> Drawn:
    named = results.changed(lambda row: {**row, "pair": f"{pair_title(row)} ({row['feature']})"})
    reported = named.where(measure="reported", estimate=1.0).of("pair")
    some = named.of("pair")[:MOST_PAIRS]
    return bars(
        named.where(measure="iou"),
        "pair",
        label="IoU on held-out images",
        marks=named.where(measure="shuffled_iou"),
        names=some,
        colours=lambda pair: COLOURS[0] if pair in reported else MUTED,
    )


TOP = (
    "Figure 10, top: the held-out images that activate a feature most, of those with the class and "
    "the attribute. Red: its saliency above the threshold; outlined in white: the attribute's mask."
)
BOTTOM = (
    "Figure 10, bottom: IoU of the feature's saliency with the attribute's mask on all held-out "
    "images of the class with the attribute; the line is their mean, grey is the mean for networks "
    "of shuffled weights."
)
