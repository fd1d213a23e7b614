"""What is lost without the background, and without the object: six ways of taking a region away.

Presets: none (demo), clean, paper, released.
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks


@dataclass(frozen=True)
class Ablation:
    """What is put in the place of which region."""

    treatments: tuple[str, ...] = ("grey", "blur", "shuffle", "mean", "black", "swap")
    regions: tuple[str, ...] = ("background", "foreground")
    grey: float = 0.5
    blur: float = 1 / 14  # sigma, as a share of the image's height
    patches: int = 8  # that are shuffled, along the image's height


@dataclass(frozen=True)
class Probe(blocks.Probe):
    """Options of every head, and which of them are fitted."""

    regions: tuple[str, ...] = ("all", "foreground")  # seen while fitted; "foreground": rest grey


@dataclass(frozen=True)
class Config(blocks.Changing):
    """All keys; their defaults are the demo."""

    experiment: str = "background"
    models: tuple[str, ...] = ("scenes/vit_00", "scenes/vit_95")
    groups: tuple[str, ...] = ()  # "name=model,model": averaged in figure 8; others stand alone
    head: str = "probe"  # "own" | "probe" (fitted on data.train_split) | "imagenet" (no training)
    data: blocks.ObjectData = blocks.ObjectData()
    ablation: Ablation = Ablation()
    probe: Probe = Probe()


STUDY = {"data.name": "rival10"}  # a study on one's own data: name it and the models
PROTOCOL = {"ablation.treatments": ("grey",), "ablation.regions": ("background",)}
PRESETS: Presets = {
    "": {},
    "clean": {**STUDY, "data.mask": "binary"},
    "paper": {**STUDY, **blocks.PAPER, **PROTOCOL, "data.mask": "binary"},
    "released": {**STUDY, **blocks.RELEASED, **PROTOCOL},
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
