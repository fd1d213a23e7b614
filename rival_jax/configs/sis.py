"""Sufficient input subsets: how few pixels are enough for a network, and are they the object's?

Presets: none (demo), clean, paper (RobustViT, appendix A), released (Carter et al.).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import Distinct, Inside, Several

Method = Literal["gradient", "patches", "random"]


@dataclass(frozen=True)
class Sis:
    """How pixels are removed, and for which classes."""

    # "gradient": some at a time; "patches": exactly, patch by patch of a transformer, for about
    # 5/8 n^2 forward passes; "random": a control of "gradient".
    methods: Annotated[tuple[Method, ...], Distinct()] = ("gradient", "random")
    # "predicted" | "second" (most probable class) | "label", or a class by its name.
    targets: Annotated[tuple[str, ...], Distinct()] = ("predicted",)
    threshold: Inside = 0.9  # the least probability of the class that is enough
    pixels: Several = 100  # removed at once; what is gone has the network's mean colour


@dataclass(frozen=True)
class Config(blocks.Measuring):
    """All keys; their defaults are the demo."""

    experiment: str = "sis"
    models: blocks.Models = ("scenes/vit_00", "scenes/vit_95")  # finetuned ones by their folders
    # Networks to compare, "original=finetuned"; (): finetuned ones with their originals if config
    # finetune made them, else all pairs.
    pairs: tuple[str, ...] = ()
    seed: int = 0  # of the random order
    probe: blocks.Probe = blocks.Probe()
    data: blocks.ObjectData = blocks.ObjectData(scenes=blocks.Scenes(per_class=6))
    sis: Sis = Sis()


STUDY = {"data.name": "masked_folder", "head": "imagenet", "data.resize": "crop"}
HALF = {f"preprocessing.{name}": (0.5, 0.5, 0.5) for name in ("mean", "std")}
PRESETS: Presets = {
    "": {},
    "clean": {**STUDY, "sis.targets": ("predicted", "second")},
    "paper": {**STUDY, **HALF, "sis.targets": ("predicted", "second")},
    "released": {**STUDY, "sis.methods": ("gradient",)},
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
