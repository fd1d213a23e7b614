"""A page to sort, filter and compare all images of a run: one file that needs no server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from rival_jax.report import html
from rival_jax.runtime.workdir import write_text

FILE = "explorer.html"
MOST = 2000  # images on a page
SIDE, SMALL, MANY = 160, 96, 500  # pixels of a picture's longer side; if there are `MANY`, `SMALL`
QUALITY = 60  # of WebP


class Seen(NamedTuple):
    """An image on the page."""

    name: str
    label: str
    pictures: Sequence[np.ndarray]  # of each kind: uint8 [h, w, 3], or [h, w] for a mask
    numbers: Mapping[str, Sequence[float]]  # of each network: a number for each column


class Explorer(NamedTuple):
    """What the page shows."""

    title: str
    kinds: Sequence[str]  # what the pictures of an image are, such as "photo" and "mask"
    columns: Sequence[str]  # what the numbers of a network are; images are sorted by the first
    images: Iterable[Seen]  # made one by one; more than `MOST` are left out, and the page says so
    count: int  # how many there are


def write_explorer(path: Path, wanted: Explorer) -> None:
    """Writes the page."""
    title, kinds, columns, images, count = wanted
    side = SIDE if count < MANY else SMALL
    found: list[tuple[Any, ...]] = []
    networks: dict[str, None] = {}
    for one, _ in zip(images, range(MOST), strict=False):
        networks |= dict.fromkeys(one.numbers)
        numbers = {  # JSON has no NaN
            name: [round(float(x), 4) if np.isfinite(x) else None for x in values]
            for name, values in one.numbers.items()
        }
        found.append((one.name, one.label, [webp(p, side) for p in one.pictures], numbers))
    data = {"kinds": kinds, "columns": columns, "networks": [*networks], "images": found}
    more = count - len(found)
    text = html.render("explorer.html.jinja", title=title, data=data, more=more, side=side)
    write_text(path, text)


def webp(picture: np.ndarray, side: int) -> str:
    """A picture, no larger than `side`, as base64 of a WebP file."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side))
    return html.encoded(image.convert("RGB"), "WEBP", quality=QUALITY, method=0)
