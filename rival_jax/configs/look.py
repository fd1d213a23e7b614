"""Photos with the outlines of their masks, doubtful ones first: look before you measure."""

from __future__ import annotations

from dataclasses import dataclass

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import Several, Share


@dataclass(frozen=True)
class Doubtful:
    """When a mask is doubtful."""

    smallest: Share = 0.005  # the object's share of the photo, below
    largest: Share = 0.9  # and above
    parts: Several = 20  # unconnected parts, more than


@dataclass(frozen=True)
class Config:
    """All keys; their defaults are the demo."""

    experiment: str = "look"
    data: blocks.ObjectData = blocks.ObjectData(on_bad="skip")
    image_size: Several = 224  # side of the pictures, in pixels
    shown: Several = 24  # photos on the sheet
    doubtful: Doubtful = Doubtful()
    seed: int = 0  # of the photos that are not doubtful


PRESETS: Presets = {"": {}}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config; it has no presets."""
    return at_preset(Config(), PRESETS, preset)
