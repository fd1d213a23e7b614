"""Galleries of the spurious-feature finder (RIVAL10 study, figure 7)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from PIL import Image

from rival_jax.report import saliency
from rival_jax.report.examples import THUMB, sheet
from rival_jax.report.figures import Drawn
from rival_jax.report.saliency import Alignment

IN_GALLERY = 2  # hits of each class, three pictures each


def gallery(found: Alignment, s: int, file: Path, classes: str) -> Drawn:
    """Figure 7: a subject's hits, a class a row: the photo, its map, the salient background greyed.

    The object is outlined.
    """
    with np.load(file) as stored:
        pictures = dict(stored)
    of = found.by(classes)[s].tolist()
    rows = pictures["rows"].tolist()
    order = sorted({of[row] for row in rows}, key=lambda c: _lowest_gap(found, s, rows, of, c))
    cells, lines = [], []
    for line, code in enumerate(order):
        places = [k for k, row in enumerate(rows) if of[row] == code]
        for column, k in enumerate(places):
            words = _words(found, s, rows[k])
            lines.append((found.subjects[s], found.classes[code], *words.values()))
            if column < IN_GALLERY:
                cells += _cells((line, 3 * column), _shown(pictures, k), words)
    header = ("model", "class", *_words(found, s, rows[0])) if rows else ("model",)
    return Drawn(sheet(cells), header, lines)


def _lowest_gap(found: Alignment, s: int, rows: list[int], of: list[int], code: int) -> float:
    return min(found.values["density_gap"][s, row] for row in rows if of[row] == code)


def _words(found: Alignment, s: int, row: int) -> dict[str, Any]:
    value = {name: float(of[s, row]) for name, of in found.values.items()}
    before = {of: float(found.before[of][s, row]) for of in ("target", "true")}
    return {
        "example": found.names[row],
        "label": found.classes[found.labels[row]],
        "predicted": found.classes[found.predicted[s, row]],
        "density_gap": value["density_gap"],
        **{
            f"{of}_{region}": before[of] - value[f"{of}_drop_{region}"]
            for of in ("target", "true")
            for region in saliency.REGIONS
        },
        **{f"{of}_none": before[of] for of in ("target", "true")},
    }


def _shown(pictures: Mapping[str, np.ndarray], k: int) -> list[np.ndarray]:
    """Photo, map and greyed photo of one hit, the object outlined, uint8 [h, w, 3]."""
    photo, mask = pictures["image"][k], pictures["mask"][k] > 0
    strength = pictures["saliency"][k].astype(np.float32)[..., None] / 255
    heat = 255 * colormaps["inferno"](strength[..., 0])[..., :3]
    over = (1 - 0.65 * strength) * photo + 0.65 * strength * heat
    grey = np.where(pictures["salient"][k][..., None], 127, photo)
    return [_outlined(picture, mask) for picture in (photo, over, grey)]


def _outlined(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """At the size shown, with the mask's rim in white on black."""
    size = (THUMB, THUMB)
    big = Image.fromarray(picture.astype(np.uint8)).resize(size, Image.Resampling.LANCZOS)
    inside = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    outer, inner = _grown(inside) & ~inside, inside & _grown(~inside)
    drawn = np.array(big)
    drawn[outer], drawn[inner] = 0, 255
    return drawn


def _grown(mask: np.ndarray) -> np.ndarray:
    wide = np.pad(mask, 1)
    return wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:] | mask


def _cells(place: tuple[int, int], shown: list[np.ndarray], words: Mapping[str, Any]) -> list:
    """The three pictures of a hit as cells of a sheet, from `place` on to the right."""
    wrong = "" if words["label"] == words["predicted"] else ", WRONG"
    texts = (
        (words["label"], f"says {words['predicted']}{wrong}"),
        ("map", f"gap {words['density_gap']:+.2f}"),
        ("salient greyed", _moved(words)),
    )
    row, column = place
    told = zip(shown, texts, strict=True)
    return [(row, column + k, picture, *text) for k, (picture, text) in enumerate(told)]


def _moved(words: Mapping[str, Any]) -> str:
    before, after, control = (words[f"target_{name}"] for name in ("none", "salient", "random"))
    if not np.isfinite(after):
        return f"p {before:.2f}, nothing to grey"
    return f"p {before:.2f} to {after:.2f} ({control:.2f})"
