"""Linear heads on frozen networks, fitted on a training split and scored on a test split.

Presets: none (demo), clean, paper, released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks


@dataclass(frozen=True)
class Data(blocks.ObjectData):
    """The data sets with masks of objects: all."""

    train_split: str = "train"
    mask: Literal["soft", "binary"] = "soft"  # used only with probe.region="foreground"
    scenes: blocks.Scenes = blocks.Scenes(per_class=20, background_correlation=0.0)


@dataclass(frozen=True)
class Config(blocks.Measuring):
    """All keys; their defaults are the demo."""

    experiment: str = "linear_probe"
    models: blocks.Models = ("scenes/vit_00", "scenes/vit_95")
    head: Literal["probe"] = "probe"
    data: Data = Data()
    probe: blocks.RegionFit = blocks.RegionFit()


STUDY = {"data.name": "rival10"}
PRESETS: Presets = {
    "": {},
    "clean": STUDY,
    "paper": {**STUDY, **blocks.PAPER},
    "released": {**STUDY, **blocks.RELEASED},
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
