"""Batches to train networks on: what an objective is given, see `objectives`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rival_jax.data.chosen import Chosen
from rival_jax.data.examples import Examples
from rival_jax.data.source import Source
from rival_jax.data.split import split
from rival_jax.runtime.members import Data
from rival_jax.types import Batch


class Images(NamedTuple):
    """The images of one seed, decoded and checked; see `split.split`."""

    masked: tuple[str, ...]
    train: Examples
    validation: Examples


def images_of_seeds(
    source: Source,
    seeds: Sequence[int],
    read: Callable[[Source, str], Examples],
    said: str,
    **options: Any,
) -> dict[int, Images]:
    """The training images of every seed, from one data set.

    Args:
      read: decodes and checks a part of it, whose name for the user it is given.
      said: its name in errors.
      options: of `split.split`.

    Raises:
      ValueError: as `split`, for bad examples, and for seeds with different numbers of images.
    """
    images: dict[int, Images] = {}
    for seed in seeds:
        try:
            masked, *parts = split(source, seed, **options)
        except ValueError as error:
            raise ValueError(f"{said}: {error}") from None
        named = f"images and masks of seed {seed}"
        images[seed] = Images(masked, *(read(Chosen(source, rows), named) for rows in parts))
    counts = {len(one.train) for one in images.values()}
    if len(counts) > 1:
        raise ValueError(
            f"seeds have different numbers of training images ({sorted(counts)}), because some "
            "were skipped; run them one by one with --config.seeds"
        )
    return images


@dataclasses.dataclass(frozen=True)
class Training:
    """The batches of every seed; pictures are uint8, see `parallel.floats`.

    Attributes:
      images: by seed; all seeds train on equally many.
      outputs: the network's output for each class [c], which takes the place of labels.
      size: images in a batch.
      shown: images in an epoch, at least as many as there are, see `Examples.augmented_batches`.
      augmentation: see `Examples.augmented_batches`.
      binary: whether masks are cut at 1/2.
    """

    images: Mapping[int, Images]
    outputs: np.ndarray
    size: int
    shown: int
    augmentation: str = "area"
    binary: bool = False

    def data(self, needs: Sequence[str]) -> Data:
        """Batches for `train.fit`; `needs`: what else the objective is given."""
        every = list(self.images.values())
        held = min(max(8, 4 * self.size), *(len(one.validation) for one in every))

        def epoch(seed: int, number: int, first: int) -> Iterator[Batch]:
            train, given = self.images[seed].train, (self.size, number, seed)
            told = {"augmentation": self.augmentation, "shown": self.shown}
            batches = train.augmented_batches(*given, np.uint8, first=first, **told)
            return self._completed(batches, train, needs, seed, number)

        def held_out(seed: int) -> Iterator[Batch]:
            validation = self.images[seed].validation
            return self._completed(validation.batches(held, np.uint8), validation, needs, seed)

        name = lambda seed, index: self.images[seed].train.names[index]  # noqa: E731
        return Data(-(-self.shown // self.size), epoch, held_out, name)

    def sample(self, needs: Sequence[str]) -> Batch:
        """A batch of held-out images as `data` makes them, the same on every host."""
        seed = next(iter(self.images))
        validation = self.images[seed].validation
        batches = validation.batches(self.size, np.uint8, everywhere=True)
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
        masked = [examples.classes.index(name) for name in self.images[seed].masked]
        for batch in batches:
            batch["label"] = self.outputs[np.asarray(batch["label"])]
            if "outputs" in needs:
                batch["outputs"] = np.tile(self.outputs[masked], (len(batch["label"]), 1))
            if "other" in needs:
                others = [examples.example(int(row)) for row in after[np.asarray(batch["index"])]]
                batch["other_image"] = np.stack([o["image"] for o in others])
                batch["other_mask"] = np.stack([o["mask"] for o in others])
            for name in {"mask", "other_mask"} & batch.keys() if self.binary else ():
                batch[name] = np.where(np.asarray(batch[name]) > 127, np.uint8(255), np.uint8(0))
            yield batch
