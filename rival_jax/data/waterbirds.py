"""Waterbirds: land or water birds before land or water, by group (Sagawa et al. 2020; WILDS).

    ROOT/metadata.csv     img_filename, y (1: waterbird), place (1: water), split (0, 1, 2)

The worst of the four groups counts. An adjusted average weights groups by their frequency in the
split "train", given by its `factors`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rival_jax.data import archives
from rival_jax.data.evaluation import Evaluation, one_of

LAYOUT = "metadata.csv and the photos that its column img_filename names"
USUAL = ("waterbirds", "waterbirds_v1.0", "waterbird_complete95_forest2water2")  # folders
SPLITS = {"train": "0", "val": "1", "test": "2"}
CLASSES = {"0": "landbird", "1": "waterbird"}
PLACES = {"0": "land", "1": "water"}


def load(root: Path, split: str) -> Evaluation:
    """The photos of a split, with the factors `place` and `group`.

    Its own two classes: outputs are in the order landbird, waterbird.

    Args:
      root: folder of metadata.csv, or an archive of it.
      split: "train", "val" or "test".

    Raises:
      ValueError: for an unknown split, invalid values in metadata.csv, missing photos; see also
        `archives.at`.
    """
    one_of("waterbirds", "split", split, SPLITS)
    files = archives.at(root, *USUAL)
    tables = [name for name in files.places if name.rpartition("/")[2] == "metadata.csv"]
    if len(tables) != 1:
        raise ValueError(f"waterbirds: {len(tables)} files metadata.csv in {root}, expected one")
    files = files.below(tables[0].rpartition("/")[0])
    rows = [row for row in files.table("metadata.csv") if row.get("split") == SPLITS[split]]
    for column, values in (("img_filename", files.places), ("y", CLASSES), ("place", PLACES)):
        wrong = [row.get(column) for row in rows if row.get(column) not in values]
        if wrong or not rows:
            raise ValueError(
                f"waterbirds: {files.where / 'metadata.csv'}: {len(wrong)} of {len(rows)} lines of "
                f"split {split} have an unknown {column}, {wrong[:1]}: expected {LAYOUT}"
            )
    rows.sort(key=lambda row: row["img_filename"])
    place = [PLACES[row["place"]] for row in rows]
    birds = [CLASSES[row["y"]] for row in rows]
    group = [f"{bird} on {where}" for bird, where in zip(birds, place, strict=True)]
    names = [row["img_filename"] for row in rows]
    return Evaluation(
        "waterbirds",
        files,
        tuple(CLASSES.values()),
        names,
        np.array([int(row["y"]) for row in rows], np.int32),
        ((), ()),
        factors={"place": place, "group": group},
    )
