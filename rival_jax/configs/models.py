"""The published networks that other configs can name: which exist, and which are downloaded."""

from __future__ import annotations

from dataclasses import dataclass

import ml_collections

from rival_jax.configs import Presets, at_preset


@dataclass(frozen=True)
class Config:
    """All keys; their defaults list everything."""

    experiment: str = "models"
    study: str = ""  # "rival10" | "robustvit" | "tokencut" | "other"; "" lists all
    match: str = ""  # lists networks with this in their name or an alias
    fetch: tuple[str, ...] = ()  # names to download; ("all",): all that are listed
    cache: str = ""  # where downloads go; default ~/.cache/rival_jax


PRESETS: Presets = {"": {}}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config; it has no presets."""
    return at_preset(Config(), PRESETS, preset)
