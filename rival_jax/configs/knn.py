"""Nearest neighbours in a network's features: which class they vote for, before and after a cure.

Presets: none (demo), clean, paper (RobustViT's input, appendix M), released (DINO's script).
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Annotated, Literal

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import BatchSize, Distinct, Positive, Several

Vote = Literal["weighted", "majority"]


@dataclass(frozen=True)
class Data(blocks.Photos):
    """Photos; masks are ignored if there are any."""

    name: str = "scenes"  # "image_folder": photos alone | "scenes" | "rival10" | "masked_folder"
    train_split: str = "train"  # the neighbours; if it is `split`, each photo's are the others
    scenes: blocks.Scenes = blocks.Scenes(per_class=20, background_correlation=0.0)
    masked_folder: blocks.MaskedFolder = blocks.MaskedFolder()
    image_folder: blocks.ImageFolder = blocks.ImageFolder()


@dataclass(frozen=True)
class Knn:
    """How many neighbours vote, and how."""

    k: Annotated[tuple[Several, ...], Distinct()] = (10, 20, 100, 200)
    # "weighted": by exp(cosine / temperature); "majority": all alike.
    votes: Annotated[tuple[Vote, ...], Distinct()] = typing.get_args(Vote)
    temperature: Positive = 0.07


@dataclass(frozen=True)
class Config(blocks.Networks):
    """All keys; their defaults are the demo."""

    experiment: str = "knn"
    models: blocks.Models = ("scenes/vit_00", "scenes/vit_95")  # finetuned ones by their folders
    # Networks to compare, "original=finetuned"; (): finetuned ones with their originals if config
    # finetune made them, else all pairs.
    pairs: tuple[str, ...] = ()
    preset: str = "demo"
    batch_size: BatchSize = "auto"  # or images per step; "auto" fills the memory budget
    shard: Several = 4096  # photos held at once, and computed again after a stop
    data: Data = Data()
    knn: Knn = Knn()
    statistics: blocks.Statistics = blocks.Statistics()


STUDY = {"data.name": "image_folder", "preprocessing.crop_pct": 224 / 256}
HALF, MEAN, STD = (0.5, 0.5, 0.5), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PAPER = {"preprocessing.mean": HALF, "preprocessing.std": HALF, "knn.k": (20,)}
RELEASED = {"preprocessing.mean": MEAN, "preprocessing.std": STD, "knn.votes": ("weighted",)}
PRESETS: Presets = {
    "": {},
    "clean": {"data.name": "image_folder"},
    "paper": {**STUDY, **PAPER, "preprocessing.interpolation": "bilinear"},
    "released": {**STUDY, **RELEASED, "preprocessing.interpolation": "bicubic"},
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
