"""How much labelled data a cure needs: photos of each class, and classes, by several class seeds.

Presets: none (demo), scenes, clean, paper, released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks, finetune
from rival_jax.configs.values import Distinct, Several, Share

Numbers = Annotated[tuple[Several, ...], Distinct()]


@dataclass(frozen=True)
class Sizes:
    """What is trained on, each with each: fewer photos or classes are among more of the seed."""

    per_class: Numbers = (1, 3, 9)
    num_classes: Numbers = (2, 5)
    margin: Share = 0.02  # fewer are enough if more add at most this, as a share of test images


@dataclass(frozen=True)
class Config(finetune.Config):
    """The keys of config finetune, and the sizes; their defaults are the demo."""

    experiment: str = "sweep"
    seeds: Annotated[tuple[int, ...], Distinct()] = (0, 1)
    split: finetune.Split = finetune.Split(by="seed")
    train: finetune.Train = finetune.Train(epochs=3)
    # No epoch is chosen by validation images: these would be labelled photos too.
    evaluate: finetune.Evaluate = finetune.Evaluate(checkpoint="last", alphas=())
    noise: blocks.Noise = blocks.Noise(sigmas=(120 / 255,), epsilons=(100.0,), trials=1)
    sizes: Sizes = Sizes()


STUDY = {
    "seeds": (0, 1, 2),
    "split.by": "seed",
    "split.images": "seed",
    "evaluate.checkpoint": "last",
    "evaluate.alphas": (),
    "sizes.per_class": (1, 2, 3, 5),
    "sizes.num_classes": (100, 250, 500),
    "noise.trials": 1,
}
SCENES = {
    **finetune.LONG,
    "variants": ("cross_entropy", "robustvit_second_order", "energy_swap"),
    "seeds": (0, 1, 2, 3, 4),
    "sizes.per_class": (1, 3, 9, 27),
    "train.epochs": finetune.Train().epochs,
}
PRESETS: Presets = {
    "": {},
    "scenes": SCENES,
    **{name: {**finetune.PRESETS[name], **STUDY} for name in ("clean", "paper", "released")},
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
