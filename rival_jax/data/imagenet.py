"""ImageNet-1k: the validation photos as distributed, and later labels of them by others.

    ROOT/ILSVRC2012_val_00000001.JPEG    50,000 flat files, or their tar, with a list of labels
    ROOT/[SPLIT/]WNID/NAME.JPEG          folders of synsets

Labels, ReaL's lists and ImageNet-X's factors are found by the number or name in each file's own
name, so nothing shifts if photos are missing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rival_jax.data import archives, class_maps
from rival_jax.data.archives import Files
from rival_jax.data.evaluation import WNID, Evaluation, of_synsets

LAYOUT = (
    "ILSVRC2012_val_00000001.JPEG ... (or their tar) with a list of labels, [val/]WNID/*.JPEG, or "
    "TFDS's data_dir with imagenet2012; 50,000 photos; real.json beside them, if protocol `real`"
)
FILES = {
    "ILSVRC2012_img_val.tar": (
        6_744_924_160,
        "c7e06a6c0baccf06d8dbeb6577d71efff84673a5dbdd50633ab44f8ea0456ae0",
    ),
    "real.json": (388_478, "d83e9bff374c631aae8439eb064c7019acc56e1b3bc3f56b8380c2a710b0220b"),
}
COUNT = 50_000
LABELS = "e2be2424e9a7c29a2bf44e018ee2175c849f344b67ddce1cf55830bc2462eb4e"  # of all, as int32
AGREED = 0.9002  # share of ReaL's photos whose original label is among its labels
VALIDATION = ("val", "validation", "ILSVRC2012_img_val", "imagenet/val", "imagenet")
NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})")
LISTS = ("LOC_val_solution.csv", "validation_labels.txt", "imagenet2012_validation_labels.txt")


def load(
    root: Path, split: str, *, labels: str = "", real: str = "", imagenet_x: str = ""
) -> Evaluation:
    """The photos of a split.

    Args:
      root: a folder or tar, or TFDS's data_dir.
      split: "train", which needs ROOT/train; any other name means validation.
      labels: for flat files: a list of 50,000 synsets, one per line in the order of the files, or
        lines with a file's name and its synset, like Kaggle's LOC_val_solution.csv; below root, or
        beside the tar. "": such a file there, or the list in tensorflow-datasets.
      real: ReaL's file of reassessed labels, real.json, in the same places.
      imagenet_x: ImageNet-X's file of factors, imagenet_x_val_multi_factor.jsonl, in the same
        places: a factor is "yes" or "no" for a photo, "" for photos not in the file.

    Raises:
      ValueError: see `archives.at` and `evaluation.of_synsets`; for lists that do not fit.
    """
    train = split == "train"
    if train and not (root / "train").is_dir():
        raise ValueError(f"imagenet: no folder {root / 'train'}; its photos are expected there")
    inner = ("train",) if train else VALIDATION
    tfds = {"tfds": "imagenet2012", "split": "train" if train else "validation"}
    files = archives.at(root, *inner, **tfds).trimmed(class_maps.index_of())
    if not train and files.where.name == "train":
        raise ValueError(f"imagenet: {files.where} holds training photos; pass split=train")
    beside = root if root.is_dir() else root.parent
    whole = () if train else (COUNT,)
    if "/" in files.pictures[0]:
        found = of_synsets("imagenet", files, range(1000), whole=whole)
    else:
        found = _flat(files, _list(beside, labels))
    if real:
        found = dataclasses.replace(found, real=_real(beside / real, found.names))
    if imagenet_x:
        found = dataclasses.replace(found, factors=_factors(beside / imagenet_x, found))
    return found


def check(found: Evaluation) -> list[str]:
    """What is wrong with the labels of a whole validation set, or of one with ReaL's labels."""
    faults, labels = [], np.asarray(found.labels)
    if len(found) == COUNT:
        order = np.argsort([_number(name, Path("labels")) for name in found.names])
        if hashlib.sha256(labels[order].astype("<i4").tobytes()).hexdigest() != LABELS:
            faults.append("labels of the 50,000 validation photos are not the published ones")
    if found.real:
        agreed = [label in real for label, real in zip(labels, found.real, strict=True) if real]
        if agreed and np.mean(agreed) < AGREED - 5 * (AGREED * (1 - AGREED) / len(agreed)) ** 0.5:
            faults.append(f"labels are among ReaL's for {np.mean(agreed):.0%} of photos, not 90 %")
    return faults


def _flat(files: Files, path: Path) -> Evaluation:
    """Flat files with labels from a list, under the names they would have in folders."""
    lines, places = _text(path).splitlines(), {}
    named = bool(lines) and "ILSVRC2012_val_" in "".join(lines[:2])
    synsets = {}
    for number, line in enumerate(lines, 1):
        name, wnid = NUMBERED.search(line), WNID.search(line)
        if wnid and (name or not named):
            synsets[int(name[1]) if name else number] = wnid[0]
    if len(synsets) != COUNT:
        raise ValueError(
            f"imagenet: {path} has {len(synsets)} lines with a synset, expected {COUNT:,}; the "
            "numbers of ImageNet's own development kit are in another order and are not read"
        )
    for name in files.pictures:
        number = NUMBERED.search(name)
        if not number or int(number[1]) not in synsets:
            raise ValueError(
                f"imagenet: {files.where}: {name} is not called ILSVRC2012_val_ and a number to "
                f"{COUNT}, so it has no label in {path.name}; lay photos out as WNID/NAME.JPEG"
            )
        places[f"{synsets[int(number[1])]}/{name}"] = files.places[name]
    found = of_synsets("imagenet", Files(files.where, places), range(1000), whole=(COUNT,))
    return dataclasses.replace(found, told=(f"imagenet: labels are those of {path}",))


def _list(beside: Path, labels: str) -> Path:
    if labels:
        return beside / labels
    for name in LISTS:
        if (beside / name).is_file():
            return beside / name
    spec = importlib.util.find_spec("tensorflow_datasets")
    for place in spec.submodule_search_locations or () if spec else ():
        path = Path(place, "datasets", "imagenet2012", "validation_labels.txt")
        if path.is_file():
            return path
    raise ValueError(
        f"imagenet: the photos in {beside} lie in no folders of synsets, and no list of their "
        "labels is there: give it the option labels, a file of 50,000 synsets in the "
        "order of the files or Kaggle's LOC_val_solution.csv; tensorflow-datasets brings one too"
    )


def _real(path: Path, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """ReaL's labels of each photo."""
    try:
        lists = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"imagenet: {path} is not ReaL's list: {error}") from error
    good = isinstance(lists, list) and len(lists) == COUNT
    if not good or not all(
        isinstance(some, list) and all(type(i) is int and 0 <= i < 1000 for i in some)
        for some in lists
    ):
        raise ValueError(f"imagenet: {path}: expected {COUNT:,} lists of numbers from 0 to 999")
    known: dict[tuple[int, ...], tuple[int, ...]] = {}  # most are of one label: few differ
    every = (tuple(lists[_number(name, path) - 1]) for name in names)
    return tuple(known.setdefault(some, some) for some in every)


def _number(name: str, path: Path) -> int:
    found = NUMBERED.search(name)
    if not found or not 0 < int(found[1]) <= COUNT:
        raise ValueError(
            f"imagenet: {path.name} goes by the number in ILSVRC2012_val_00000001.JPEG, and photo "
            f"{name} has none"
        )
    return int(found[1])


def _factors(path: Path, found: Evaluation) -> Mapping[str, Sequence[str]]:
    """ImageNet-X's factors; if a label differs from the photo's, the lists do not fit."""
    rows = {}
    try:
        for line in _text(path).splitlines():
            row = json.loads(line)
            rows[row["file_name"]] = {**row, "class": row["class"]}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"imagenet: {path} is not ImageNet-X's lines of JSON: {error}") from error
    given = [rows.get(name.rpartition("/")[2]) for name in found.names]
    for name, label, row in zip(found.names, np.asarray(found.labels), given, strict=True):
        if row and row["class"] != label:
            raise ValueError(
                f"imagenet: photo {name} is of class {label}, in {path.name} of {row['class']}: "
                "one of the two lists of labels is in another order"
            )
    first = next((row for row in given if row), {})
    keys = [key for key, value in first.items() if value in (0, 1) and key != "class"]
    words = {0: "no", 1: "yes"}
    return {key: [words.get(row.get(key), "") if row else "" for row in given] for key in keys}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"imagenet: {path} cannot be read: {error}") from error
