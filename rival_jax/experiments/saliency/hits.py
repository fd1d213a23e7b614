"""The spurious-feature finder, and galleries of what it finds (RIVAL10 study, figure 7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from PIL import Image

from rival_jax.experiments.saliency.unit import REGIONS
from rival_jax.report.figures import Drawn
from rival_jax.report.grids import THUMB, Cell, rim, sheet
from rival_jax.report.images import Images
from rival_jax.runtime import row_files

IN_GALLERY = 2  # hits of each class, three pictures each
MOST_CLASSES = 10  # in a gallery
PROBABILITIES = tuple(f"{of}_{region}" for of in ("target", "true") for region in REGIONS)


def lowest(gap: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
    """The images of each class with the lowest density gap.

    Args:
      gap: [n], NaN where not defined: never chosen.
      classes: int [n].
      count: of each class.

    Returns:
      positions, by class and then by gap, lowest first.
    """
    order = np.lexsort((gap, classes))  # NaN last
    order = order[np.isfinite(gap[order])]
    first = np.searchsorted(classes[order], classes[order])
    return order[np.arange(len(order)) - first < count]


def pictured(file: Path, filed: str, count: int) -> np.ndarray:
    """The hits of one unit that a gallery shows: those of the classes with the lowest gaps.

    Args:
      file: the unit's rows.
      filed: "true" or "predicted", the class that images are filed under.
      count: hits of each class.
    """
    table = row_files.read(file, ["label", "predicted", "density_gap"])
    words = np.array(table["predicted" if filed == "predicted" else "label"].to_pylist())
    codes = np.unique(words, return_inverse=True)[1]
    gap = table["density_gap"].to_numpy()
    rows = lowest(gap, codes, count)
    first = codes[rows[np.argsort(gap[rows], kind="stable")]]
    shown = list(dict.fromkeys(first.tolist()))[:MOST_CLASSES]
    return rows[np.isin(codes[rows], shown)]


def described(
    raw: Images, s: int, rows: Sequence[int], labels: np.ndarray
) -> Iterator[dict[str, Any]]:
    """What is known of some images under one model and method.

    Args:
      raw: columns of the rows.
      s: position of the model and method.
      rows: positions of the images.
      labels: int [n], the class that every image is filed under.
    """
    columns = {name: np.asarray(one.values)[:, s] for name, one in raw.values.items()}
    model, method = raw.values["density_gap"].axes[1].keys[s]
    names = raw.names
    for row in rows:
        yield {
            "model": model,
            "method": method,
            "class": raw.classes[labels[row]],
            "example": names[row],
            "label": raw.classes[raw.labels[row]],
            "predicted": raw.classes[int(columns["predicted"][row])],
            "density_gap": float(columns["density_gap"][row]),
            **{name: float(columns[name][row]) for name in PROBABILITIES},
        }


def gallery(raw: Images, s: int, labels: np.ndarray, file: Path) -> Drawn:
    """Figure 7: hits, a class a row: the photo, its map, the salient background greyed.

    The object is outlined.

    Args:
      raw, s, labels: as for `described`.
      file: pictures of the hits.
    """
    with np.load(file) as stored:
        pictures = dict(stored)
    found = list(described(raw, s, pictures["rows"].tolist(), labels))
    lines = sorted(enumerate(found), key=lambda item: item[1]["density_gap"])
    order = list(
        dict.fromkeys(hit["class"] for _, hit in lines)
    )  # the lowest of each, lowest first
    cells: list[Cell] = []
    for line, label in enumerate(order):
        mine = [k for k, hit in enumerate(found) if hit["class"] == label]
        for column, k in enumerate(mine[:IN_GALLERY]):
            cells += _cells(line, 3 * column, _shown(pictures, k), found[k])
    ranked = sorted(found, key=lambda hit: order.index(hit["class"]))
    return Drawn(sheet(cells), tuple(found[0]), [tuple(hit.values()) for hit in ranked])


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
    drawn = np.array(big)
    drawn[rim(~inside)], drawn[rim(inside)] = 0, 255
    return drawn


def _cells(row: int, column: int, shown: list[np.ndarray], hit: Mapping[str, Any]) -> list[Cell]:
    """The three pictures of a hit as cells of a sheet, side by side."""
    wrong = "" if hit["label"] == hit["predicted"] else ", WRONG"
    texts = (
        (hit["label"], f"says {hit['predicted']}{wrong}"),
        ("map", f"gap {hit['density_gap']:+.2f}"),
        ("salient greyed", _moved(hit)),
    )
    told = enumerate(zip(shown, texts, strict=True), column)
    return [(row, place, picture, title, text) for place, (picture, (title, text)) in told]


def _moved(hit: Mapping[str, Any]) -> str:
    before, after, control = (hit[f"target_{name}"] for name in ("none", "salient", "random"))
    if not np.isfinite(after):
        return f"p {before:.2f}, nothing to grey"
    return f"p {before:.2f} to {after:.2f} ({control:.2f})"
