"""One look at networks: what they are, what they are fed, what they see, and if timm agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import Count, Positive, Several


@dataclass(frozen=True)
class Config(blocks.Networks):
    """All keys; their defaults are the demo."""

    experiment: str = "check_model"
    models: blocks.Models = ("scenes/vit_95", "scenes/resnet_95")
    images: tuple[str, ...] = ()  # photos, or folders of them; () is a few drawn scenes
    image_size: Count = 0  # side in pixels; 0: the size the network was made for
    top: Several = 5  # classes shown of each image
    labels: str = ""  # text file of class names, one per line; "": ImageNet's synsets, or numbers
    # "auto": compare with timm if it is installed and has the network.
    compare: Literal["auto", "timm", "none"] = "auto"
    tolerance: Positive = 1e-4  # of logits divided by the largest, and of attention


PRESETS: Presets = {"": {}}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config; it has no presets."""
    return at_preset(Config(), PRESETS, preset)
