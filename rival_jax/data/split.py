"""Which classes and images are trained on, and which validate: by their names and a seed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from rival_jax.data.source import Source, class_order, name_hash
from rival_jax.runtime.plugins import no_such


class Split(NamedTuple):
    """The images of one seed."""

    masked: tuple[str, ...]  # set A: the classes whose masks are trained on
    train: tuple[int, ...]  # positions in the source
    validation: tuple[int, ...]


def split(
    source: Source,
    seed: int,
    *,
    per_class: int,
    validation_per_class: int,
    by: str = "sorted",
    classes: Sequence[str] = (),
    num_classes: int = 0,
    images: str = "first",
    validation: str = "training",
    on_few: str = "error",
) -> Split:
    """Set A, and the images that are trained on and that validate; the options of `config.split`.

    Args:
      source: all classes and images.
      seed: of both orders below.
      per_class: images to train on, of each class of set A.
      validation_per_class: images to validate on, of each class of set A, or of each other class.
      by: the order of the classes, of which the first are set A: "sorted" or "seed" (shuffled).
      classes: set A by name, instead.
      num_classes: of set A; 0: half of them.
      images: the order of a class's images, of which the first are taken: "first" (by name) or
        "seed" (shuffled).
      validation: "training": on set A; "held_out": on the other classes.
      on_few: if a class has fewer images: "error", or "take" what there is.

    Raises:
      ValueError: for an unknown class, too few classes, or a class with too few images.

    >>> from rival_jax.data import load
    >>> scenes = load("scenes", "", "train", per_class=4)
    >>> split(scenes, 0, num_classes=2, per_class=2, validation_per_class=1).masked
    ('bird', 'car')
    """
    masked, others = _classes(source, seed, by, classes, num_classes)
    if validation == "held_out" and not others:
        raise ValueError(
            "config.split.validation='held_out' needs classes that are not trained on; all "
            f"{len(masked)} are. Lower --config.split.num_classes or pass "
            "--config.split.validation=training"
        )

    def take(name: str, asked: int) -> list[int]:
        mine = _ordered(source, name, seed if images == "seed" else None)
        if len(mine) < asked and (on_few == "error" or len(mine) < 2):
            raise ValueError(
                f"class {name} has {len(mine)} images, and {asked} are asked for: lower "
                "--config.split.per_class or validation_per_class, or take what there is with "
                "--config.split.on_few=take"
            )
        return mine[:asked]

    extra = validation_per_class
    if validation == "held_out":
        training = [take(name, per_class) for name in masked]
        validating = [take(name, extra) for name in others]
    else:
        every = [take(name, per_class + extra) for name in masked]
        training = [mine[: len(mine) - extra] for mine in every]
        validating = [mine[len(mine) - extra :] for mine in every]
    parts = (sorted(itertools.chain(*part)) for part in (training, validating))
    return Split(masked, *map(tuple, parts))


def _classes(
    source: Source, seed: int, by: str, named: Sequence[str], asked: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Set A, and the other classes."""
    order = list(class_order(source.classes))
    if by == "seed":
        order.sort(key=lambda name: name_hash(f"{seed} class {name}", 8))
    for name in named:
        if name not in source.classes:
            raise ValueError("config.split.classes: " + no_such(name, source.classes))
    order = [*named, *(name for name in order if name not in named)]
    count = len(named) or asked or len(order) // 2
    if not 0 < count <= len(order):
        raise ValueError(f"config.split.num_classes={count}, but there are {len(order)} classes")
    return tuple(order[:count]), tuple(order[count:])


def _ordered(source: Source, name: str, seed: int | None) -> list[int]:
    """Positions of a class's images, by name, or shuffled by a seed."""
    mine = np.flatnonzero(np.asarray(source.labels) == source.classes.index(name)).tolist()
    # Without folder and ending, so that a copy of the photos beside other masks gives the same.
    stems = {i: PurePosixPath(source.names[i]).stem for i in mine}
    if seed is None:
        return sorted(mine, key=stems.__getitem__)
    return sorted(mine, key=lambda i: name_hash(f"{seed} image {name}/{stems[i]}", 8))
