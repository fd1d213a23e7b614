"""The two papers' claims, judged on one's own finished runs; and how the presets differ."""

from __future__ import annotations

from dataclasses import dataclass

import ml_collections

from rival_jax.configs import Presets, at_preset


@dataclass(frozen=True)
class Config:
    """All keys; their defaults are all finished runs."""

    experiment: str = "claims"
    runs: tuple[str, ...] = ()  # workdirs of finished runs; () is all below runs/
    # What a paper's network is called in the results, if not by a name it was published under, and
    # what was done to it: "vit_b=mine", "vit_b ours annotated=mine_cured".
    networks: tuple[str, ...] = ()
    # One's own networks in place of a group of RIVAL10's: "vits=scenes/vit_00,scenes/vit_95".
    groups: tuple[str, ...] = ()


PRESETS: Presets = {"": {}}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config; it has no presets."""
    return at_preset(Config(), PRESETS, preset)
