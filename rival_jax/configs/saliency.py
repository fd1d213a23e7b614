"""Where networks look: saliency maps against object masks, and what the background is worth.

Presets: none (demo), clean, paper, released.
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks


@dataclass(frozen=True)
class Data(blocks.ObjectData):
    """The data sets with masks of objects: all."""

    mask: str = "binary"  # "binary": above 1/2 | "soft": above 0, as released


@dataclass(frozen=True)
class Saliency:
    """Which maps, of what, and how they are compared with masks."""

    # Modules of rival_jax/saliency, or dotted names; after an @ the tap that class maps read. At
    # 64 pixels the ResNets' last layer is a grid of 2 x 2, which no map of it can outgrow.
    methods: tuple[str, ...] = ("relevance", "hirescam@layer2")
    unfit: str = "skip"  # methods that a network does not allow: "error" | "skip"
    target: str = "predicted"  # what is explained: "predicted" class | "label"
    scaling: str = "minmax"  # "minmax" | "cam", "cam_2021": as two releases of grad-cam
    threshold: float = 0.5  # of the map's maximum: where it is binarised
    ties: str = "outside"  # values at the threshold: "outside" | "inside", as released
    flat: str = "nan"  # a flat map's metrics: "nan", left out | "zero": an empty map's
    tolerance: int = 0  # of the pointing game, in pixels
    classes: str = "true"  # what images are filed under: "true" | "predicted" class
    hits: int = 2  # images of each class with the lowest density gap
    draws: int = 4  # random regions greyed in each image


@dataclass(frozen=True)
class Config(blocks.Changing):
    """All keys; their defaults are the demo."""

    experiment: str = "saliency"
    models: tuple[str, ...] = (
        *("scenes/vit_00", "scenes/vit_95", "scenes/resnet_00", "scenes/resnet_95"),
    )
    groups: tuple[str, ...] = ()  # "name=model,model": averaged in figure 9
    seed: int = 0  # of the random regions
    data: Data = Data()
    saliency: Saliency = Saliency()


# A study on one's own data: name it and the models.
STUDY = {
    "data.name": "rival10",
    "head": "probe",
    "saliency.methods": ("gradcam",),
    "saliency.unfit": "error",
    "saliency.hits": 5,
    "saliency.draws": 10,
}
PRESETS: Presets = {
    "": {},
    "clean": STUDY,
    "paper": {**STUDY, **blocks.PAPER, "saliency.scaling": "cam"},
    "released": {
        **STUDY,
        **blocks.RELEASED,
        "data.mask": "soft",
        "saliency.scaling": "cam_2021",
        "saliency.ties": "inside",
        "saliency.flat": "zero",
        "saliency.classes": "predicted",
    },
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
