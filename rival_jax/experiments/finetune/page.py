"""The page of a finetuning: comparison, sets A and B, classes, curves, maps before and after."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps

from rival_jax.configs.finetune import Config
from rival_jax.experiments.finetune.measures import GAIN, Network
from rival_jax.experiments.finetune.variants import ORIGINAL
from rival_jax.report import figures, tables
from rival_jax.report.document import Document, Picture, Section
from rival_jax.report.figures import Drawn
from rival_jax.report.grids import sheet
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, counted, percent, ratio
from rival_jax.report.words import Words

WORDS = Words(__package__)
MOST_CURVES = 8
SPREAD = "standard deviation"
MEASURES = WORDS.titles("maps")
Shown = tuple[str, str, np.ndarray, np.ndarray, list[tuple[np.ndarray, str]]]
"""(name, class, photo uint8 [h, w, 3], mask uint8 [h, w], map and class that each network gives)"""
WHOLE: dict[str, None] = dict.fromkeys(("seed", "class", "set"))  # rows over all seeds and classes


def page(
    config: Config,
    results: Results,
    networks: Sequence[Network],
    losses: Results,
    shown: Callable[[], Iterable[Shown]],
) -> Document:
    """All results, the training curves, and maps before and after.

    Args:
      networks: the original, then the finetuned ones.
      losses: see `measures.losses`.
      shown: returns images as the original and the first finetuned network see them.
    """
    pure = results.where(alpha=1.0)
    levels, gained = (main(pure.where(**WHOLE, contrast=c)) for c in ("", GAIN))
    tuned, mixed = gained.of("variant"), mixtures(results)
    few = losses.where(model=losses.of("model")[:MOST_CURVES])
    told = {"by": "part", "panel": "model", "label": "total loss", "across": 4}
    training = functools.partial(figures.curves, few, "epoch", **told)
    told = {"by": "variant", "panel": "test", "label": "accuracy, %", "percent": True}
    path = functools.partial(figures.curves, mixed, "alpha", **told)
    maps = functools.partial(drawn_maps, networks[1].name, shown)
    maps = WORDS.picture("maps", maps, photos=True)
    compared = [_table("levels", levels), _table("gains", gained)]
    title, line = "Between the original and the finetuned weights", ("variant", "alpha")
    table = tables.pivot(WORDS.text("mixed"), mixed, line, "test", percent)
    between = Section(title, (), [WORDS.picture("path", path)], [table])
    return Document(
        title=WORDS.text("title"),
        subtitle=f"{config.models[0]}, {counted(len(tuned), 'variant')}, "
        f"{counted(len(config.seeds), 'seed')}",
        headline=[sentence(gained.where(variant=name), name) for name in tuned][:8],
        sections=[
            Section("Before and after", (), _compared(levels), compared),
            Section("Where it looks", (), [maps], [alignment(pure)]),
            Section("Classes with masks and without", tables=[sets(pure), classes(pure, networks)]),
            *([between] if mixed.rows else []),
            Section("Training", (), [WORDS.picture("training", training)], [seeds(pure)]),
        ],
        method=_method(config),
        caveats=WORDS.caveats(),
        source=WORDS.text("source"),
    )


def main(found: Results) -> Results:
    """Accuracy on every test set, IoU of the maps on the last, and RFS; "shown" says which."""
    chosen = found.where(measure="accuracy") + found.where(measure="iou", test=found.of("test")[-1])
    titles = WORDS.titles("shown")
    return (chosen + found.where(measure="rfs")).changed(
        lambda row: {**row, "shown": titles[row["measure"]].format(**row)}
    )


def sentence(gained: Results, name: str) -> str:
    """What a variant gained, in one sentence."""
    points = lambda value: f"{round(100 * value, 1) + 0.0:+.1f}"  # noqa: E731
    told: dict[str, list[str]] = {"accuracy": [], "iou": [], "rfs": []}
    for row in gained:
        estimate, low, high = (points(row[end]) for end in figures.ENDS)
        given = {"points": f"{estimate} [{low}, {high}]", "ratio": ratio(row), **row}
        told[row["measure"]].append(WORDS.text(row["measure"], **given))
    said = [f"accuracy {', '.join(told['accuracy'])}", *told["iou"], *told["rfs"]]
    return f"{name}: {'; '.join(said)}."


def alignment(pure: Results) -> Table:
    """How well maps find objects."""
    found = pure.where(**WHOLE, contrast="", measure=tuple(MEASURES)).changed(_with_test_set)
    told: dict[str, Any] = {"titles": MEASURES, "columns": [*MEASURES]}
    told["order"] = found.of("variant")
    title, rows = WORDS.text("alignment"), ("variant", "test set")
    return tables.pivot(title, found, rows, "measure", percent, **told)


def sets(pure: Results) -> Table:
    """Accuracy and gain on the classes with masks in training (A) and on the others (B)."""
    found = pure.where(set=("A", "B")).changed(_with_test_set)
    told: dict[str, Any] = {"titles": {"": "accuracy", GAIN: "gain"}}
    told["order"] = found.where(contrast=GAIN).of("variant")
    title, rows = WORDS.text("sets"), ("variant", "test set", "set")
    return tables.pivot(title, found, rows, "contrast", percent, **told)


def _with_test_set(row: Row) -> Row:
    return {**row, "test set": row["test"]}


def classes(pure: Results, networks: Sequence[Network]) -> Table:
    """Accuracy of every class on the last test set, and each variant's gain."""
    last, masked = pure.of("test")[-1], networks[0].masked
    found = pure.where(test=last, **{"class": pure.of("class")})
    found = found.where(variant=ORIGINAL) + found.where(contrast=GAIN)
    found = found.changed(lambda row: {**row, "set": "A" if row["class"] in masked else "B"})
    title = WORDS.text("classes", test=last)
    return tables.pivot(title, found, ("class", "set"), "variant", percent)


def seeds(pure: Results) -> Table:
    """Every seed's accuracy, and RFS, and their standard deviation."""
    each = main(pure.where(seed=pure.of("seed")))
    spread: list[Row] = []
    for name in each.of("variant"):
        for shown in each.of("shown"):
            rows = each.where(variant=name, shown=shown).rows
            values = [row["estimate"] for row in rows]
            if len(rows) > 1:
                estimate = float(np.std(values, ddof=1))
                spread.append({**rows[0], "seed": SPREAD, "estimate": estimate})
    rows, order, every = ("variant", "seed"), each.of("variant"), each + Results(spread)
    return tables.pivot(WORDS.text("seeds"), every, rows, "shown", _seed_cell, order=order)


def mixtures(results: Results) -> Results:
    """Accuracy along the lines from the original's weights, "alpha" 0, to every variant's, 1."""
    accuracy = results.where(**WHOLE, measure="accuracy", contrast="")
    start = accuracy.where(variant=ORIGINAL).changed(lambda row: {**row, "alpha": 0.0})
    found: list[Row] = []
    for name in dict.fromkeys(row["variant"] for row in accuracy if row["alpha"] != 1):
        line = sorted([*start, *accuracy.where(variant=name)], key=lambda row: row["alpha"])
        found += [{**row, "variant": name, "alpha": f"{row['alpha']:g}"} for row in line]
    return Results(found)


def drawn_maps(network: str, shown: Callable[[], Iterable[Shown]]) -> Drawn:
    """A column for each image: the photo, its mask, and its map before and after."""
    cells, lines = [], []
    for column, (name, label, photo, mask, seen) in enumerate(shown()):
        rows = [(photo, label, ""), (np.repeat(mask[..., None], 3, 2), "mask", "")]
        for when, (strength, says) in zip(("before", "after"), seen, strict=True):
            strength = np.nan_to_num(strength)
            heat, weight = colormaps["inferno"](strength)[..., :3], 0.7 * strength[..., None]
            laid = ((1 - weight) * photo + weight * 255 * heat).astype(np.uint8)
            rows.append((laid, when, says))
        for row, (picture, title, text) in enumerate(rows):
            cells.append((row, column, picture, "" if row and column else title, text))
        lines.append((name, label, network, *(says for _, says in seen)))
    return Drawn(sheet(cells), ("example", "class", "network", "says_before", "says_after"), lines)


def _compared(levels: Results) -> list[Picture]:
    """Accuracy on the test sets and RFS, each with the original's as lines."""
    found = []
    named = (("comparison", "accuracy", "test", "accuracy, %"), ("rfs", "rfs", "norm", "RFS"))
    for name, measure, panel, label in named:
        mine = levels.where(measure=measure)
        told: dict[str, Any] = {"panel": panel, "label": label, "percent": measure == "accuracy"}
        told["lines"] = mine.where(variant=ORIGINAL)
        draw = functools.partial(figures.dots, mine, "variant", **told)
        found.append(WORDS.picture(name, draw))
    return found


def _method(config: Config) -> list[str]:
    train, told = config.train, config.statistics
    given = {**vars(train), **vars(config.split), **vars(config.evaluate)}
    given["part"] = f", of parameters named {train.trained!r} alone" if train.trained else ""
    given["held"] = WORDS.text(config.split.validation)
    given |= {"percent": 100 * told.confidence, "kind": told.method.replace("bca", "BCa")}
    return WORDS.texts("method", **given)


def _table(title: str, levels: Results) -> Table:
    cell = lambda row: ratio(row) if row["measure"] == "rfs" else percent(row)  # noqa: E731
    order = levels.of("variant")
    return tables.pivot(WORDS.text(title), levels, ("variant",), "shown", cell, order=order)


def _seed_cell(row: Row) -> str:
    sign = "" if row["seed"] == SPREAD else "+"
    estimate = row["estimate"]
    return f"{estimate:{sign}.2f}" if row["measure"] == "rfs" else f"{100 * estimate:.1f}"
