"""Photos mirrored and turned: every key of examples/mirror.py, which has the commands.

A config imports nothing but what makes configs; without a preset it is a demo on bundled data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import Distinct

Change = Literal["mirrored", "turned"]


@dataclass(frozen=True)
class Config(blocks.Changing):
    """What all that shows photos to classifiers has, and `changes`."""

    experiment: str = "examples.mirror"
    models: blocks.Models = ("scenes/resnet_00", "scenes/vit_00")
    data: blocks.ObjectData = field(default_factory=blocks.ObjectData)
    changes: Annotated[tuple[Change, ...], Distinct()] = ("mirrored", "turned")


PRESETS: Presets = {"": {}, "clean": {"data.name": "masked_folder"}}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
