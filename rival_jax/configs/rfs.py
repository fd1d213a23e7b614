"""Relative foreground sensitivity: accuracy under noise in the object against its background.

Presets: none (demo), clean, paper, released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import Distinct

Region = Literal["foreground", "background", "all"]


@dataclass(frozen=True)
class Noise(blocks.Noise):
    """And where the noise is."""

    regions: Annotated[tuple[Region, ...], Distinct()] = ("foreground", "background")


@dataclass(frozen=True)
class Config(blocks.Changing):
    """All keys; their defaults are the demo."""

    experiment: str = "rfs"
    models: blocks.Models = (
        *("scenes/vit_00", "scenes/vit_95", "scenes/resnet_00", "scenes/resnet_95"),
    )
    data: blocks.ObjectData = blocks.ObjectData()
    noise: Noise = Noise()


# A study on one's own data: name it and the models.
STUDY = {
    "data.name": "rival10",
    "head": "probe",
    "noise.norms": ("linf", "l2"),
    "noise.trials": 10,
}
PRESETS: Presets = {
    "": {},
    "clean": {**STUDY, "data.mask": "binary"},
    "paper": {**STUDY, **blocks.PAPER, "data.mask": "binary"},
    "released": {
        **STUDY,
        **blocks.RELEASED,
        "noise.sigmas": tuple(s / 255 / 255 for s in range(30, 211, 30)),  # divided twice
        "noise.trials": 1,
    },
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
