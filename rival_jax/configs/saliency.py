"""Where networks look: saliency maps against object masks, and what the background is worth.

Presets: none (demo), clean, paper, released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import Count, Distinct, Inside, Several


@dataclass(frozen=True)
class Data(blocks.ObjectData):
    """The data sets with masks of objects: all."""

    mask: Literal["soft", "binary"] = "binary"  # above 1/2; "soft": above 0, as released


@dataclass(frozen=True)
class Saliency(blocks.Explaining):
    """Which maps, what they explain, and how they are compared with masks."""

    # At 64 pixels the ResNets' last layer is a grid of 2 x 2, and its maps are no finer.
    methods: Annotated[tuple[str, ...], Distinct()] = ("relevance", "hirescam@layer2")
    threshold: Inside = 0.5  # of the map's maximum, to binarise it
    ties: Literal["outside", "inside"] = "outside"  # values at the threshold; inside as released
    flat: Literal["nan", "zero"] = "nan"  # a flat map's metrics: left out, or an empty map's
    tolerance: Count = 0  # of the pointing game, in pixels
    classes: Literal["true", "predicted"] = "true"  # the class that images are grouped by
    hits: Several = 2  # images of each class with the lowest density gap
    draws: Several = 4  # random regions greyed in each image


@dataclass(frozen=True)
class Config(blocks.Changing):
    """All keys; their defaults are the demo."""

    experiment: str = "saliency"
    models: blocks.Models = (
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
