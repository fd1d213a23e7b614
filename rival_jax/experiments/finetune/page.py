"""The page of a finetuning: comparison, sets A and B, classes, curves, maps before and after."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps

from rival_jax.configs.finetune import Config
from rival_jax.experiments.finetune.numbers import GAIN
from rival_jax.experiments.finetune.tests import Network, Shown
from rival_jax.experiments.finetune.variants import ORIGINAL
from rival_jax.report import figures, tables
from rival_jax.report.document import Document, Picture, Section
from rival_jax.report.figures import Drawn
from rival_jax.report.grids import sheet
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, counted, percent, ratio

MOST_CURVES = 8


def page(
    config: Config,
    results: Results,
    networks: Sequence[Network],
    losses: Results,
    shown: Callable[[], Iterable[Shown]],
) -> Document:
    """All that the results say, the training curves, and maps before and after.

    Args:
      networks: the original, then the finetuned ones.
      losses: see `numbers.losses`.
      shown: gives images as the original and the first finetuned network see them.
    """
    pure = results.where(alpha=1.0)
    levels, gained = (main(pure.where(**WHOLE, contrast=c)) for c in ("", GAIN))
    tuned, mixed = gained.of("variant"), mixtures(results)
    compared = [
        _compared("comparison", levels.where(measure="accuracy"), "test", "accuracy, %"),
        _compared("rfs", levels.where(measure="rfs"), "norm", "RFS"),
    ]
    maps = Picture("maps", lambda: drawn_maps(networks[1].name, shown()), *MAPS, photos=True)
    few = losses.where(model=losses.of("model")[:MOST_CURVES])
    told: dict[str, Any] = {"by": "part", "panel": "model", "label": "total loss", "across": 4}
    draw = functools.partial(figures.curves, few, "epoch", **told)
    told = {"by": "variant", "panel": "test", "label": "accuracy, %", "percent": True}
    line = functools.partial(figures.curves, mixed, "alpha", **told)
    between = Section(
        "Between the original and the finetuned weights",
        pictures=[Picture("path", line, *PATH)],
        tables=[tables.pivot(MIXTURES, mixed, ("variant", "alpha"), "test", percent)],
    )
    return Document(
        title="Relevance finetuning, before and after",
        subtitle=f"{config.models[0]}, {counted(len(tuned), 'variant')}, "
        f"{counted(len(config.seeds), 'seed')}",
        headline=[sentence(gained.where(variant=name), name) for name in tuned][:8],
        sections=[
            Section(
                "Before and after",
                pictures=[picture for picture in compared if picture],
                tables=[_table(LEVELS, levels), _table(GAINS, gained)],
            ),
            Section("Where it looks", pictures=[maps], tables=[alignment(pure)]),
            Section("Classes with masks and without", tables=[sets(pure), classes(pure, networks)]),
            *([between] if mixed.rows else []),
            Section(
                "Training", pictures=[Picture("training", draw, *TRAINING)], tables=[seeds(pure)]
            ),
        ],
        method=method(config),
        caveats=CAVEATS,
        source="The method is due to Chefer et al., NeurIPS 2022 (RobustViT).",
    )


def main(found: Results) -> Results:
    """Accuracy on every test set, IoU of the maps on the last, and RFS; "shown" says which."""
    last = found.of("test")[-1:]
    chosen = found.where(measure="accuracy") + found.where(measure="iou", test=last)
    return (chosen + found.where(measure="rfs")).changed(
        lambda row: {**row, "shown": SHOWN[row["measure"]].format(**row)}
    )


def sentence(gained: Results, name: str) -> str:
    """What a variant gained where."""
    told: dict[str, list[str]] = {measure: [] for measure in WORDS}
    for row in gained:
        told[row["measure"]].append(WORDS[row["measure"]].format(_points(row), ratio(row), **row))
    said = [f"accuracy {', '.join(told['accuracy'])}", *told["iou"], *told["rfs"]]
    return f"{name}: {'; '.join(said)}."


def alignment(pure: Results) -> Table:
    """How well maps find objects."""
    found = pure.where(**WHOLE, contrast="", measure=tuple(MEASURES)).changed(_with_test_set)
    told: dict[str, Any] = {"titles": MEASURES, "columns": list(MEASURES)}
    told["order"] = found.of("variant")
    return tables.pivot(ALIGNMENT, found, ("variant", "test set"), "measure", percent, **told)


def sets(pure: Results) -> Table:
    """Accuracy and gain on the classes with masks in training (A) and on the others (B)."""
    found = pure.where(set=("A", "B")).changed(_with_test_set)
    told: dict[str, Any] = {"titles": {"": "accuracy", GAIN: "gain"}}
    told["order"] = found.where(contrast=GAIN).of("variant")
    return tables.pivot(SETS, found, ("variant", "test set", "set"), "contrast", percent, **told)


def classes(pure: Results, networks: Sequence[Network]) -> Table:
    """Accuracy of every class on the last test set, and what each variant gained."""
    last = pure.of("test")[-1]
    found = pure.where(test=last, **{"class": pure.of("class")})
    found = found.where(variant=ORIGINAL) + found.where(contrast=GAIN)
    masked = networks[0].masked
    found = found.changed(lambda row: {**row, "set": "A" if row["class"] in masked else "B"})
    title = f"Accuracy gained by class on {last}, points; sets of the first seed"
    return tables.pivot(title, found, ("class", "set"), "variant", percent)


def seeds(pure: Results) -> Table:
    """Every seed's accuracy, and RFS, and their standard deviation."""
    each = main(pure.where(seed=pure.of("seed")))
    spread: list[Row] = []
    for name, shown in itertools.product(each.of("variant"), each.of("shown")):
        rows = each.where(variant=name, shown=shown).rows
        if len(rows) > 1:
            values = np.std([row["estimate"] for row in rows], ddof=1)
            spread.append({**rows[0], "seed": SPREAD, "estimate": float(values)})
    title, every = "Every seed: accuracy, percent, and RFS", each + Results(spread)
    rows, order = ("variant", "seed"), each.of("variant")
    return tables.pivot(title, every, rows, "shown", _seed_cell, order=order)


def mixtures(results: Results) -> Results:
    """Accuracy along the lines from the original's weights, "alpha" 0, to every variant's, 1."""
    accuracy = results.where(**WHOLE, measure="accuracy", contrast="")
    start = accuracy.where(variant=ORIGINAL).changed(lambda row: {**row, "alpha": 0.0})
    found: list[Row] = []
    for name in dict.fromkeys(row["variant"] for row in accuracy if row["alpha"] != 1):
        line = [*start, *accuracy.where(variant=name)]
        line.sort(key=lambda row: row["alpha"])
        found += [{**row, "variant": name, "alpha": f"{row['alpha']:g}"} for row in line]
    return Results(found)


def drawn_maps(network: str, shown: Iterable[Shown]) -> Drawn:
    """A column for each image: the photo, its mask, and its map before and after."""
    cells, lines = [], []
    for column, one in enumerate(shown):
        rows = [(one.image, one.label, ""), (np.repeat(one.mask[..., None], 3, 2), "mask", "")]
        for when, (strength, says) in zip(("before", "after"), one.seen, strict=True):
            rows.append((_over(one.image, strength), when, says))
        for row, (picture, title, text) in enumerate(rows):
            cells.append((row, column, picture, "" if row and column else title, text))
        lines.append((one.name, one.label, network, *(says for _, says in one.seen)))
    return Drawn(sheet(cells), ("example", "class", "network", "says_before", "says_after"), lines)


def method(config: Config) -> list[str]:
    """How it was trained and measured, in sentences."""
    train, split, look, told = config.train, config.split, config.evaluate, config.statistics
    kind = {"bca": "BCa", "percentile": "percentile"}[told.method]
    part = f", of parameters named {train.trained!r} alone" if train.trained else ""
    held = "of the same classes" if split.validation == "training" else "of the other classes"
    return [
        f"Finetuned with AdamW{part}, {train.epochs} epochs, {train.batch} images an update, "
        f"first learning rate {train.learning_rate:g} unless a setting says otherwise, "
        f"{split.per_class} images with masks of each class of set A. The checkpoint shown is "
        f"the {look.checkpoint} one; the best epoch is that with the smallest loss on "
        f"{split.validation_per_class} other images {held}.",
        f"Maps are GAE relevance of the {look.explained} class, cut at their mean. RFS is computed "
        "from accuracies averaged over classes and noise levels.",
        f"Brackets: {100 * told.confidence:g} % {kind} bootstrap intervals over images, resampled "
        "within classes, of the mean over seeds. What seeds add is in the table of seeds. Gains "
        "are paired: the same images, the same noise.",
    ]


def _compared(name: str, levels: Results, panel: str, label: str) -> Picture | None:
    lines, share = levels.where(variant=ORIGINAL), name != "rfs"
    told: dict[str, Any] = {"panel": panel, "label": label, "percent": share, "lines": lines}
    draw = functools.partial(figures.dots, levels, "variant", **told)
    return Picture(name, draw, *(COMPARISON if share else RFS)) if levels.rows else None


def _table(title: str, levels: Results) -> Table:
    order = levels.of("variant")
    return tables.pivot(title, levels, ("variant",), "shown", _cell, order=order)


def _cell(row: Row) -> str:
    return ratio(row) if row["measure"] == "rfs" else percent(row)


def _seed_cell(row: Row) -> str:
    sign = "" if row["seed"] == SPREAD else "+"
    estimate = row["estimate"]
    return f"{estimate:{sign}.2f}" if row["measure"] == "rfs" else f"{100 * estimate:.1f}"


def _points(interval: Row) -> str:
    estimate, low, high = (
        f"{round(100 * interval[end], 1) + 0.0:+.1f}" for end in ("estimate", "low", "high")
    )
    return f"{estimate} [{low}, {high}]"


def _with_test_set(row: Row) -> Row:
    return {**row, "test set": row["test"]}


def _over(photo: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """A map in [0, 1] laid over its photo."""
    weight = 0.7 * np.nan_to_num(strength)[..., None]
    heat = 255 * colormaps["inferno"](np.nan_to_num(strength))[..., :3]
    return ((1 - weight) * photo + weight * heat).astype(np.uint8)


SPREAD = "standard deviation"
MEASURES = {
    "iou": "IoU",
    "pixel_accuracy": "pixel accuracy",
    "average_precision": "average precision",
}
WHOLE: dict[str, None] = dict.fromkeys(("seed", "class", "set"))  # of all seeds and classes
SHOWN = {"accuracy": "{test}", "iou": "IoU, {test}", "rfs": "RFS, {norm}"}
WORDS = {
    "accuracy": "{0} points on {test}",
    "iou": "IoU of its maps {0} points",
    "rfs": "RFS ({norm}) {1}",
}
ALIGNMENT = "Maps cut at their mean against masks, percent"
GAINS = "Gained over the original, points and RFS, paired"
LEVELS = "Accuracy and IoU, percent, and RFS; means over seeds"
SETS = "Set A: classes with masks in training; set B: without; percent"
MIXTURES = "Accuracy of (1 - alpha) original + alpha finetuned weights, percent"
COMPARISON = (
    "Accuracy of every variant on every test set, with intervals; the upright line is the "
    "original's.",
    "Intervals of accuracy for the original network and every finetuned variant.",
)
RFS = (
    "RFS of every variant, with intervals; the upright line is the original's.",
    "Intervals of RFS for the original network and every finetuned variant.",
)
TRAINING = (
    "The total loss over epochs: on the training images and on held-out images; 'kept' is the best "
    "epoch. Epoch 0 is the original.",
    "Training and held-out loss of each training over epochs.",
)
MAPS = (
    "Images of the last test set, one of each class: the photo, its mask, and the relevance of the "
    "predicted class before and after the first variant's finetuning; above the maps what the "
    "network says.",
    "Photos, masks and relevance maps before and after finetuning.",
)
PATH = (
    "Accuracy along the straight line between the original's weights (0) and the finetuned ones "
    "(1), with intervals.",
    "Accuracy on every test set for mixtures of weights.",
)
CAVEATS = [
    (
        "That a map on the object means the decision rests on it.",
        "The loss trains the maps themselves, so their IoU must rise; accuracy on other "
        "backgrounds and RFS are the independent evidence.",
    ),
    (
        "How the result varies over training images, beyond the seeds run.",
        "Intervals resample test images; few seeds say little of how another choice of training "
        "images would end.",
    ),
    (
        "That one variant beats another by more than its tuning.",
        "All variants share learning rate and epochs unless the config says otherwise; a variant "
        "tuned for itself may do better.",
    ),
]
