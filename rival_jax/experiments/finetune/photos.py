"""Which images a finetuning sees: classes with masks, samples of each, and held-out images."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from rival_jax import data
from rival_jax.configs import options
from rival_jax.configs.finetune import Config
from rival_jax.data import Examples, Source
from rival_jax.data.chosen import Chosen
from rival_jax.data.source import class_order, name_hash, refuse_training
from rival_jax.experiments.subject import Material
from rival_jax.runtime.members import Data
from rival_jax.runtime.plugins import no_such
from rival_jax.types import Batch, Geometry


class Split(NamedTuple):
    """The images of one seed."""

    masked: tuple[str, ...]  # set A: the classes whose masks are trained on
    train: tuple[int, ...]  # positions in the source
    validation: tuple[int, ...]


class Images(NamedTuple):
    """The same images, decoded and checked."""

    masked: tuple[str, ...]
    train: Examples
    validation: Examples


def split(source: Source, config: Config, seed: int) -> Split:
    """Classes and images of one seed, by `config.split`.

    Classes in the order of their names, or shuffled by the seed; the first half or `num_classes`
    of them are set A. Images in the order of their names, or shuffled by the seed. Raises
    ValueError for an unknown class, too few classes, or a class with too few images.
    """
    c = config.split
    order = list(class_order(source.classes))
    if c.by == "seed":
        order.sort(key=lambda name: name_hash(f"{seed} class {name}", 8))
    for name in c.classes:
        if name not in source.classes:
            raise ValueError("config.split.classes: " + no_such(name, source.classes))
    order = [*c.classes, *(name for name in order if name not in c.classes)]
    count = len(c.classes) or c.num_classes or len(order) // 2
    if not 0 < count <= len(order):
        raise ValueError(
            f"config.split.num_classes={count}, but {config.data.name} has {len(order)} classes"
        )
    masked, others = tuple(order[:count]), order[count:]
    if c.validation == "held_out" and not others:
        raise ValueError(
            "config.split.validation='held_out' needs classes that are not trained on; all "
            f"{count} are. Lower --config.split.num_classes or pass --config.split.validation="
            "training"
        )
    extra = c.validation_per_class
    take = functools.partial(_images, source, config, seed)
    if c.validation == "held_out":
        training = [take(name, c.per_class) for name in masked]
        validation = [take(name, extra) for name in others]
    else:
        every = [take(name, c.per_class + extra) for name in masked]
        training = [mine[: len(mine) - extra] for mine in every]
        validation = [mine[len(mine) - extra :] for mine in every]
    parts = (sorted(itertools.chain(*part)) for part in (training, validation))
    return Split(masked, *map(tuple, parts))


def _images(source: Source, config: Config, seed: int, name: str, asked: int) -> list[int]:
    """The first `asked` images of a class."""
    mine = np.flatnonzero(np.asarray(source.labels) == source.classes.index(name)).tolist()
    if len(mine) < asked and (config.split.on_few == "error" or len(mine) < 2):
        raise ValueError(
            f"class {name} has {len(mine)} images in split {config.data.train_split!r} of "
            f"{config.data.name}, and {asked} are asked for: lower --config.split.per_class or "
            "validation_per_class, or take what there is with --config.split.on_few=take"
        )
    # Drawn by the name without folder and ending, so that a copy of the photos beside other masks
    # gives the same images.
    stems = {i: PurePosixPath(source.names[i]).stem for i in mine}
    shuffled = config.split.images == "seed"
    drawn = lambda i: name_hash(f"{seed} image {name}/{stems[i]}", 8)  # noqa: E731
    return sorted(mine, key=drawn if shuffled else stems.__getitem__)[:asked]


class Training:
    """The training images of every seed, from one data set.

    Raises ValueError as `split`, for bad examples, and for seeds with different numbers of images.
    """

    def __init__(self, material: Material, source: Source, geometry: Geometry):
        self.config, self.source = material.config, source
        self.images: dict[int, Images] = {}
        for seed in self.config.seeds:
            masked, *parts = split(source, self.config, seed)
            said = f"images and masks of seed {seed}"
            read = (material.read(Chosen(source, rows), geometry, said) for rows in parts)
            self.images[seed] = Images(masked, *read)
        counts = {len(images.train) for images in self.images.values()}
        if len(counts) > 1:
            raise ValueError(
                f"seeds have different numbers of training images ({sorted(counts)}), because some "
                "were skipped; run them one by one with --config.seeds"
            )
        self.per_seed = counts.pop()

    def data(self, labels: np.ndarray, size: int, needs: Sequence[str] = ()) -> Data:
        """Batches for the loop; held-out images in batches of `size`.

        Args:
          labels: the network's output for each class [c].
          needs: what else the objective is given, see `objectives`.
        """
        c = self.config.train

        def epoch(seed: int, number: int, first: int) -> Iterator[Batch]:
            examples = self.images[seed].train
            told = {"first": first, "augmentation": c.augmentation}
            batches = examples.augmented_batches(c.batch, number, seed, **told)
            return self._completed(batches, examples, labels, needs, seed, number)

        def held_out(seed: int) -> Iterator[Batch]:
            examples = self.images[seed].validation
            return self._completed(examples.batches(size), examples, labels, needs, seed)

        name = lambda seed, index: self.images[seed].train.names[index]  # noqa: E731
        return Data(-(-self.per_seed // c.batch), epoch, held_out, name)

    def sample(self, labels: np.ndarray, needs: Sequence[str] = ()) -> Batch:
        """A batch like those of the loop, the same on every host."""
        seed = self.config.seeds[0]
        examples = self.images[seed].validation
        batches = examples.batches(self.config.train.batch, everywhere=True)
        return next(self._completed(batches, examples, labels, needs, seed))

    def _completed(
        self,
        batches: Iterator[Batch],
        examples: Examples,
        labels: np.ndarray,
        needs: Sequence[str],
        seed: int,
        epoch: int = 0,
    ) -> Iterator[Batch]:
        """Batches with the network's outputs as labels, and what else the objective needs."""
        # Neighbours in a random ring of all examples, the same on every host and for any batch.
        ring = np.random.default_rng([seed, epoch, 1]).permutation(len(examples))
        after = ring[(np.argsort(ring) + 1) % len(ring)]
        masked = [self.source.classes.index(name) for name in self.images[seed].masked]
        for batch in batches:
            batch["label"] = labels[np.asarray(batch["label"])]
            if "outputs" in needs:
                batch["outputs"] = np.tile(labels[masked], (len(batch["label"]), 1))
            if "other" in needs:
                others = [examples.example(int(row)) for row in after[np.asarray(batch["index"])]]
                batch["other_image"] = np.stack([o["image"] for o in others]) / np.float32(255)
                batch["other_mask"] = np.stack([o["mask"] for o in others]) / np.float32(255)
            if self.config.data.mask == "binary":
                for name in {"mask", "other_mask"} & batch.keys():
                    batch[name] = (np.asarray(batch[name]) > 0.5).astype(np.float32)
            yield batch


def source(place: Any, split_name: str) -> Source:
    """A split to train on, from the data set named by a block of the config (name, root, options).

    Raises ValueError like `data.load`, and for a set whose terms forbid training.
    """
    given = options(place, place.name.replace(".", "_"))
    found = data.load(place.name, place.root, split_name, **given)
    refuse_training(found, "finetune on")
    return found


def refuse_overlap(training: Source, tests: Mapping[str, Examples]) -> None:
    """Raises ValueError if an image is both trained on and tested on."""
    for name, examples in tests.items():
        both = set(training.names) & set(examples.names)
        if both:
            raise ValueError(
                f"{len(both)} photos are in both the training split and the test set {name} "
                f"({min(both)}): a network would be tested on what it was finetuned on. Give the "
                "data two splits"
            )


def found_masks(config: Config, classes: tuple[str, ...]) -> Source:
    """The photos of `config.tokencut`, whose labels are positions in `classes`.

    Raises ValueError if no folder is named, and for an unknown class.
    """
    c = config.tokencut
    if not c.root:
        raise ValueError(
            "variant 'tokencut' needs the folder of masks that configs/tokencut.py wrote: pass "
            "--config.tokencut.root"
        )
    found = source(c, c.split)
    for name in found.classes:
        if name not in classes:
            raise ValueError(f"{c.root}: class " + no_such(name, classes))
    return Chosen(found, range(len(found)), classes)
