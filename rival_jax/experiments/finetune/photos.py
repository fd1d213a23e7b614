"""The images that a finetuning sees, and where they come from."""

from __future__ import annotations

import numpy as np

from rival_jax.configs.finetune import Config
from rival_jax.data import Source
from rival_jax.data.chosen import Chosen
from rival_jax.data.source import refuse_training
from rival_jax.data.training import Training, images_of_seeds
from rival_jax.experiments.subject import Material, source_of
from rival_jax.runtime.plugins import no_such
from rival_jax.types import Geometry


def training(
    material: Material, source: Source, geometry: Geometry, outputs: np.ndarray, **sizes: int
) -> Training:
    """The training images of every seed, from one data set; raises like `images_of_seeds`.

    Args:
      material: the run's config, console and notes.
      source: what is trained on.
      geometry: the network's input.
      outputs: the network's output for each class [c].
      sizes: in the place of values of `config.split`. Fewer images or classes are among more.
    """
    c = material.config
    read = lambda part, said: material.read(part, geometry, said)  # noqa: E731
    said = f"{c.data.name}, split {c.data.train_split!r}"
    images = images_of_seeds(source, c.seeds, read, said, **{**vars(c.split), **sizes})
    shown = len(images[c.seeds[0]].train)
    told = c.train.batch, shown, c.train.augmentation, c.data.mask == "binary"
    return Training(images, outputs, *told)


def source(config: Config, masks: str, classes: tuple[str, ...]) -> Source:
    """What is trained on, with the masks of the data ("data") or found ones ("tokencut").

    Labels are positions in `classes`. Raises ValueError like `data.load`, for a set whose terms
    forbid training, and for found masks without a folder or of an unknown class.
    """
    c = config.data if masks == "data" else config.tokencut
    if not (masks == "data" or c.root):
        raise ValueError(
            f"variant {masks!r} needs the folder of masks that configs/tokencut.py wrote: pass "
            "--config.tokencut.root"
        )
    found = source_of(c, config.data.train_split if masks == "data" else c.split)
    refuse_training(found, "finetune on")
    if masks == "data":
        return found
    for name in found.classes:
        if name not in classes:
            raise ValueError(f"{c.root}: class " + no_such(name, classes))
    return Chosen(found, range(len(found)), classes)
