"""Small networks on drawn scenes, at several ties between background and class.

Presets: none (demo), bundled, continued.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import ml_collections

from rival_jax.configs import Presets, at_preset
from rival_jax.configs.values import Distinct, Several, Share


@dataclass(frozen=True)
class Data:
    """The scenes that are drawn."""

    image_size: int = 64
    train_per_class: int = 20
    test_per_class: int = 10


@dataclass(frozen=True)
class VitShape:
    """The ViT's sizes."""

    patch_size: int = 8
    width: int = 64
    depth: int = 3
    heads: int = 2
    mlp_ratio: float = 2.0


@dataclass(frozen=True)
class Vit:
    """The ViT, and how it is trained."""

    epochs: int = 2
    optimiser: Literal["adamw", "muon"] = "muon"
    learning_rate: float = 1e-2
    noise: float = 0.3  # half of the images get Gaussian noise, its sigma from 0 to this
    architecture: VitShape = VitShape()


@dataclass(frozen=True)
class ResnetShape:
    """The ResNet's sizes."""

    depths: tuple[int, ...] = (1, 1, 1, 1)
    width: int = 12


@dataclass(frozen=True)
class Resnet:
    """The ResNet, and how it is trained."""

    epochs: int = 2
    optimiser: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 3e-3
    noise: float = 0.1
    architecture: ResnetShape = ResnetShape()


@dataclass(frozen=True)
class Config:
    """All keys; their defaults are the demo."""

    experiment: str = "train_scenes"
    preset: str = "demo"
    architectures: Annotated[tuple[Literal["vit", "resnet"], ...], Distinct()] = ("vit",)
    # Ties of background to class, one network each.
    correlations: Annotated[tuple[Share, ...], Distinct()] = (0.95,)
    start: str = ""  # a network of the same architecture to continue from; "": random weights
    seed: int = 0
    output: str = ""  # folder of the models; default <workdir>/models
    storage: str = "float16"  # precision of the saved weights
    data: Data = Data()
    batch_size: Several = 64
    brightness: float = 0.2  # images are multiplied by 1 - this to 1 + this
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    vit: Vit = Vit()
    resnet: Resnet = Resnet()


LONG = {
    "output": "rival_jax/assets/scenes",
    "data.train_per_class": 1000,
    "data.test_per_class": 50,
    "vit.epochs": 12,
    "resnet.epochs": 6,
}
PRESETS: Presets = {
    "": {},
    "bundled": {**LONG, "architectures": ("vit", "resnet"), "correlations": (0.0, 0.95)},
    "continued": {**LONG, "start": "scenes/vit_00", "vit.epochs": 3},
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
