"""Which images a finetuning sees: classes with masks, samples of each, and what it is picked by."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from rich.console import Console

from rival_jax import data
from rival_jax.configs import options
from rival_jax.configs.finetune import Config
from rival_jax.data import Examples, Source
from rival_jax.data.source import Item, class_order, name_hash, refuse_training
from rival_jax.runtime.members import Data
from rival_jax.runtime.plugins import no_such
from rival_jax.runtime.progress import Meter
from rival_jax.types import Batch, Geometry

HELD_IN_MEMORY = 512 * 2**20  # bytes of decoded photos; beyond it each epoch decodes them again


@dataclasses.dataclass(frozen=True)
class Split:
    """What one seed sees."""

    masked: tuple[str, ...]  # set A: the classes whose masks are trained on
    train: tuple[int, ...]  # positions in the source
    validation: tuple[int, ...]


def split(source: Source, config: Config, seed: int) -> Split:
    """Classes and images of one seed, by `config.split`.

    Classes in the order of their names, or shuffled by the seed; the first half or `num_classes`
    of them are set A. Images in the order of their names, or shuffled by the seed.

    Raises:
      ValueError: for an unknown class, too few classes, or a class with too few images.
    """
    c = config.split
    order = list(class_order(source.classes))
    if c.by == "seed":
        order = sorted(order, key=lambda name: name_hash(f"{seed} class {name}", 8))
    if c.classes:
        for name in c.classes:
            if name not in source.classes:
                raise ValueError("config.split.classes: " + no_such(name, source.classes))
        order = [*c.classes, *(name for name in order if name not in c.classes)]
    count = len(c.classes) or int(c.num_classes) or len(order) // 2
    if not 0 < count <= len(order):
        raise ValueError(
            f"config.split.num_classes={count}, but {config.data.name} has {len(order)} classes"
        )
    masked, others = order[:count], order[count:]
    if c.validation == "held_out" and not others:
        raise ValueError(
            "config.split.validation='held_out' needs classes that are not trained on; all "
            f"{count} are. Lower --config.split.num_classes or pass --config.split.validation="
            "training"
        )
    take, extra = functools.partial(_images, source, config, seed), int(c.validation_per_class)
    if c.validation == "held_out":
        training = [take(name, int(c.per_class)) for name in masked]
        validation = [take(name, extra) for name in others]
    else:
        every = [take(name, int(c.per_class) + extra) for name in masked]
        training = [mine[: len(mine) - extra] for mine in every]
        validation = [mine[len(mine) - extra :] for mine in every]
    parts = (sorted(itertools.chain(*part)) for part in (training, validation))
    return Split(tuple(masked), *map(tuple, parts))


def _images(source: Source, config: Config, seed: int, name: str, asked: int) -> list[int]:
    """The first `asked` images of a class."""
    mine = np.flatnonzero(np.asarray(source.labels) == source.classes.index(name)).tolist()
    if len(mine) < asked and (config.split.on_few == "error" or len(mine) < 2):
        raise ValueError(
            f"class {name} has {len(mine)} images in split {config.data.train_split!r} of "
            f"{config.data.name}, and {asked} are asked for: lower --config.split.per_class or "
            "validation_per_class, or take what there is with --config.split.on_few=take"
        )
    # By the name without folder and ending, so that a copy of the photos beside other masks
    # gives the same ones.
    stems = {i: PurePosixPath(source.names[i]).stem for i in mine}
    if config.split.images == "seed":
        mine.sort(key=lambda i: name_hash(f"{seed} image {name}/{stems[i]}", 8))
    else:
        mine.sort(key=lambda i: stems[i])
    return mine[:asked]


class Chosen:
    """Some examples of a source, as a source. Decoded photos are kept while memory allows.

    Args:
      positions: in the source.
      classes: the source's and perhaps more, in another order; default as they are.
    """

    def __init__(self, source: Source, positions: Sequence[int], classes: tuple[str, ...] = ()):
        self._source, self._positions = source, positions
        self.classes = classes or source.classes
        self.class_wnids = None if classes else source.class_wnids
        self.notices: tuple[str, ...] = getattr(source, "notices", ())
        self.names = [source.names[position] for position in positions]
        self.labels = np.asarray(source.labels, np.int32)[list(positions)]
        if classes:
            place = [classes.index(name) for name in source.classes]
            self.labels = np.array(place, np.int32)[self.labels]
        self._kept: dict[int, Item] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, position: int) -> Item:
        if position in self._kept:
            return self._kept[position]
        item = self._source[self._positions[position]]
        self._bytes += 4 * item["image"].width * item["image"].height
        if self._bytes <= HELD_IN_MEMORY:
            self._kept[position] = item
        return item


@dataclasses.dataclass(frozen=True)
class Images:
    """The examples of one seed, decoded and checked."""

    split: Split
    train: Examples
    validation: Examples


class Training:
    """The training images of every seed, from one data set."""

    def __init__(self, config: Config, source: Source, geometry: Geometry, console: Console):
        self.config, self.source, self.geometry = config, source, geometry
        self.console = console
        self.images = {seed: self._read(seed) for seed in config.seeds}

    def _read(self, seed: int) -> Images:
        found = split(self.source, self.config, seed)
        parts = []
        for positions in (found.train, found.validation):
            with Meter(len(positions), "images", self.console) as meter:
                meter.say(f"reading images and masks of seed {seed}")
                examples = Examples(
                    Chosen(self.source, positions),
                    self.geometry,
                    on_bad=self.config.data.on_bad,
                    mask=self.config.data.mask,
                    on_item=lambda done, total: meter.advance(1),
                )
            for name, reason in examples.skipped:
                self.console.print(f"skipped {name}: {reason}")
            parts.append(examples)
        return Images(found, *parts)

    def data(self, labels: np.ndarray, size: int, needs: Sequence[str] = ()) -> Data:
        """Batches for the loop.

        Args:
          labels: the network's output of each class [c].
          size: of the batches of what is held out.
          needs: what the objective is given besides, see `objectives`.
        """
        c = self.config.train
        counts = {len(images.train) for images in self.images.values()}
        if len(counts) > 1:
            raise ValueError(
                f"seeds have different numbers of training images ({sorted(counts)}), because some "
                "were skipped; run them one by one with --config.seeds"
            )

        def epoch(seed: int, number: int, first: int) -> Iterator[Batch]:
            examples = self.images[seed].train
            batches = examples.augmented_batches(
                c.batch, number, seed, first=first, augmentation=c.augmentation
            )
            add = functools.partial(self._completed, needs, labels, seed, examples, number)
            return map(add, batches)

        def held_out(seed: int) -> Iterator[Batch]:
            examples = self.images[seed].validation
            add = functools.partial(self._completed, needs, labels, seed, examples, 0)
            return map(add, examples.batches(size))

        return Data(
            per_epoch=-(-counts.pop() // c.batch),
            train=epoch,
            held_out=held_out,
            name=lambda seed, index: self.images[seed].train.names[index],
        )

    def sample(self, labels: np.ndarray, needs: Sequence[str] = ()) -> Batch:
        """A batch like those of the loop, the same on every host."""
        seed = self.config.seeds[0]
        found = self.images[seed].validation
        batch = next(found.batches(self.config.train.batch, everywhere=True))
        return self._completed(needs, labels, seed, found, 0, batch)

    def _completed(
        self,
        needs: Sequence[str],
        labels: np.ndarray,
        seed: int,
        examples: Examples,
        epoch: int,
        batch: Batch,
    ) -> Batch:
        """A batch with the network's outputs as labels, and what the objective needs besides."""
        batch["label"] = labels[np.asarray(batch["label"])]
        if "outputs" in needs:
            masked = [self.source.classes.index(name) for name in self.images[seed].split.masked]
            batch["outputs"] = np.tile(labels[masked], (len(batch["label"]), 1))
        if "other" in needs:
            # Neighbours in a random ring: of all examples, on every host, whatever the batch is.
            ring = np.random.default_rng([seed, epoch, 1]).permutation(len(examples))
            rows = ring[(np.argsort(ring)[np.asarray(batch["index"])] + 1) % len(ring)]
            others = [examples.example(int(row)) for row in rows]
            batch["other_image"] = np.stack([o["image"] for o in others]) / np.float32(255)
            batch["other_mask"] = np.stack([o["mask"] for o in others]) / np.float32(255)
        if self.config.data.mask == "binary":
            for name in ("mask", "other_mask"):
                if name in batch:
                    batch[name] = (np.asarray(batch[name]) > 0.5).astype(np.float32)
        return batch


def source(place: Any, split_name: str) -> Source:
    """A split to train on, of the data set that a block of the config (name, root, options) names.

    Raises:
      ValueError: as `data.load`; for a set whose terms forbid it.
    """
    given = options(place, place.name.replace(".", "_"))
    found = data.load(place.name, place.root, split_name, **given)
    refuse_training(found, "finetune on")
    return found


def refuse_overlap(training: Source, tests: dict[str, Examples]) -> None:
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

    Raises:
      ValueError: if no folder is named, or for a class that is not among them.
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
