"""Outlines of objects as labelling tools save them: what LabelMe, CVAT and YOLO share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rival_jax.data.files import SUFFIXES, Finder, nfc
from rival_jax.data.mask_formats import of_labels
from rival_jax.data.orientation import noted, turned
from rival_jax.data.source import class_order
from rival_jax.data.transforms import open_photo
from rival_jax.runtime.plugins import no_such

VOID = 255
CLASS_FROM = ("outline", "folder")
Size = tuple[int, int]  # width, height


class Outline(NamedTuple):
    """One object, or a part of one."""

    word: str
    draw: Callable[[Size], np.ndarray]  # bool [h, w]
    area: float  # in pixels, or in shares of the photo


class Photo(NamedTuple):
    """A photo, and what is outlined on it."""

    name: str
    path: Path
    outlines: Sequence[Outline]
    size: Size | None = None  # of the photo that they were drawn on; None: as it is shown


class Outlined:
    """A `Source`: all outlines of a photo together are its object, drawn on demand.

    Photos are turned as their files note, since labelling tools show them so. If outlines were
    drawn on the stored pixels (`Photo.size` tells), they are turned too.
    """

    class_wnids = None

    def __init__(
        self, said: str, photos: Iterable[Photo], ignore: Sequence[str], class_from: str
    ) -> None:
        """Sorts photos by name; those without an object are left out, with a notice.

        Args:
          said: the data set's name and file, for errors.
          photos: each once.
          ignore: words of outlines whose pixels are not labelled, neither object nor background.
          class_from: "outline": a photo's class is the word with the largest outlines; "folder": it
            is the first folder in the photo's name.

        Raises:
          ValueError: for an unknown `class_from`, a word of `ignore` that no outline has, no photo
            with an object, and photos in no folder.
        """
        if class_from not in CLASS_FROM:
            raise ValueError(f"{said}: class_from: " + no_such(class_from, CLASS_FROM))
        every = sorted(photos, key=lambda photo: photo.name)
        words = {outline.word for photo in every for outline in photo.outlines}
        for word in ignore:
            if word not in words:
                raise ValueError(f"{said}: ignore: " + no_such(word, words))
        self._ignore = frozenset(ignore)
        found = [(photo, _areas(photo, self._ignore)) for photo in every]
        self._photos = [photo for photo, areas in found if areas]
        if not self._photos:
            raise ValueError(f"{said}: no photo has an outline of an object")
        without = [photo.name for photo, areas in found if not areas]
        counted = f"{len(without)} of {len(every)} photos have no outline of an object"
        self.notices = (f"{counted}, such as {without[0]}, and are left out",) if without else ()
        self.names = [photo.name for photo in self._photos]
        if class_from == "folder":
            if loose := [name for name in self.names if "/" not in name]:
                raise ValueError(f"{said}: class_from=folder, but photo {loose[0]} is in no folder")
            named = [name.split("/")[0] for name in self.names]
        else:
            named = [min(a, key=lambda word: (-a[word], word)) for _, a in found if a]
        self.classes = class_order(named)
        places = {name: place for place, name in enumerate(self.classes)}
        self.labels = np.array([places[name] for name in named], np.int32)

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, position: int) -> dict[str, Any]:
        name, path, outlines, size = self._photos[position]
        stored = open_photo(path, name)
        note = noted(stored)
        shown = turned(stored, note)
        size = size or shown.size
        if size not in (shown.size, stored.size):
            raise ValueError(f"photo {name} has {shown.size} pixels, but was labelled at {size}")
        labels = np.zeros(size[::-1], np.uint8)
        for outline in sorted(outlines, key=lambda outline: outline.word not in self._ignore):
            labels[outline.draw(size)] = VOID if outline.word in self._ignore else 1
        mask = of_labels(labels, VOID)
        mask = mask if size == shown.size else turned(mask, note)
        return {"image": shown, "mask": mask, "turned": note != 1}


def _areas(photo: Photo, ignore: frozenset[str]) -> Mapping[str, float]:
    """The area of each word's outlines; of objects alone."""
    areas: dict[str, float] = {}
    for outline in photo.outlines:
        if outline.word not in ignore:
            areas[outline.word] = areas.get(outline.word, 0) + outline.area
    return areas


def polygon(word: str, points: Any, scale: bool = False) -> Outline:
    """A polygon's inside.

    Args:
      points: [n, 2] or [2 n] of x, y; a photo's corner is at 0, 0 and its first pixel's centre at
        0.5, 0.5.
      scale: whether they are shares of the photo's width and height.

    Raises:
      ValueError: for fewer than three points, and what is no number.
    """
    corners = np.asarray(points, np.float64)
    if corners.size < 6 or corners.size % 2 or not np.isfinite(corners).all():
        raise ValueError(
            f"{word}: a polygon needs three points or more, got {corners.size} numbers"
        )
    x, y = corners.reshape(-1, 2).T
    area = abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2

    def draw(size: Size) -> np.ndarray:
        return filled(np.stack([x, y], 1) * (size if scale else (1, 1)), size)

    return Outline(word, draw, float(area))


def filled(corners: np.ndarray, size: Size) -> np.ndarray:
    """bool [h, w]: the pixels whose centres are inside a polygon [n, 2], by the even-odd rule."""
    width, height = size
    x, y = corners.T
    x2, y2 = np.roll(x, -1), np.roll(y, -1)
    rows = np.arange(height)[:, None] + 0.5
    row, edge = np.nonzero((y <= rows) != (y2 <= rows))  # the edges that each row's middle crosses
    slope = (x2 - x)[edge] / (y2 - y)[edge]
    across = x[edge] + (rows[row, 0] - y[edge]) * slope
    first = np.clip(np.ceil(across - 0.5), 0, width).astype(
        int
    )  # pixels from here on are beyond it
    crossed = np.zeros((height, width + 1), int)
    np.add.at(crossed, (row, first), 1)
    return crossed.cumsum(1)[:, :width] % 2 == 1


def box(word: str, left: float, top: float, right: float, bottom: float) -> Outline:
    """A rectangle."""
    return polygon(word, [left, top, right, top, right, bottom, left, bottom])


def pixels(word: str, inside: np.ndarray, left: int = 0, top: int = 0) -> Outline:
    """A drawn mask [h, w], at its place on the photo; what lies beyond the photo is cut off."""

    def draw(size: Size) -> np.ndarray:
        made = np.zeros(size[::-1], bool)
        part = made[top : top + inside.shape[0], left : left + inside.shape[1]]
        part[:] = inside[: part.shape[0], : part.shape[1]]
        return made

    return Outline(word, draw, float(inside.sum()))


class Photos:
    """The pictures of some folders, found by name in either form of Unicode."""

    def __init__(self, kind: str, *places: Path) -> None:
        self._kind, self._places = kind, places
        self._finders = [Finder(place) for place in places]

    def __call__(self, name: str, said: str) -> Path:
        """The picture called `name`, which may lack its suffix.

        Raises:
          ValueError: if it is missing, or its path leads out of the folders; `said`: where it is
            named.
        """
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{self._kind}: {said}: photo {name!r} is not below the data's folder")
        for find in self._finders:
            for one in (name, *(f"{name}{suffix}" for suffix in sorted(SUFFIXES))):
                if Path(one).suffix.lower() in SUFFIXES and (found := find(one)).is_file():
                    return found
        raise ValueError(
            f"{self._kind}: {said}: photo {name} is missing: looked in "
            + ", ".join(map(str, self._places))
        )


def name_of(path: Path, root: Path) -> str:
    """A photo's name: its path below a folder."""
    return nfc(path.relative_to(root).as_posix())
