"""SI-Score: cut-out objects on backgrounds, varied in size, place or angle.

    area/CLASS/IMAGE_ID.jpg      the set `area`; beside the class folders lies metadata.csv

Only metadata.csv has the factors. Its `foreground_class` is SI-Score's own number, not ImageNet's;
image ids hold within one set. An object appears in very many pictures: the unit to resample is an
object on a background. Classes are not balanced over the factors' values, since large objects drop
out. Source: Djolonga et al. 2021, "On robustness and transferability".
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from rival_jax.data import archives, class_maps
from rival_jax.data.archives import Files
from rival_jax.data.evaluation import Evaluation, in_folders, one_of

KINDS = {"area": "area", "rotation": "rotation", "location": "location20_area02_min0pc"}
LAYOUT = (
    "area/CLASS/IMAGE_ID.jpg with area/metadata.csv (or rotation/, location20_area02_min0pc/), or "
    "their zip; 61 classes, 92,884 pictures in area"
)
FILES = {
    "size.zip": (3_488_115_773, ""),
    "rotation.zip": (1_500_323_931, ""),
    "location.zip": (19_550_491_774, ""),
}
SAID = {"rotation": (39_540,), "location": (541_548,)}  # pictures; nobody counted them here
FACTORS = {"area": "area", "rotation": "rotation", "x": "x_coord", "y": "y_coord"}
UNIT = ("foreground_class", "foreground_instance", "background")
OWN_NUMBERS = "foreground_classes_metadata_indices.csv"


def load(root: Path, split: str, *, kind: str = "area") -> Evaluation:
    """All pictures of one of the three sets, for any split.

    The varying ones of `area`, `rotation`, `x` and `y` are factors, rounded to hundredths or whole
    degrees, since grids of floats cannot be compared by equality.

    Args:
      root: the set's folder or its parent, or its zip.
      split: any.
      kind: "area", whose archive is size.zip, "rotation" or "location".

    Raises:
      ValueError: for folders that are not one of the 61 classes, for pictures without a line in
        metadata.csv or with a line of another class; see also `archives.at`.
    """
    one_of("siscore", "kind", kind, KINDS)
    known = [one for one in class_maps.siscore() if one.released]
    folders = (KINDS[kind], f"object_{'size' if kind == 'area' else kind}")
    files = archives.at(root, *folders, *(f"siscore/{folder}" for folder in folders))
    files = files.trimmed({one.name for one in known})
    _check_kind(files, kind)
    label_of = {one.name: label for label, one in enumerate(known)}
    names, labels = in_folders("siscore", files, label_of)
    rows = _metadata(files)
    own = {row["int"]: row["label"] for row in files.table(OWN_NUMBERS)}
    given = []
    for name in names:
        folder, _, file = name.rpartition("/")
        row = rows.get(file.rpartition(".")[0].lstrip("0") or "0")
        said = own.get(row["foreground_class"], folder) if row else ""
        if row is None or said != folder:
            fault = f"says that it is {said!r}" if row else "has no line of this image_id"
            raise ValueError(
                f"siscore: picture {name}: {files.where / 'metadata.csv'} {fault}: it must be that "
                "of the same set"
            )
        given.append(row)
    words = {name: [_word(name, row[column]) for row in given] for name, column in FACTORS.items()}
    # Another set may use the same image id for another picture.
    places = {f"{kind}/{name}": files.places[name] for name in names}
    return Evaluation(
        f"siscore {kind}",
        Files(files.where, places),
        tuple(one.name for one in known),
        list(places),
        labels,
        tuple((one.index,) for one in known),
        tuple((one.wnid,) for one in known),
        class_maps.columns("siscore"),
        factors={name: some for name, some in words.items() if len(set(some)) > 1},
        units=["/".join(row[key] for key in UNIT) for row in given],
        whole=(92_884,) if kind == "area" else (),
        said=SAID.get(kind, ()),
    )


def _check_kind(files: Files, kind: str) -> None:
    for other, folder in KINDS.items():
        if other != kind and files.where.name == folder:
            raise ValueError(
                f"siscore: {files.where} is the set {other!r}, not {kind!r}; give "
                f"it the option kind={other} or name the other folder"
            )


def _metadata(files: Files) -> Mapping[str, Mapping[str, str]]:
    """The lines of metadata.csv by image id."""
    rows, table = {}, files.table("metadata.csv")
    if not table:
        raise ValueError(
            f"siscore: no metadata.csv in {files.where}: factors are there alone; it lies beside "
            "the class folders in SI-Score's archives"
        )
    lacking = {"image_id", *FACTORS.values(), *UNIT} - table[0].keys()
    if lacking:
        raise ValueError(f"siscore: {files.where / 'metadata.csv'} has no column {min(lacking)}")
    for row in table:
        if row["image_id"] in rows:
            raise ValueError(
                f"siscore: {files.where / 'metadata.csv'} has image_id {row['image_id']} twice: "
                "ids are those of one set, so do not join the tables of several"
            )
        rows[row["image_id"]] = row
    return rows


@functools.lru_cache(1000)  # so that equal words are one object
def _word(factor: str, value: str) -> str:
    """A number as a word: 0.30000000000000004 is "0.30", 21.0 is "21".

    >>> _word("area", "0.30000000000000004"), _word("rotation", "21.0")
    ('0.30', '21')
    """
    return f"{float(value):.0f}" if factor == "rotation" else f"{float(value):.2f}"
