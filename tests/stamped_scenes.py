"""Scenes in which one attribute is grey with a faint code on it; a network that reads the code.

The code is the only thing by which the planted detector knows the attribute; a patch filter drawn
at random hardly sees it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from rival_jax.data import scenes
from rival_jax.data.rival10 import ATTRIBUTES
from rival_jax.taps import Recorder
from rival_jax.types import Array, Model, Taps, Variables

STAMPED, STRENGTH, CELL, CHANNELS = "wheels", 40, 4, 24
PLANTED = 5  # the channel
CODE = np.random.default_rng(0).permuted(np.tile([1, -1], 8 * 3)).reshape(CELL, CELL, 3)


class Stamped:
    """`scenes.Scenes` whose wheels are stamped."""

    def __init__(self, inner: scenes.Scenes):
        self._inner = inner
        for name in ("classes", "class_wnids", "names", "labels", "attributes"):
            setattr(self, name, getattr(inner, name))
        self.attribute_pixels = inner.attribute_pixels

    def __len__(self) -> int:
        return len(self._inner)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self._inner[index]
        mask = np.asarray(item["attribute_masks"][ATTRIBUTES.index(STAMPED)]) > 127
        code = np.tile(CODE, (mask.shape[0] // CELL, mask.shape[1] // CELL, 1))
        photo = np.where(mask[..., None], 128 + STRENGTH * code, np.asarray(item["image"], int))
        return item | {"image": Image.fromarray(np.clip(photo, 0, 255).astype(np.uint8))}


def load(root: Path, split: str, *, attributes: bool = False) -> Stamped:
    """12 scenes of each class, with attributes in any case."""
    return Stamped(scenes.load(root, split, per_class=12, attributes=True))


def forward(variables: Variables, images: Array, added: Taps) -> tuple[Array, Taps]:
    """A projection of every patch, ReLU, global average pooling."""
    tap, weights = Recorder(added), variables["params"]
    b, h, w, _ = images.shape
    patches = images.reshape(b, h // CELL, CELL, w // CELL, CELL, 3) - 0.5
    x = jnp.einsum("byixjk,ijkc->byxc", patches, weights["kernel"]) - weights["bias"]
    x = tap("grid", jax.nn.relu(x))
    features = tap("features", x.mean((1, 2)))
    return features, tap.values


def init(key: Array) -> Variables:
    kernel = jax.random.normal(key, (CELL, CELL, 3, CHANNELS)) / CODE.size**0.5
    return {"params": {"kernel": kernel, "bias": jnp.zeros(CHANNELS)}}


def planted(key: Array) -> Variables:
    """Random weights but for one channel, which answers to the code."""
    weights = init(key)["params"]
    kernel = weights["kernel"].at[..., PLANTED].set(CODE / CODE.size**0.5)
    return {"params": {"kernel": kernel, "bias": weights["bias"].at[PLANTED].set(0.1)}}


MODEL = Model("stamp", forward, init, CHANNELS, cam_tap="grid", image_size=(64, 64))
