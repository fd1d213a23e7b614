"""Which parts of the object a classifier needs: each attribute greyed, against its size, swapped.

Presets: none (demo), clean, paper, released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import Distinct, Several, Share

# The attributes that the study's supplement shows.
FIRST_ELEVEN = (
    *("long-snout", "wings", "wheels", "text", "horns", "floppy-ears", "ears", "colored-eyes"),
    *("tail", "mane", "beak"),
)


@dataclass(frozen=True)
class Data(blocks.AttributeData):
    """The data sets with masks of attributes."""

    # Of figure 3, of the attributes' classifier, and of head="probe".
    train_split: str = "train"
    scenes: blocks.Scenes = blocks.Scenes(per_class=6, background_correlation=0.0)


@dataclass(frozen=True)
class Ablation:
    """Which attributes are taken away, and what for."""

    attributes: Annotated[tuple[str, ...], Distinct(0)] = ()  # (): all that any image has
    grey: Share = 0.5
    background: Literal["kept", "black"] = "kept"  # or the object alone, as released too
    draws: Several = 3  # random regions of equal area in the same object
    pooling: Literal["classes", "images"] = "classes"  # means of class means, or of all images


@dataclass(frozen=True)
class Probe(blocks.RegionFit, blocks.Probe):
    """Options of every head, and which part of a photo they are fitted on."""


@dataclass(frozen=True)
class Config(blocks.Changing):
    """All keys; their defaults are the demo."""

    experiment: str = "attributes"
    models: blocks.Models = ("scenes/vit_00", "scenes/vit_95")
    data: Data = Data()
    ablation: Ablation = Ablation()
    probe: Probe = Probe()
    statistics: blocks.Statistics = blocks.Statistics(resamples=1000)


# A study on one's own data: name it and the models.
STUDY = {"data.name": "rival10", "head": "probe", "ablation.draws": 9, "statistics.resamples": 2000}
PROTOCOL = {"ablation.attributes": FIRST_ELEVEN, "ablation.pooling": "images"}
PRESETS: Presets = {
    "": {},
    "clean": {**STUDY, "data.mask": "binary"},
    "paper": {**STUDY, **blocks.PAPER, **PROTOCOL, "data.mask": "binary"},
    "released": {
        **STUDY,
        **blocks.RELEASED,
        **PROTOCOL,
        "data.rival10.attribute_masks": "released",
    },
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
