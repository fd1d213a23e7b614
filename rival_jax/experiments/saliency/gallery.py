"""Galleries of the images whose maps lie on the background (RIVAL10 study, figure 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rival_jax.configs.saliency import Saliency
from rival_jax.experiments.saliency.measures import HIT, lowest
from rival_jax.report.figures import Drawn
from rival_jax.report.grids import Cell, heated, outlined, sheet, thumb
from rival_jax.report.images import Images

IN_GALLERY = 2  # hits of each class, three pictures each
MOST_CLASSES = 10  # in a gallery


def pictured(raw: Images, c: Saliency) -> np.ndarray:
    """The hits that a gallery shows, from one unit's rows: the classes with the lowest gaps."""
    gap, (rows, labels) = raw.values["density_gap"].values[:, 0], lowest(raw, 0, c)
    classes = labels[rows[np.argsort(gap[rows], kind="stable")]].tolist()
    return rows[np.isin(labels[rows], list(dict.fromkeys(classes))[:MOST_CLASSES])]


def gallery(hits: Sequence[Mapping[str, Any]], names: Sequence[str], file: Path) -> Drawn:
    """Figure 7: hits, one class per row: the photo, its map, the salient background greyed.

    Args:
      hits: `HIT` of each, for one model and method.
      names: of all images.
      file: pictures of (some of) the hits.
    """
    with np.load(file) as stored:
        pictures = dict(stored)
    place = {names[row]: k for k, row in enumerate(pictures["rows"].tolist())}
    shown = [hit for hit in hits if hit["example"] in place]
    shown = sorted(shown, key=lambda hit: hit["density_gap"])
    cells: list[Cell] = []
    lines = []
    for row, label in enumerate(dict.fromkeys(hit["class"] for hit in shown)):
        mine = [hit for hit in shown if hit["class"] == label]
        lines += [tuple(hit.values()) for hit in mine]
        for column, hit in enumerate(mine[:IN_GALLERY]):
            three = zip(_drawn(pictures, place[hit["example"]]), _texts(hit), strict=True)
            cells += [(row, 3 * column + k, one, *texts) for k, (one, texts) in enumerate(three)]
    return Drawn(sheet(cells), HIT, lines)


def _drawn(pictures: Mapping[str, np.ndarray], k: int) -> list[np.ndarray]:
    """One hit's photo, map and greyed photo at display size, the mask outlined."""
    photo, mask = pictures["image"][k], thumb(pictures["mask"][k] > 0)
    over = heated(photo, pictures["saliency"][k].astype(np.float32) / 255)
    grey = np.where(pictures["salient"][k][..., None], np.uint8(127), photo)
    return [outlined(thumb(picture), mask) for picture in (photo, over, grey)]


def _texts(hit: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The words above the three pictures of a hit."""
    wrong = "" if hit["label"] == hit["predicted"] else ", WRONG"
    before, after, control = (hit[f"target_{name}"] for name in ("none", "salient", "random"))
    moved = f" to {after:.2f} ({control:.2f})" if np.isfinite(after) else ", nothing to grey"
    return [
        (hit["label"], f"says {hit['predicted']}{wrong}"),
        ("map", f"gap {hit['density_gap']:+.2f}"),
        ("salient greyed", f"p {before:.2f}{moved}"),
    ]
