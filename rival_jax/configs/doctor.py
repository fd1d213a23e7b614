"""Whether data sets are there, whole and as they are distributed, and how to lay them out."""

from __future__ import annotations

from dataclasses import dataclass

import ml_collections

from rival_jax.configs import Presets, at_preset
from rival_jax.configs.values import Count


@dataclass(frozen=True)
class Config:
    """All keys; their defaults tell how every set is laid out."""

    experiment: str = "doctor"
    # "imagenet_a=/data/imagenet-a", perhaps with options: "siscore=/data/si kind=rotation".
    sets: tuple[str, ...] = ()
    root: str = ""  # folder of the sets that name none
    split: str = "test"
    samples: Count = 16  # photos of each set that are decoded
    # Whether to read large archives and many photos of equal size too, which takes minutes.
    hashes: bool = False


PRESETS: Presets = {"": {}}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config; it has no presets."""
    return at_preset(Config(), PRESETS, preset)
