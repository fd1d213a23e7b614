"""Pixels taken away in the order of networks' maps: does a map tell what the network uses?

Presets: none (demo), clean, paper, released.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Annotated, Literal

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import Distinct, Inside, Positive, Several

Test = Literal["positive", "negative", "deletion", "insertion"]
Fill = Literal["black", "mean", "network", "blur"]  # "network": its mean colour


@dataclass(frozen=True)
class Perturbation:
    """What is taken away, and what is told about what is left."""

    # The highest or the lowest pixels first, by accuracy (appendix N); the highest first, or put
    # back first, by the explained class's probability (RISE).
    tests: Annotated[tuple[Test, ...], Distinct()] = typing.get_args(Test)
    fills: Annotated[tuple[Fill, ...], Distinct()] = ("black", "mean", "blur")  # of the first two
    deletion: Fill = "network"
    insertion: Fill = "blur"
    blur: Positive = 1 / 14  # sigma, as a share of the image's height
    shares: Annotated[tuple[Inside, ...], Distinct()] = tuple(n / 10 for n in range(1, 10))
    steps: Several = 10  # of deletion and insertion
    area: Literal["trapezoid", "from_zero", "mean"] = "trapezoid"  # of the first two tests' curves


@dataclass(frozen=True)
class Config(blocks.Changing):
    """All keys; their defaults are the demo."""

    experiment: str = "perturbation"
    models: blocks.Models = ("scenes/vit_00", "scenes/vit_95")  # finetuned ones by their folders
    pairs: tuple[str, ...] = ()  # "original=finetuned"; (): see config segmentation
    data: blocks.ObjectData = blocks.ObjectData()
    saliency: blocks.Explaining = blocks.Explaining()
    perturbation: Perturbation = Perturbation()


STUDY = {"data.name": "masked_folder", "head": "full", "saliency.unfit": "error"}
RELEASED = {
    **STUDY,
    **blocks.ROBUSTVIT,
    "preprocessing.interpolation": "bilinear",
    "preprocessing.crop_pct": 224 / 256,
    "data.resize": "crop",
    "perturbation.tests": ("positive", "negative"),
    "perturbation.fills": ("black",),
}
PRESETS: Presets = {
    "": {},
    "clean": {**STUDY, "perturbation.blur": 5 / 224, "perturbation.steps": 56},
    "paper": RELEASED,
    "released": {**RELEASED, "perturbation.area": "mean"},
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
