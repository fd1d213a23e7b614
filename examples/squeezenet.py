"""A family of networks: fire modules and a 1 x 1 convolution for a head (Iandola et al. 2016).

Like SqueezeNet, of any size; without its last ReLU, so that logits are linear in the features.
Weights are read by the family that stands before the colon:

  python -m rival_jax.main --config=configs/check_model.py \
      --config.models="('examples.squeezenet:path/to/weights',)"

`path/to/weights` is a folder with config.json and model.safetensors, or the latter alone. After a
training of your own, `rival_jax.models.save` writes one:

    model = squeezenet.build(name="mine", num_classes=10, stem=16, fires=((8, 32), (8, 32)))
    models.save(Path("path/to/weights"), model, variables)
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from rival_jax.models import conversion, settings
from rival_jax.models.network import (
    Initialiser,
    Tap,
    as_model,
    at_least_float32,
    input_keywords,
    module_of,
)
from rival_jax.types import Array, Model, Variables
from rival_jax.weights import Config

# What is assumed of weights without a config.json. A family whose head is called neither "head"
# nor "fc" needs it: weights without one of these would be taken for a trunk without classes.
DEFAULTS = Config(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), crop_pct=1.0)
# What no tensor tells: keys of config.json's model_args, and the keywords of `build` they become.
# Where nothing says it, console and page tell what was assumed.
UNTOLD = {"pool_every": "pool_every"}


class Fire(nn.Module):
    """1 x 1 to few channels, then 1 x 1 and 3 x 3 side by side to many."""

    squeeze: int
    expand: int  # of the two together

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.relu(nn.Conv(self.squeeze, (1, 1), name="squeeze")(x))
        sides = [nn.Conv(self.expand // 2, (n, n), name=f"expand{n}x{n}")(x) for n in (1, 3)]
        return nn.relu(jnp.concatenate(sides, axis=-1))


class SqueezeNet(nn.Module):
    """In inference mode; takes images of any size.

    Taps: "stem", "fire0" .. [b, h, w, c], each after its ReLU, and "features" [b, f], the spatial
    mean of the last.
    """

    num_classes: int
    stem: int
    fires: tuple[tuple[int, int], ...]  # channels of each: squeezed, expanded
    pool_every: int = 2  # fire modules from one max pool to the next

    @nn.compact
    def __call__(self, images: Array, tap: Tap) -> Array:
        x = nn.Conv(self.stem, (3, 3), strides=2, padding=1, name="conv1")(images)
        x = tap("stem", nn.relu(x))
        for i, (squeeze, expand) in enumerate(self.fires):
            if i % self.pool_every == 0:
                x = nn.max_pool(x, (2, 2), (2, 2), "SAME")
            x = tap(f"fire{i}", Fire(squeeze, expand, name=f"fire_{i}")(x))
        features = tap("features", at_least_float32(x).mean((1, 2)))
        head = nn.Conv(self.num_classes, (1, 1), name="conv10")  # of the mean: the mean of its map
        return head(features.astype(x.dtype)[:, None, None])[:, 0, 0]


def build(*, name: str, image_size: tuple[int, int] = (64, 64), **keywords: Any) -> Model:
    """A network of the fields of `SqueezeNet`; and `mean`, `std`, ... as `types.Model` has them."""
    given = input_keywords(keywords)
    module = SqueezeNet(**keywords)
    last = f"fire{len(module.fires) - 1}"
    facts = {"num_classes": module.num_classes, "cam_tap": last, **given}
    return as_model(module, name, image_size, **facts)


def recognises(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether tensors are of this family; asked of the package's own families alone."""
    return {"conv10.weight", "fire.0.squeeze.weight"} <= tensors.keys()


def infer(tensors: Mapping[str, np.ndarray], config: Config) -> dict[str, Any]:
    """The keywords of `build` that fit a checkpoint, but its name and input.

    Every key of model_args has to be asked for, or it is refused by name. Raises ValueError for
    tensors of another kind, or a setting that is not that of the network.
    """
    count = sum(bool(re.fullmatch(r"fire\.\d+\.squeeze\.weight", name)) for name in tensors)
    width = lambda name: conversion.shape_of(tensors, f"{name}.weight", 4)[0]  # noqa: E731
    return {
        "num_classes": width("conv10") if config.num_classes is None else config.num_classes,
        "image_size": config.image_size or (64, 64),
        "stem": width("conv1"),
        "fires": tuple(
            (width(f"fire.{i}.squeeze"), 2 * width(f"fire.{i}.expand1x1")) for i in range(count)
        ),
        "pool_every": settings.count(config.model_args, "pool_every", 2, least=1),
    }


def convert(tensors: Mapping[str, np.ndarray], model: Model) -> Variables:
    """A checkpoint's tensors as variables; raises ValueError unless each is used and each there."""
    return conversion.to_variables(tensors, conversion.torch_rules(model.init))


def export(variables: Variables, model: Model) -> dict[str, np.ndarray]:
    """The inverse of `convert`: tensors under the names and in the layout that PyTorch has."""
    return conversion.to_tensors(variables, conversion.torch_rules(model.init))


def config(model: Model) -> Config:
    """What `infer` needs beside the tensors, for config.json; the input comes by itself."""
    said = {"pool_every": module_of(model).pool_every}
    return Config(architecture="squeezenet", num_classes=model.num_classes, model_args=said)


def resized(
    model: Model, variables: Variables, image_size: tuple[int, int], method: str
) -> tuple[Model, Variables]:
    """The network for images of another size: no weight depends on it."""
    init = Initialiser(module_of(model), image_size)
    return dataclasses.replace(model, init=init, image_size=image_size), variables
