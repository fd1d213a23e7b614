"""From photos to a cured network and its card: finetuned, then measured before and after.

Presets: none (demo), clean, paper, released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import ml_collections

from rival_jax.configs import (
    Presets,
    at_preset,
    finetune,
    perturbation,
    robustness,
    segmentation,
)
from rival_jax.configs.values import Distinct

Stage = Literal["robustness", "segmentation", "perturbation"]


@dataclass(frozen=True)
class Config:
    """The keys of each stage's config, and which stages follow; their defaults are the demo.

    Photos of segmentation and perturbation are those of finetune's first test set; the networks of
    all stages are the original and the finetuned one.
    """

    experiment: str = "study"
    stages: Annotated[tuple[Stage, ...], Distinct()] = (
        *("robustness", "segmentation", "perturbation"),
    )
    finetune: finetune.Config = finetune.Config()
    robustness: robustness.Config = robustness.Config()
    segmentation: segmentation.Config = segmentation.Config()
    perturbation: perturbation.Config = perturbation.Config()


STAGES = {
    "finetune": finetune,
    "robustness": robustness,
    "segmentation": segmentation,
    "perturbation": perturbation,
}
PRESETS: Presets = {
    preset: {
        f"{stage}.{key}": value
        for stage, module in STAGES.items()
        for key, value in module.PRESETS[preset].items()
    }
    for preset in ("", "clean", "paper", "released")
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
