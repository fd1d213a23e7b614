"""Relative foreground sensitivity: accuracy under noise in the object against its background.

Presets: none (demo), clean, paper, released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import Distinct, Positive, Several

Region = Literal["foreground", "background", "all"]
FEWEST = 2  # trials, whose spread can be seen


class Round(NamedTuple):
    """Trials of all images under a level of noise: a unit of work."""

    first: int  # number of the first
    trials: int


@dataclass(frozen=True)
class Noise(blocks.Levels):
    """And where noise is, and how often it is drawn."""

    regions: Annotated[tuple[Region, ...], Distinct()] = ("foreground", "background")
    # "auto": for each network, until the interval of its RFS is no wider than with the most trials
    # but for a share of that width; the levels that need it most have more trials than others.
    trials: Literal["auto"] | Several = "auto"
    # Of each level. In a mean over levels, ten trials that these share are worth no more than five,
    # wherever sharing doubles the variance: in nine of ten cases (benchmarks/README.md).
    most_trials: Several = 5
    widening: Positive = 0.05
    # Whose interval: that of the mean over the levels of a norm, or of each level by itself.
    enough_for: Literal["mean", "level"] = "mean"

    def rounds(self) -> list[Round]:
        """All rounds of trials; with "auto" only the first is sure to be needed."""
        if self.trials != "auto":
            return [Round(0, self.trials)]
        start = min(FEWEST, self.most_trials)
        return [Round(0, start), *(Round(first, 1) for first in range(start, self.most_trials))]

    def judged(self) -> list[tuple[str, tuple[float, ...]]]:
        """Each norm with levels whose trials are added until they are enough for their mean."""
        if self.enough_for == "level":
            return [(norm, (level,)) for norm, level in self.every()]
        return [(norm, self.levels(norm)) for norm in self.norms]


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
}
PRESETS: Presets = {
    "": {},
    "clean": {**STUDY, "data.mask": "binary"},
    "paper": {**STUDY, **blocks.PAPER, "data.mask": "binary", "noise.trials": 10},
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
