"""Single images: which to show, what the networks saw of them, and all of them ranked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from rival_jax import noise
from rival_jax.configs.rfs import Config
from rival_jax.experiments.rfs.joined import Joined
from rival_jax.experiments.rfs.measures import SIDES, rfs
from rival_jax.experiments.subject import Subject
from rival_jax.noise_trials import Sweep, noised
from rival_jax.report.explorer import Seen
from rival_jax.report.figures import Drawn
from rival_jax.report.grids import Cell, contact, sheet
from rival_jax.report.results import NO_INTERVAL, Results, Row

FIGURE_1_LEVEL = {"linf": 60 / 255, "l2": 75.0}  # the study's, and about as strong in l2
EACH = 3  # images on either side, per model
CONTACT_CLASSES = 10
FILE = "ranked_images.csv"
PROBABILITIES = ("p_clean", "p_fg", "p_bg")  # of the true class, in the order of `KINDS`
HEADER = ("model", "level", "example", "class", *PROBABILITIES, "irfs")
NUMBERS = {  # columns of the explorer
    "irfs": "iRFS",
    "p_clean": "p",
    "p_fg": "p, noise on the object",
    "p_bg": "p, noise around it",
}
KINDS = ("photo", "foreground noise", "background noise")
Pictures = Callable[[str], Sequence[np.ndarray]]
"""Name of an example -> uint8 pictures [h, w, 3], as `KINDS`, and its mask [h, w]."""


def shown(norm: str, levels: Sequence[float]) -> float:
    """The level at which pictures are shown: the nearest to that of figure 1."""
    return min(levels, key=lambda level: abs(level - FIGURE_1_LEVEL[norm]))


def noised_pictures(config: Config, subject: Subject) -> Pictures:
    """Photos as the networks saw them under the first norm, at the level `shown`, in trial 0."""
    norm, examples = config.noise.norms[0], subject.first_examples()
    level = shown(norm, config.noise.levels(norm))
    sweep = Sweep(norm, SIDES, 1, 1, config.data.mask == "binary", config.noise.draws)
    draw = jax.jit(functools.partial(noised, sweep))
    rows = {name: row for row, name in enumerate(examples.names)}

    def pictures(name: str) -> Sequence[np.ndarray]:
        row = rows[name]
        example = examples.example(row)
        pixels = {key: np.float32(example[key][None]) / 255 for key in ("image", "mask")}
        batch = {**pixels, "noise_id": examples.noise_ids[[row]]}
        both = 255 * np.asarray(draw(batch, noise.key(config.seed), level, np.arange(1)))[0, 0]
        return example["image"], *both.round().astype(np.uint8), example["mask"]

    return pictures


def ranked(runs: Joined, model: str) -> Iterator[Row]:
    """All images, lowest p_bg - p_fg first: those that background noise hurts most.

    As in the study's figure 1, not by iRFS: that is -1 or 1 for an image whose probabilities are
    both next to 0, where there is nothing to see. The columns are `HEADER`; the probabilities are
    trial means at the level `shown`.
    """
    images = runs.images
    probability = images.values["probability"].at(model=model)
    norm = probability.of("norm")[1]
    level = shown(norm, probability.where(norm=norm).of("level"))
    clean = probability.at(norm="none", level=0.0, region="clean")
    noisy = probability.at(norm=norm, level=level)
    sides = (noisy.at(region=side) for side in SIDES)
    numbers = np.stack([one.values for one in (clean, *sides, rfs(noisy))], axis=1)
    names = images.names
    for i in np.argsort(numbers[:, 2] - numbers[:, 1], kind="stable").tolist():
        label = images.classes[images.labels[i]]
        told = (model, level, names[i], label, *numbers[i].tolist())
        yield dict(zip(HEADER, told, strict=True))


def extremes(runs: Joined, models: Sequence[str]) -> Iterator[tuple[str, str, list[Row]]]:
    """(model, "lowest" or "highest", rows): `EACH` of `ranked`, of different classes.

    On both sides the most extreme image comes first.
    """
    for model in models:
        rows = [*ranked(runs, model)]
        for side, order in (("lowest", rows), ("highest", rows[::-1])):
            first: dict[str, Row] = {}
            for row in order:
                first.setdefault(row["class"], row)
            yield model, side, [*first.values()][:EACH]


def explored(runs: Joined, pictures: Pictures) -> Iterator[Seen]:
    """All images in the data set's order, with the numbers of `ranked`, for the explorer."""
    found = {
        (model, row["example"]): [row[key] for key in NUMBERS]
        for model in runs.models
        for row in ranked(runs, model)
    }
    images = runs.images
    for name, label in zip(images.names, images.labels.tolist(), strict=True):
        numbers = {model: found[model, name] for model in runs.models}
        yield Seen(name, images.classes[label], pictures(name), numbers)


def tabled(runs: Joined, models: Sequence[str]) -> Results:
    """The numbers of `extremes`, one a row; "side" says which of them an image is."""
    return Results(
        {**row, "side": side, "measure": number, "estimate": row[number], **NO_INTERVAL}
        for _, side, rows in extremes(runs, models)
        for row in rows
        for number in (*PROBABILITIES, "irfs")
    )


def figure_1(runs: Joined, models: Sequence[str], pictures: Pictures) -> Drawn:
    """Two lines for each model: the images on which background noise hurts most, and least."""
    cells: list[Cell] = []
    told: list[tuple[Any, ...]] = []
    for place, (model, side, rows) in enumerate(extremes(runs, models)):
        told += [tuple(row.values()) for row in rows]
        for k, row in enumerate(rows):
            for i, picture in enumerate(pictures(row["example"])[: len(KINDS)]):
                title = "" if i or k else f"{model}, {side}"
                text = f"{KINDS[i] if i else row['class']}, p {row[PROBABILITIES[i]]:.2f}"
                cells.append((place, 3 * k + i, picture, title, text))
    return Drawn(sheet(cells), HEADER, told)


def one_of_each(runs: Joined, pictures: Pictures) -> Drawn:
    """One image of each class (up to `CONTACT_CLASSES`): as it is and under either noise."""
    images = runs.images
    _, first = np.unique(images.labels, return_index=True)
    every = images.names
    names = {every[i]: images.classes[images.labels[i]] for i in first[:CONTACT_CLASSES]}
    found = [
        (label, name, dict[str, np.ndarray](zip(KINDS, pictures(name), strict=False)))
        for name, label in names.items()
    ]
    return contact(found, ("class", "example"))
