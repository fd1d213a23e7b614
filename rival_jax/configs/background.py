"""What is lost without the background, and without the object: six ways of taking a region away.

Presets: none (demo), clean, paper, released.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Annotated, Literal

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import Between, Distinct, Positive, Share

Treatment = Literal["grey", "blur", "shuffle", "mean", "black", "swap"]
Region = Literal["background", "foreground"]


@dataclass(frozen=True)
class Ablation:
    """Which region is replaced, and by what."""

    treatments: Annotated[tuple[Treatment, ...], Distinct()] = typing.get_args(Treatment)
    regions: Annotated[tuple[Region, ...], Distinct()] = ("background", "foreground")
    grey: Share = 0.5
    blur: Positive = 1 / 14  # sigma, as a share of the image's height
    patches: Annotated[int, Between(2)] = 8  # to be shuffled, along the image's height


@dataclass(frozen=True)
class Probe(blocks.Probe):
    """Options of every head, and which of them are fitted."""

    # What the network sees while a head is fitted; "foreground": the object on grey.
    regions: Annotated[tuple[Literal["all", "foreground"], ...], Distinct()] = ("all", "foreground")


@dataclass(frozen=True)
class Config(blocks.Changing):
    """All keys; their defaults are the demo."""

    experiment: str = "background"
    models: blocks.Models = ("scenes/vit_00", "scenes/vit_95")
    groups: tuple[str, ...] = ()  # "name=model,model": averaged in figure 8; others stand alone
    head: str = "probe"  # "own" | "probe" (fitted on data.train_split) | "imagenet" (no training)
    data: blocks.ObjectData = blocks.ObjectData()
    ablation: Ablation = Ablation()
    probe: Probe = Probe()


STUDY = {"data.name": "rival10"}  # a study on one's own data: name it and the models
PROTOCOL = {"ablation.treatments": ("grey",), "ablation.regions": ("background",)}
PRESETS: Presets = {
    "": {},
    "clean": {**STUDY, "data.mask": "binary"},
    "paper": {**STUDY, **blocks.PAPER, **PROTOCOL, "data.mask": "binary"},
    "released": {**STUDY, **blocks.RELEASED, **PROTOCOL},
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
