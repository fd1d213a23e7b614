"""Masks for photos that have none: normalised cuts of a ViT's keys, refined at the photo's edges.

The masks and photos lie in WORKDIR/masks/MODEL/SPLIT; any experiment reads them with
--config.data.name=masked_folder --config.data.root=WORKDIR/masks/MODEL.

Presets: none (demo), clean, paper, released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import BatchSize, Between, Count, Positive, Share


@dataclass(frozen=True)
class Data(blocks.Photos):
    """Photos; masks are ignored if there are any."""

    name: str = "scenes"  # "image_folder": photos alone | "scenes" | "rival10" | "masked_folder"
    split: str = "train"
    scenes: blocks.Scenes = blocks.Scenes(per_class=40)
    masked_folder: blocks.MaskedFolder = blocks.MaskedFolder()
    image_folder: blocks.ImageFolder = blocks.ImageFolder()


@dataclass(frozen=True)
class Tokencut:
    """How photos are cut and the cuts refined."""

    feature: Literal["query", "key", "value"] = "key"  # of the tokens
    # The block: "auto", or a number (-1: the last). "auto" is the last block for a network without
    # classes (DINO), as published, and one after the middle for a classifier.
    block: Literal["auto"] | int = "auto"
    # Least cosine of an edge; picked on true masks of drawn scenes.
    tau: Annotated[float, Between(0, 0.999)] = 0.1
    graph: Literal["binary", "weighted"] = "binary"  # edges weigh 1, or their cosine
    # Of the eigenproblem; "float32" for devices without float64.
    precision: Literal["float64", "float32"] = "float64"
    scale: Positive = 1.0  # photos are enlarged by this before they are cut into tokens
    max_tokens: Count = 1600  # larger photos are scaled down; 0: no limit
    positions: Literal["antialias", "dino"] = "antialias"  # resampling of position embeddings
    refine: Literal["bilateral", "none"] = "bilateral"
    sigmas: tuple[Positive, ...] = (16.0, 16.0, 8.0)  # of the solver: pixels, luma, chroma
    choice: Literal["largest", "released"] = "largest"  # object of the solver's output
    agreement: Share = 0.3  # least IoU of that object and the cut; else the cut is taken
    # Folder of segment-anything's segments of the photos, FOLDER/CLASS/NAME/0.png ...: the object
    # is then those that lie mostly in the refined mask.
    segments: str = ""
    min_pixels: Count = 1  # smaller masks are skipped
    min_gap: float = 1e-6  # photos whose second and third eigenvalue differ by less are skipped
    per_class: Count = 0  # photos of each class, the first ones; 0: all
    photos: bool = True  # photos are written beside the masks
    shown: Count = 24  # photos in the report


@dataclass(frozen=True)
class Config(blocks.Networks):
    """All keys; their defaults are the demo."""

    experiment: str = "tokencut"
    # The networks of DINO are what the method is made for: dino/vits16, dino/vitb16, ...
    models: blocks.Models = ("scenes/vit_00",)
    preset: str = "demo"
    seed: int = 0  # of the photos that are shown
    batch_size: BatchSize = "auto"  # or images per step; "auto" fills the memory budget
    output: str = ""  # folder of the masks; default WORKDIR/masks
    data: Data = Data()
    tokencut: Tokencut = Tokencut()
    statistics: blocks.Statistics = blocks.Statistics()


# Photos of one's own: name them.
STUDY = {
    "models": ("dino/vitb16",),
    "data.name": "image_folder",
    "tokencut.tau": 0.2,
    "tokencut.agreement": 0.5,
    "tokencut.positions": "dino",
}
PAPER = {**STUDY, "tokencut.max_tokens": 0, "tokencut.min_gap": -1.0}
PRESETS: Presets = {
    "": {},
    "clean": STUDY,
    "paper": PAPER,
    "released": {**PAPER, "tokencut.choice": "released", "tokencut.min_pixels": 520},
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
