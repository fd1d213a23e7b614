"""Accuracy on shifted data sets by named protocols: networks x sets, and what a cure changed.

Presets: none (demo); clean, paper, released (RobustViT's table 1); clean_si, paper_si, released_si
(its table 2, SI-Score).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import BatchSize, Distinct, Several


@dataclass(frozen=True)
class ObjectNet:
    """ObjectNet's photos, which have a red frame."""

    border: int = 2  # pixels cut off on each side, before anything else


@dataclass(frozen=True)
class Data(blocks.Open):
    """What all sets have in common, and the options of each kind of set."""

    root: str = ""  # folder of the sets that name none
    split: str = "test"
    on_bad: Literal["error", "skip"] = "error"  # what to do about unreadable photos
    scenes: blocks.Scenes = blocks.Scenes(per_class=20)
    image_folder: blocks.ImageFolder = blocks.ImageFolder(exif="ignore")
    objectnet: ObjectNet = ObjectNet()


@dataclass(frozen=True)
class Config(blocks.Networks):
    """All keys; their defaults are the demo."""

    experiment: str = "robustness"
    models: blocks.Models = ("scenes/vit_00", "scenes/vit_95")  # finetuned ones by their folders
    # "imagenet_a=/data/imagenet-a", perhaps with options of its own, a split, and what tables call
    # it: "imagenet_v2=/data/v2 variant=top-images split=test as='v2 top'".
    sets: Annotated[tuple[str, ...], Distinct()] = tuple(
        f"scenes background_correlation={share}" for share in (0.95, 0.75, 0.5, 0.25, 0.0)
    )
    # Networks to compare, "original=finetuned"; (): finetuned ones with their originals if config
    # finetune made them, else all pairs.
    pairs: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()  # to report, see `rival_jax.protocols`; (): all
    preset: str = "demo"
    batch_size: BatchSize = "auto"  # or images per step; "auto" fills the memory budget
    shard: Several = 1024  # photos held at once, and computed again after a stop
    data: Data = Data()
    statistics: blocks.Statistics = blocks.Statistics()


TABLE_1 = ("imagenet", "imagenet_v2", "imagenet_a", "imagenet_r", "imagenet_sketch", "objectnet")
SI_SCORE = tuple(f"siscore kind={kind}" for kind in ("location", "rotation", "area"))
RELEASED = {  # regardless of how a network was trained
    "preprocessing.mean": (0.5, 0.5, 0.5),
    "preprocessing.std": (0.5, 0.5, 0.5),
    "preprocessing.interpolation": "bilinear",
    "preprocessing.crop_pct": 224 / 256,
    "protocols": ("full", "full_5", "first", "first_5"),
    "data.objectnet.border": 0,
}
PROTOCOLS: Presets = {
    "clean": {},
    "paper": {**RELEASED, "data.objectnet.border": 1},
    "released": RELEASED,
}
PRESETS: Presets = {
    "": {},
    **{name: {**values, "sets": TABLE_1} for name, values in PROTOCOLS.items()},
    **{f"{name}_si": {**values, "sets": SI_SCORE} for name, values in PROTOCOLS.items()},
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
