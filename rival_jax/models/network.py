"""From a flax module to a `Model`: input normalisation, precision, taps."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rival_jax import noise
from rival_jax.taps import Recorder
from rival_jax.types import Array, Model, Taps, Variables

Tap = Callable[[str, Array], Array]
"""Called by a network with each value it exposes: `(name, value) -> value, perhaps changed`."""


INPUT = ("mean", "std", "interpolation", "crop_pct")
"""A `Model`'s facts about its input, besides the size; `mean`, `std` are for [0, 1] pixels."""


def at_least_float32(value: Array) -> Array:
    """bfloat16 and float16 widened; float64 left alone."""
    return value.astype(jnp.promote_types(value.dtype, jnp.float32))


@dataclasses.dataclass(frozen=True)
class Network:
    """The pure `Forward` of a module whose `__call__(images, tap)` returns logits.

    Normalises in float32, then computes in the precision of the parameters. The tap "image" is
    the input before normalisation. Equal for equal networks, so that jit compiles each one once.
    """

    module: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, variables: Variables, images: Array, added: Taps) -> tuple[Array, Taps]:
        """See `types.Forward`. Raises ValueError for another rank or number of channels."""
        if images.ndim != 4 or images.shape[-1] != len(self.mean):
            raise ValueError(f"images: got {images.shape}, expected [b, h, w, {len(self.mean)}]")
        tap = Recorder(added)
        images = at_least_float32(tap("image", images))
        normalised = (images - jnp.asarray(self.mean)) / jnp.asarray(self.std)
        precision = jnp.result_type(*jax.tree.leaves(variables["params"]))
        logits: Any = self.module.apply(variables, normalised.astype(precision), tap)
        tap.check()
        return at_least_float32(logits), tap.values


@dataclasses.dataclass(frozen=True)
class Initialiser:
    """`Model.init` of a module: fresh float32 variables from a key."""

    module: nn.Module
    image_size: tuple[int, int]

    def __call__(self, key: Array) -> Variables:
        """Variables of the module for one image of `image_size`."""
        image = jnp.zeros((1, *self.image_size, 3))
        return jax.jit(lambda key: self.module.init(key, image, Recorder({})))(key)


@functools.lru_cache(maxsize=32)
def shapes(init: Callable[[Array], Variables]) -> Variables:
    """The variables that a `Model.init` makes, as shapes; traced once for equal networks."""
    return jax.eval_shape(lambda: init(noise.key(0)))


def as_model(module: nn.Module, name: str, image_size: tuple[int, int], **facts: Any) -> Model:
    """A module as a `Model`; `facts` are the remaining fields: classes, taps, input."""
    given = {"name": name, "image_size": image_size, **facts}
    mean, std = given.get("mean", Model.mean), given.get("std", Model.std)
    forward, init = Network(module, mean, std), Initialiser(module, image_size)
    return Model(forward=forward, init=init, **given)


def input_keywords(keywords: dict[str, Any]) -> dict[str, Any]:
    """Removes from a family's `build` keywords those about its input: mean, std, resizing."""
    return {key: keywords.pop(key) for key in INPUT if key in keywords}


def module_of(model: Model) -> nn.Module:
    """The flax module behind a model. Raises ValueError for a model that has none."""
    if not isinstance(model.forward, Network):
        raise ValueError(f"model {model.name!r} was not built by a family of rival_jax.models")
    return model.forward.module
