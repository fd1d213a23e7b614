"""Accuracy on shifted data sets by named protocols: networks x sets, and what a cure changed.

Presets: none (demo); clean, paper, released (RobustViT's table 1); clean_si, paper_si, released_si
(its table 2, SI-Score).
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks


@dataclass(frozen=True)
class Config(blocks.Evaluating):
    """All keys; their defaults are the demo."""

    experiment: str = "robustness"
    models: blocks.Models = ("scenes/vit_00", "scenes/vit_95")  # finetuned ones by their folders
    sets: blocks.Sets = tuple(
        f"scenes background_correlation={share}" for share in (0.95, 0.75, 0.5, 0.25, 0.0)
    )
    protocols: tuple[str, ...] = ()  # to report, see `rival_jax.protocols`; (): all


TABLE_1 = ("imagenet", "imagenet_v2", "imagenet_a", "imagenet_r", "imagenet_sketch", "objectnet")
SI_SCORE = tuple(f"siscore kind={kind}" for kind in ("location", "rotation", "area"))
RELEASED = {
    **blocks.ROBUSTVIT,
    "preprocessing.interpolation": "bilinear",
    "preprocessing.crop_pct": 224 / 256,
    "protocols": ("full", "full_5", "first", "first_5"),
    "data.objectnet.border": 0,
}
PROTOCOLS: Presets = {
    "clean": {},
    "paper": {**RELEASED, "data.objectnet.border": 1},
    "released": RELEASED,
}
PRESETS: Presets = {
    "": {},
    **{name: {**values, "sets": TABLE_1} for name, values in PROTOCOLS.items()},
    **{f"{name}_si": {**values, "sets": SI_SCORE} for name, values in PROTOCOLS.items()},
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
