"""Saliency rows as arrays, and the study's ways of averaging them (RIVAL10 study, 5.4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rival_jax import statistics
from rival_jax.report.rows import read_json
from rival_jax.runtime import row_files

METRICS = {
    "iou": "IoU",
    "dice": "Dice",
    "average_precision": "average precision",
    "density_gap": "density gap",
    "precision": "mass inside",
    "coverage_25": "coverage, 25 %",
    "coverage_50": "coverage, 50 %",
    "coverage_75": "coverage, 75 %",
    "pointing_game": "pointing game",
}
REGIONS = ("salient", "random", "least")  # of the background, greyed
EFFECTS = {
    f"{of}_{name}": f"{title}, p({words})"
    for of, words in (("target", "explained class"), ("true", "true class"))
    for name, title in (
        *((f"drop_{region}", f"drop, {region} greyed") for region in REGIONS),
        ("excess", "drop, salient beyond random"),
    )
}
MEASURES = {"accuracy": "accuracy", **METRICS, **EFFECTS}
MOST_CLASSES = 10  # in a gallery
TEXT = ("label", "predicted", "target")


@dataclasses.dataclass(frozen=True)
class Alignment:
    """What was measured of every image, by subject: a model under a method.

    Attributes:
      models, methods: of the subjects [s].
      names, classes: of the images and of the data set.
      labels: int [n]. predicted: int [s, n].
      flat: bool [s, n], maps that have no highest place.
      area: [n], the object's share of the image, at the first model's size.
      values: measure -> float64 [s, n], see `MEASURES`; NaN where it is not defined.
      before: probability of the explained class ("target") and of the "true" one, [s, n].
    """

    models: tuple[str, ...]
    methods: tuple[str, ...]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    predicted: np.ndarray
    flat: np.ndarray
    area: np.ndarray
    values: dict[str, np.ndarray]
    before: dict[str, np.ndarray]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names: the model's, with the method where there are several."""
        if len(set(self.methods)) == 1:
            return self.models
        return tuple(f"{m} {how}" for m, how in zip(self.models, self.methods, strict=True))

    def by(self, classes: str) -> np.ndarray:
        """The class that every image is filed under, [s, n]: its "true" or "predicted" one."""
        return self.predicted if classes == "predicted" else np.tile(self.labels, (len(self), 1))

    def __len__(self) -> int:
        return len(self.models)


def read(folder: Path) -> Alignment:
    """The finished run in a work directory.

    Raises:
      FileNotFoundError: if it is not finished.
      ValueError: if the models were not measured on the same images.
    """
    units, classes = read_json(folder / "units.json"), read_json(folder / "data.json")["classes"]
    tables = [read_unit(folder / unit["rows"], classes) for unit in units]
    names = tables[0]["example"]
    for unit, table in zip(units, tables, strict=True):
        if table["example"] != names:
            raise ValueError(
                f"model {unit['model']} was measured on {len(table['example'])} images, the first "
                f"on {len(names)} or on others; models are compared on the same images: run those "
                "whose photos were skipped in a --workdir of their own"
            )
    stacked = {key: np.stack([t[key] for t in tables]) for key in tables[0] if key != "example"}
    return Alignment(
        models=tuple(unit["model"] for unit in units),
        methods=tuple(unit["method"] for unit in units),
        names=tuple(names),
        classes=tuple(classes),
        labels=stacked["label"][0],
        predicted=stacked["predicted"],
        flat=stacked["flat"],
        area=stacked["area"][0],
        values=measures(stacked),
        before={of: stacked[f"{of}_none"] for of in ("target", "true")},
    )


def read_unit(file: Path, classes: Sequence[str]) -> dict[str, Any]:
    """The columns of one unit: arrays, classes as their positions; example names as a list."""
    table, position = row_files.read(file), {name: i for i, name in enumerate(classes)}
    found: dict[str, Any] = {"example": table["example"].to_pylist()}
    for name in TEXT:
        found[name] = np.array([position[word] for word in table[name].to_pylist()], np.int32)
    numbers = (n for n in table.column_names if n not in found and not _is_text(table[n].type))
    return found | {n: table[n].to_numpy() for n in numbers}


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_dictionary(kind)


def measures(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`MEASURES` from the rows' columns: metrics as they are, probabilities as their drops."""
    found = {"accuracy": columns["predicted"] == columns["label"]}
    found |= {name: columns[name] for name in METRICS}
    for of in ("target", "true"):
        before = columns[f"{of}_none"].astype(np.float64)
        for region in REGIONS:
            found[f"{of}_drop_{region}"] = before - columns[f"{of}_{region}"]
        found[f"{of}_excess"] = found[f"{of}_drop_salient"] - found[f"{of}_drop_random"]
    return {name: found[name].astype(np.float64) for name in MEASURES}


def class_table(values: np.ndarray, classes: np.ndarray, num_classes: int) -> np.ndarray:
    """Means of every class over the images that have a value, [s, c]; NaN where none has.

    Args:
      values: [s, n], NaN where not defined.
      classes: int [s, n], what every image is filed under.
    """
    kept = np.isfinite(values)
    means = np.full((len(values), num_classes), np.nan)
    for s, some in enumerate(kept):
        if some.any():
            means[s] = statistics.class_means(values[s, some], classes[s, some], num_classes)
    return means


def heat_map(table: np.ndarray) -> np.ndarray:
    """The supplement's figure: [s, c] with the means of columns and rows added, [s + 1, c + 1].

    A subject's mean weighs its classes equally; classes without a value are left out of it.
    """
    wide = np.concatenate([table, mean(table, 1)[:, None]], axis=1)
    return np.concatenate([wide, mean(wide, 0)[None]])


def group_means(column: np.ndarray, groups: Mapping[str, Sequence[int]]) -> np.ndarray:
    """Figure 9, left: the mean over each group's subjects, [g]."""
    return np.array([mean(column[list(members)], 0) for members in groups.values()])


def mean(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean of what is not NaN; NaN where nothing is."""
    some = np.isfinite(values)
    count = some.sum(axis)
    return np.where(count > 0, np.where(some, values, 0).sum(axis) / np.maximum(count, 1), np.nan)


def lowest(gap: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
    """The spurious-feature finder: the images of each class with the lowest density gap.

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


def gallery_rows(file: Path, classes: str, count: int) -> np.ndarray:
    """The hits of one unit that a gallery shows: those of the classes with the lowest gaps.

    Args:
      file: the unit's rows.
      classes: "true" or "predicted", what images are filed under.
      count: hits of each class.
    """
    table = row_files.read(file, ["label", "predicted", "density_gap"])
    words = np.array(table["predicted" if classes == "predicted" else "label"].to_pylist())
    codes = np.unique(words, return_inverse=True)[1]
    gap = table["density_gap"].to_numpy()
    rows = lowest(gap, codes, count)
    of = codes[rows]
    worst = {code: gap[rows][of == code].min() for code in np.unique(of)}
    shown = sorted(worst, key=worst.__getitem__)[:MOST_CLASSES]
    return rows[np.isin(of, shown)]
