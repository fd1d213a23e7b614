"""Photos outlined for YOLO's segmentation: a line of numbers for each object.

    ROOT/data.yaml                   names of the classes (or another .yaml, or classes.txt)
    ROOT/images/SPLIT/NAME.jpg       or ROOT/SPLIT/images, as Roboflow exports
    ROOT/labels/SPLIT/NAME.txt       "class x y x y x y ...", in shares of the photo's sides

The split "test" may be called "val" or "valid". Lines of five numbers are boxes, and are refused.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from rival_jax.data.files import SUFFIXES
from rival_jax.data.outlines import Outline, Outlined, Photo, Photos, name_of, polygon

SAME = {"test": ("test", "val", "valid"), "val": ("val", "valid"), "valid": ("valid", "val")}


def load(
    root: Path, split: str, *, ignore: tuple[str, ...] = (), class_from: str = "outline"
) -> Outlined:
    """The photos of a split, sorted by name.

    Args:
      root: folder of the data.
      split: as its folder is called.
      ignore, class_from: see `outlines.Outlined`.

    Raises:
      ValueError: for missing folders, names of classes or photos, and for a malformed line.
    """
    names, words = _names(root), SAME.get(split, (split,))
    ways = [(root / "images" / word, root / "labels" / word) for word in words]
    ways += [(root / word / "images", root / word / "labels") for word in words]
    ways.append((root / "images", root / "labels"))
    images, labels = next((way for way in ways if way[1].is_dir()), ways[-1])
    files = {file.relative_to(labels).with_suffix(""): file for file in labels.rglob("*.txt")}
    if not files:
        raise ValueError(f"yolo: no outlines: looked for {', '.join(str(way[1]) for way in ways)}")
    find = Photos("yolo", images)
    outlines = {
        find(name.as_posix(), file.name): _read(file, names) for name, file in files.items()
    }
    every = [path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES]
    photos = (Photo(name_of(path, images), path, outlines.get(path, ())) for path in every)
    return Outlined(f"yolo: {labels}", photos, ignore, class_from)


def _names(root: Path) -> dict[int, str]:
    """The classes' names."""
    if (root / "classes.txt").is_file():
        return dict(enumerate((root / "classes.txt").read_text(encoding="utf-8").split("\n")))
    files = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    for file in files:
        try:
            told = yaml.safe_load(file.read_text(encoding="utf-8"))["names"]
            return {
                int(k): str(v)
                for k, v in (told.items() if isinstance(told, dict) else enumerate(told))
            }
        except KeyError:
            continue
        except (TypeError, ValueError, yaml.YAMLError) as error:
            why = " ".join(str(error).split())
            raise ValueError(f"yolo: {file} does not name the classes: {why}") from error
    raise ValueError(f"yolo: no names of classes: looked for {root / 'data.yaml'}, classes.txt")


def _read(file: Path, names: dict[int, str]) -> list[Outline]:
    """The outlines of a file."""
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            first, *shares = line.split() or [""]
            if not first:
                continue
            if len(shares) in (4, 5):
                raise ValueError("a box, not an outline: train and export YOLO's segmentation")
            outline = polygon(names[int(first)], [float(share) for share in shares], scale=True)
        except (KeyError, ValueError) as error:
            why = f"no class {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"yolo: {file}, line {number}: {why}") from error
        found.append(outline)
    return found
