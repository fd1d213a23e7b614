"""Networks' maps cut into object and background, against masks: what a map finds of the object.

Presets: none (demo), clean, paper, released.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Annotated, Literal

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import Distinct, Several

Rule = Literal["mean", "otsu"]
# As released: "pixel_accuracy" and "miou" pool the pixels of all photos, "map" ranks the pixels of
# both classes together, photo by photo.
Metric = Literal[
    "pixel_accuracy", "miou", "miou_by_photo", "miou_by_class", "map", "map_class_wise"
]


@dataclass(frozen=True)
class Data(blocks.ObjectData):
    """The data sets with masks of objects: all; unlabelled pixels are left out."""

    # Of each pixel: its nearest label, as released; or "binary": as resized, above 1/2.
    mask: Literal["labelled", "binary"] = "labelled"
    masked_folder: blocks.MaskedFolder = blocks.MaskedFolder(void="ignored")
    tfds: blocks.Tfds = blocks.Tfds(void="ignored")


@dataclass(frozen=True)
class Segmentation:
    """How maps are cut, and what is told about the parts."""

    rules: Annotated[tuple[Rule, ...], Distinct()] = typing.get_args(Rule)
    metrics: Annotated[tuple[Metric, ...], Distinct()] = typing.get_args(Metric)
    flat: Literal["nan", "zero"] = "nan"  # flat maps: left out, or all background, as released
    levels: Several = 20  # of the curve of precision and recall


@dataclass(frozen=True)
class Config(blocks.Changing):
    """All keys; their defaults are the demo."""

    experiment: str = "segmentation"
    models: blocks.Models = ("scenes/vit_00", "scenes/vit_95")  # finetuned ones by their folders
    # "original=finetuned"; (): finetuned ones with their originals, if config finetune made them,
    # else all pairs.
    pairs: tuple[str, ...] = ()
    head: str = "own"  # or "full": all outputs of a network, whatever the data's classes are
    data: Data = Data()
    saliency: blocks.Explaining = blocks.Explaining()
    segmentation: Segmentation = Segmentation()


STUDY = {"data.name": "imagenet_segmentation", "head": "full", "saliency.unfit": "error"}
RELEASED = {
    **STUDY,
    **blocks.ROBUSTVIT,
    "segmentation.rules": ("mean",),
    "segmentation.metrics": ("pixel_accuracy", "miou", "map"),
    "segmentation.flat": "zero",
}
PRESETS: Presets = {"": {}, "clean": STUDY, "paper": RELEASED, "released": RELEASED}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
