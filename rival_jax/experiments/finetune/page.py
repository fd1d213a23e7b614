"""The page of a finetuning: comparison, sets A and B, classes, curves, maps before and after."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from rival_jax.configs.finetune import Config
from rival_jax.experiments.finetune.measures import GAIN, Network
from rival_jax.experiments.finetune.variants import ORIGINAL
from rival_jax.report.document import Document
from rival_jax.report.figures import ENDS, Drawn
from rival_jax.report.grids import heated, sheet
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import counted, percent, ratio
from rival_jax.report.words import Words

WORDS = Words(__package__)
MOST_CURVES = 8
SPREAD = "standard deviation"
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
    whole, train, told = pure.where(**WHOLE), config.train, config.statistics
    levels, gained = (main(whole.where(contrast=c)).having(contrast="") for c in ("", GAIN))
    tuned, mixed = gained.of("variant"), mixtures(results)
    fields = {**vars(train), **vars(config.split), **vars(config.evaluate)}
    fields |= {"test": pure.of("test")[-1], "held": WORDS.text(config.split.validation)}
    fields |= {"part": f", of parameters named {train.trained!r} alone" if train.trained else ""}
    fields |= {"percent": 100 * told.confidence, "kind": told.method.replace("bca", "BCa")}
    shown_of = {
        **dict.fromkeys(("comparison", "rfs", "levels"), levels),
        "gains": gained,
        "seeds": seeds(pure),
        "path": mixed,
        "mixed": mixed,
        "sets": pure.where(variant=tuned).changed(_named),
        "classes": classes(pure, networks[0].masked),
        "training": losses.where(model=losses.of("model")[:MOST_CURVES]),
    }
    maps = {"maps": functools.partial(drawn_maps, networks[1].name, shown)}
    cells = {"number": _cell}
    return WORDS.document(
        fields,
        subtitle=f"{config.models[0]}, {counted(len(tuned), 'variant')}, "
        f"{counted(len(config.seeds), 'seed')}",
        headline=[sentence(gained.where(variant=name), name) for name in tuned][:8],
        sections=WORDS.sections(whole, fields, pictures=maps, of=shown_of, cells=cells),
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
    told: dict[str, list[str]] = {"accuracy": [], "iou": [], "rfs": []}
    for row in gained:
        estimate, low, high = (f"{round(100 * row[end], 1) + 0.0:+.1f}" for end in ENDS)
        given = {"points": f"{estimate} [{low}, {high}]", "ratio": ratio(row), **row}
        told[row["measure"]].append(WORDS.text(row["measure"], **given))
    said = [f"accuracy {', '.join(told['accuracy'])}", *told["iou"], *told["rfs"]]
    return f"{name}: {'; '.join(said)}."


def classes(pure: Results, masked: Sequence[str]) -> Results:
    """The original's accuracy of every class on the last test set, and each variant's gain."""
    found = pure.where(test=pure.of("test")[-1], **{"class": pure.of("class")})
    found = found.where(variant=ORIGINAL) + found.where(contrast=GAIN)
    return found.changed(
        lambda row: {**row, "set": "A" if row["class"] in masked else "B", "contrast": ""}
    )


def seeds(pure: Results) -> Results:
    """Every seed's accuracy, and RFS, and their standard deviation."""
    each = main(pure.where(seed=pure.of("seed")))
    spread: list[Row] = []
    for name, shown in itertools.product(each.of("variant"), each.of("shown")):
        rows = each.where(variant=name, shown=shown).rows
        if len(rows) > 1:
            estimate = float(np.std([row["estimate"] for row in rows], ddof=1))
            spread.append({**rows[0], "seed": SPREAD, "estimate": estimate})
    return each + Results(spread)


def mixtures(results: Results) -> Results:
    """Accuracy along the lines from the original's weights, "alpha" 0, to every variant's, 1."""
    accuracy = results.where(**WHOLE, measure="accuracy", contrast="")
    start = accuracy.where(variant=ORIGINAL).having(alpha=0.0)
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
        for when, (found, says) in zip(("before", "after"), seen, strict=True):
            rows.append((heated(photo, np.nan_to_num(found)), when, says))
        for row, (picture, title, text) in enumerate(rows):
            cells.append((row, column, picture, "" if row and column else title, text))
        lines.append((name, label, network, *(says for _, says in seen)))
    return Drawn(sheet(cells), ("example", "class", "network", "says_before", "says_after"), lines)


def _named(row: Row) -> Row:
    """A level or a gain, told apart by its "number"."""
    return {**row, "number": "gain" if row["contrast"] else "accuracy", "contrast": ""}


def _cell(row: Row) -> str:
    """Percent, or RFS; standard deviations without a sign."""
    if row["measure"] != "rfs":
        return percent(row)
    return f"{row['estimate']:.2f}" if row.get("seed") == SPREAD else ratio(row)
