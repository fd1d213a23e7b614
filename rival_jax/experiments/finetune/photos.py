"""The images that a finetuning sees: batches to train on, held-out ones, and their sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rival_jax import data
from rival_jax.configs import options
from rival_jax.configs.finetune import Config
from rival_jax.data import Examples, Source
from rival_jax.data.chosen import Chosen
from rival_jax.data.source import refuse_training
from rival_jax.data.split import Split, split
from rival_jax.experiments.subject import Material
from rival_jax.runtime.members import Data
from rival_jax.runtime.plugins import no_such
from rival_jax.types import Batch, Geometry


class Images(NamedTuple):
    """The images of one seed, decoded and checked; see `Split`."""

    masked: tuple[str, ...]
    train: Examples
    validation: Examples


class Training:
    """The training images of every seed, from one data set, and the batches made of them.

    Args:
      material: the run's config, console and notes.
      source: what is trained on.
      geometry: the network's input.
      labels: the network's output for each class [c].

    Raises:
      ValueError: as `split`, for bad examples, and for seeds with different numbers of images.
    """

    def __init__(self, material: Material, source: Source, geometry: Geometry, labels: np.ndarray):
        self.config, self.source, self.labels = material.config, source, labels
        self.images: dict[int, Images] = {}
        for seed in self.config.seeds:
            masked, *parts = self._split(seed)
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

    def _split(self, seed: int) -> Split:
        place = self.config.data
        try:
            return split(self.source, seed, **vars(self.config.split))
        except ValueError as error:
            raise ValueError(f"{place.name}, split {place.train_split!r}: {error}") from None

    def data(self, size: int, needs: Sequence[str]) -> Data:
        """Batches for `train.fit`; those of held-out images have the given `size`.

        Args:
          needs: what else the objective is given, see `objectives`.
        """
        c = self.config.train

        def epoch(seed: int, number: int, first: int) -> Iterator[Batch]:
            train, crops = self.images[seed].train, c.augmentation
            batches = train.augmented_batches(
                c.batch, number, seed, first=first, augmentation=crops
            )
            return self._completed(batches, train, needs, seed, number)

        def held_out(seed: int) -> Iterator[Batch]:
            validation = self.images[seed].validation
            return self._completed(validation.batches(size), validation, needs, seed)

        name = lambda seed, index: self.images[seed].train.names[index]  # noqa: E731
        return Data(-(-self.per_seed // c.batch), epoch, held_out, name)

    def sample(self, needs: Sequence[str]) -> Batch:
        """A batch of held-out images as `data` makes them, the same on every host."""
        seed = self.config.seeds[0]
        validation = self.images[seed].validation
        batches = validation.batches(self.config.train.batch, everywhere=True)
        return next(self._completed(batches, validation, needs, seed))

    def _completed(
        self,
        batches: Iterator[Batch],
        examples: Examples,
        needs: Sequence[str],
        seed: int,
        epoch: int = 0,
    ) -> Iterator[Batch]:
        """Batches with the network's outputs as labels, and what else the objective needs."""
        # The other example is the next one in a random ring of all, which depends neither on the
        # host nor on the batch.
        ring = np.random.default_rng([seed, epoch, 1]).permutation(len(examples))
        after = ring[(np.argsort(ring) + 1) % len(ring)]
        masked = [self.source.classes.index(name) for name in self.images[seed].masked]
        for batch in batches:
            batch["label"] = self.labels[np.asarray(batch["label"])]
            if "outputs" in needs:
                batch["outputs"] = np.tile(self.labels[masked], (len(batch["label"]), 1))
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
