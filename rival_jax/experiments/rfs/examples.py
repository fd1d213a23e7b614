"""Single images: which to show, what the networks saw of them, and all of them ranked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import noise
from rival_jax.configs.rfs import Config
from rival_jax.experiments.rfs.joined import Joined
from rival_jax.experiments.rfs.measures import rfs
from rival_jax.experiments.subject import Subject
from rival_jax.report.figures import Drawn
from rival_jax.report.grids import Cell, contact, sheet
from rival_jax.report.tables import Table, signed

FIGURE_1_LEVEL = {"linf": 60 / 255, "l2": 75.0}  # the study's, and about as strong in l2
EACH = 3  # images on either side, per model
SIDES = ("lowest", "highest")
CONTACT_CLASSES = 10
FILE = "ranked_images.csv"
HEADER = ("model", "level", "example", "class", "p_clean", "p_fg", "p_bg", "irfs")
KINDS = ("photo", "foreground noise", "background noise")
Pictures = Callable[[str], Sequence[np.ndarray]]
"""Name of an example -> it, with noise on the foreground, on the background; uint8 [h, w, 3]."""


def shown(norm: str, levels: Sequence[float]) -> float:
    """The level that pictures are shown at, the nearest to that of figure 1."""
    return min(levels, key=lambda level: abs(level - FIGURE_1_LEVEL[norm]))


def noised_pictures(config: Config, subject: Subject) -> Pictures:
    """The photos as the networks were shown them, under the first norm at the level `shown`.

    The noise is that of trial 0 as it was scored.
    """
    norm = config.noise.norms[0]
    level = shown(norm, config.noise.levels(norm))
    examples = subject.first_examples()
    draw = jax.jit(noise.gaussian, static_argnums=3)

    def pictures(name: str) -> Sequence[np.ndarray]:
        row = examples.names.index(name)
        example = examples.example(row)
        image, mask = (jnp.float32(example[key]) / 255 for key in ("image", "mask"))
        if config.data.mask == "binary":
            mask = (mask > 0.5).astype(jnp.float32)
        ids = jnp.asarray(examples.noise_ids[row : row + 1])
        unit = draw(noise.key(config.seed), ids, 0, image.shape)[0]

        def noised(region: str) -> np.ndarray:
            x = noise.corrupt(image, mask, unit, region=region, level=level, norm=norm)
            return np.asarray(jnp.round(255 * x)).astype(np.uint8)

        return example["image"], noised("foreground"), noised("background")

    return pictures


class Line(NamedTuple):
    """One image under noise of the level shown: trial-mean probabilities of its class.

    `HEADER` names the same columns in files.
    """

    model: str
    level: float
    example: str
    label: str
    p_clean: float
    p_fg: float
    p_bg: float
    irfs: float


def ranked(runs: Joined, model: str) -> Iterator[Line]:
    """All images, lowest p_bg - p_fg first: those that background noise hurts most.

    As in the study's figure 1, not by iRFS: that is -1 or 1 for an image whose probabilities are
    both next to 0, where there is nothing to see.
    """
    images = runs.images
    probability = images.values["probability"].at(model=model)
    norm = probability.of("norm")[1]
    level = shown(norm, probability.where(norm=norm).of("level"))
    clean = probability.at(norm="none", level=0.0, region="clean").values
    noisy = probability.at(norm=norm, level=level)
    fg, bg = (np.asarray(noisy.at(region=r).values) for r in ("foreground", "background"))
    irfs = rfs(noisy).values
    for i in np.argsort(bg - fg, kind="stable").tolist():
        numbers = (float(column[i]) for column in (clean, fg, bg, irfs))
        yield Line(model, level, images.names[i], images.classes[images.labels[i]], *numbers)


def extremes(runs: Joined, model: str) -> list[list[Line]]:
    """The first of `ranked`, `EACH` of different classes, and the last, the very last first."""
    lines, found = [*ranked(runs, model)], []
    for side in (lines, lines[::-1]):
        first: dict[str, Line] = {}
        for line in side:
            first.setdefault(line.label, line)
        found.append([*first.values()][:EACH])
    return found


def table(runs: Joined, models: Sequence[str]) -> Table:
    """The images of `extremes`, with their probabilities."""
    rows = [
        (model, side, line.label, line.example, *(f"{p:.2f}" for p in line[4:7]), signed(line.irfs))
        for model in models
        for side, lines in zip(SIDES, extremes(runs, model), strict=True)
        for line in lines
    ]
    header = ("model", "p_bg - p_fg", "class", "image", "p", *(f"p, {k}" for k in KINDS[1:]))
    return Table("Images with the lowest and the highest p_bg - p_fg", (*header, "iRFS"), rows)


def figure_1(runs: Joined, models: Sequence[str], pictures: Pictures) -> Drawn:
    """Two lines for each model: the images on which background noise hurts most, and least."""
    cells: list[Cell] = []
    told: list[Line] = []
    for row, (model, side) in enumerate((model, side) for model in models for side in (0, 1)):
        found = extremes(runs, model)[side]
        told += found
        for k, line in enumerate(found):
            for i, picture in enumerate(pictures(line.example)):
                title = "" if i or k else f"{model}, {SIDES[side]}"
                text = f"{KINDS[i] if i else line.label}, p {line[4 + i]:.2f}"
                cells.append((row, 3 * k + i, picture, title, text))
    return Drawn(sheet(cells), HEADER, told)


def one_of_each(runs: Joined, pictures: Pictures) -> Drawn:
    """One image of each class (up to `CONTACT_CLASSES`): as it is and under either noise."""
    images = runs.images
    _, first = np.unique(images.labels, return_index=True)
    names = [(images.classes[images.labels[i]], images.names[i]) for i in first[:CONTACT_CLASSES]]
    found: list[tuple[str, str, dict[str, np.ndarray]]] = [
        (label, name, dict(zip(KINDS, pictures(name), strict=True))) for label, name in names
    ]
    return contact(found, ("class", "example"))
