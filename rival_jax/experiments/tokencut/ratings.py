"""How good the masks of TokenCut are: from rows to the table of results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rival_jax.experiments.tokencut.photos import Photo
from rival_jax.named import Named
from rival_jax.report.results import Results, Row
from rival_jax.report.study import Means, Measure, Study
from rival_jax.runtime import row_files

MEASURES = {  # of a photo: what the tables call it
    "area": "area of the mask",
    "iou": "IoU with the true mask",
    "iou_coarse": "the same before refinement",
    "box": "boxes overlap by more than 1/2",
    "centred": "IoU of a centred box of that area",
    "agreement": "IoU before and after refinement",
}
ABSENT = "photo too small: fewer tokens than 3"


def derived(values: dict[str, Named]) -> dict[str, Named]:
    """Differences between networks too, on the photos that both have values of."""
    if len(values["area"].of("model")) < 2:
        return values
    return values | {f"{name} difference": values[name].differences("model") for name in MEASURES}


def measures(means: Means) -> Iterator[Measure]:
    """Every measure, its means over the classes first, and its differences."""
    for name in MEASURES:
        yield Measure(name, means[name].mean("class"))
        yield Measure(name, means[name])
    for name in MEASURES:
        if f"{name} difference" in means:
            yield Measure(name, means[f"{name} difference"].mean("class"))


STUDY = Study(
    "tokencut",
    axes=("model",),
    columns=tuple(MEASURES),
    measures=measures,
    sparse=True,
    derived=derived,
    signed=tuple(f"{name} difference" for name in MEASURES),
)


class Cut(NamedTuple):
    """What became of one photo."""

    photo: Photo
    reason: str  # why there is no mask; "" where there is one
    doubt: str  # what is odd about the mask; "" where nothing is
    iou: float  # NaN without a mask, or without a true one
    iou_coarse: float  # before refinement; NaN without a true one
    component: np.ndarray | None  # bool [rows, columns], the tokens; None if there are too few


def cuts(files: Iterable[Path], models: Sequence[str], photos: Sequence[Photo]) -> dict[str, list]:
    """Of every network a `Cut` of every photo, in their order, from all files of rows."""
    columns = (
        "model",
        "example",
        "reason",
        "doubt",
        "iou",
        "iou_coarse",
        "rows",
        "columns",
        "component",
    )
    found: dict[tuple[str, str], tuple[Any, ...]] = {}
    for file in files:
        table = row_files.read(file, columns)
        for model, example, *told, height, width, bits in zip(
            *(table[name].to_pylist() for name in columns), strict=True
        ):
            pixels = np.unpackbits(np.frombuffer(bits, np.uint8), count=height * width)
            found[model, example] = (*told, pixels.reshape(height, width).astype(bool))
    nothing = (ABSENT, "", np.nan, np.nan, None)
    return {m: [Cut(p, *found.get((m, p.name), nothing)) for p in photos] for m in models}


def results(
    files: Sequence[Path], made: Mapping[str, Sequence[Cut]], classes: Sequence[str], **options: Any
) -> Results:
    """Every measure of every network, by class, and paired differences; then counts of photos.

    A mean is one over photos of a class that have a value, then over classes. A skipped photo has
    no area and no IoU, and its box counts as missed.

    Args:
      files: of rows.
      made: see `cuts`.
      classes: of the data set.
      options: of `statistics.bootstrap`.
    """
    found = STUDY.results(STUDY.read(files, classes), **options)
    return found + Results(
        row for model, some in made.items() for row in _counts(model, some, classes)
    )


def _counts(model: str, made: Sequence[Cut], classes: Sequence[str]) -> Iterator[Row]:
    """How many photos a network was given, of all classes and of each, and what became of them."""
    labels = [cut.photo.label for cut in made]
    ends = {"contrast": "", **dict.fromkeys(("low", "high", "p"), np.nan)}
    of_all = {
        "photos": len(made),
        "masks": sum(not cut.reason for cut in made),
        "skipped": sum(bool(cut.reason) for cut in made),
        "doubtful": sum(bool(cut.doubt) for cut in made),
    }
    whole = {"study": STUDY.name, "model": model, "images": len(made), "classes": len(set(labels))}
    for measure, count in of_all.items():
        yield {**whole, **ends, "measure": measure, "estimate": float(count)}
    for label in sorted(set(labels)):
        count, name = labels.count(label), {"class": classes[label]}
        told = {"measure": "photos", "estimate": float(count), "images": count, "classes": 1}
        yield {**whole, **ends, **name, **told}


def notices(made: Mapping[str, Sequence[Cut]]) -> list[str]:
    """What a reader must know before the masks are used: how many are doubtful, and not rated."""
    told = []
    for model, some in made.items():
        doubtful, masks = sum(bool(cut.doubt) for cut in some), sum(not cut.reason for cut in some)
        if doubtful:
            told.append(
                f"{model}: {doubtful} of {masks} masks are doubtful by what they look like; look "
                "at them before use (doubtful.csv lists them, the page shows them first)"
            )
    if np.isnan([cut.iou_coarse for some in made.values() for cut in some]).all():
        told.append(
            "There are no true masks of these photos: how good the masks are was not measured. "
            "Look at a sample of them before use"
        )
    return told
