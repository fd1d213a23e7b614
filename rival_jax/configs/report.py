"""One report of several rfs runs: models measured on the same images, compared in pairs."""

from __future__ import annotations

from dataclasses import dataclass

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks


@dataclass(frozen=True)
class Config:
    """All keys; their defaults are the newest run."""

    experiment: str = "report"
    runs: tuple[str, ...] = ()  # workdirs of finished rfs runs; () is the newest below runs/
    groups: tuple[str, ...] = ()  # "name=model,model": averaged in figure 4; others stand alone
    statistics: blocks.Statistics = blocks.Statistics()


PRESETS: Presets = {"": {}}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config; it has no presets."""
    return at_preset(Config(), PRESETS, preset)
