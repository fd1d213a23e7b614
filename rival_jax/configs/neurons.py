"""Which neuron stands for which attribute, and if it does on new images (RIVAL10 study, 6).

Presets: none (demo), clean, paper, released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import Between, Count, Inside, Several


@dataclass(frozen=True)
class Data(blocks.AttributeData):
    """The data sets with masks of attributes."""

    split: str = "test"  # held out
    train_split: str = "train"  # where features are chosen
    scenes: blocks.Scenes = blocks.Scenes(per_class=10, background_correlation=0.0)


@dataclass(frozen=True)
class Neurons:
    """How features are chosen and judged."""

    top: Several = 10  # images per class that a feature is judged by, the most activating ones
    threshold: Inside = 0.5  # of the saliency's range: what counts as salient
    # How a top image without the attribute counts: IoU 0, or left out.
    absent: Literal["empty", "left_out"] = "empty"
    least_images: Several = 5  # of a class with an attribute, in each split, to test the pair
    shuffled: Count = 4  # networks with permuted weights, searched in the same way
    permutations: Several = 9999  # of masks among images
    permuted_images: Annotated[int, Between(2)] = 100  # at most, per class with an attribute
    false_discovery_rate: Inside = 0.05
    pictures: Count = 3  # features per model that the report shows


@dataclass(frozen=True)
class Config(blocks.Measuring):
    """All keys; their defaults are the demo."""

    experiment: str = "neurons"
    models: blocks.Models = ("scenes/resnet_00",)
    head: str = "own"  # as in all experiments; features are the same under every head
    seed: int = 0
    cache: str = ""  # compiled programs; default ~/.cache/rival_jax
    data: Data = Data()
    neurons: Neurons = Neurons()


# A study on one's own data: name it and the models. 20 shuffled networks are enough for a single
# detector to be found at a rate of 0.05.
STUDY = {"data.name": "rival10", "neurons.shuffled": 20}
PAPER = {**STUDY, "normalise": "none"}
PRESETS: Presets = {
    "": {},
    "clean": STUDY,
    "paper": PAPER,
    # It concerns the data alone: no code of this experiment was released.
    "released": {**PAPER, "data.rival10.attribute_masks": "released"},
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
