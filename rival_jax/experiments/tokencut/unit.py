"""What a device does for TokenCut: features of the tokens, and their normalised cut."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from rival_jax import noise
from rival_jax.configs.tokencut import Config
from rival_jax.runtime import parallel
from rival_jax.tokencut import normalised_cut
from rival_jax.types import Array, Batch, Forward, Model, Variables

FEATURES = ("query", "key", "value")  # in the order that the tap holds them
ON_CPU = 8  # images per step there
COPIES = 8  # arrays [n, n] that an eigenproblem holds at once, about


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the cut follows from, beside the network and the photo; values of `config.tokencut`."""

    feature: str
    block: int | str  # of `Model.attention_taps`; -1 is the last; "auto" until the network is known
    tau: float
    graph: str
    precision: str  # of the eigenproblem; "float64" | "float32"

    @classmethod
    def of(cls, config: Config) -> Settings:
        """Those of a config."""
        c = config.tokencut
        return cls(c.feature, c.block, float(c.tau), c.graph, c.precision)

    def context(self) -> contextlib.AbstractContextManager:
        """In which the cut is to be compiled and run."""
        return jax.enable_x64(self.precision == "float64")


def chosen_block(model: Model, block: int | str) -> tuple[int, str]:
    """The block to cut at, and what a reader must know of the choice ("" of a number's).

    A network without classes shows objects in its last block's keys. A classifier's last block is
    about the class instead; one after the middle parts object from background better: IoU 0.52 at
    block 7 of AugReg's ViT-Tiny, 0.20 at its last, 11 (30 photos, tau 0.2, not refined).
    """
    if block != "auto":
        return int(block), ""
    depth = len(model.attention_taps)
    middle = 3 * depth // 5
    if not model.num_classes:
        return -1, (
            f"{model.name} has no classes and is taken for self-supervised: TokenCut cuts the "
            f"last of its {depth} blocks; --config.tokencut.block names another"
        )
    return middle, (
        f"{model.name} is a classifier of {model.num_classes} classes: TokenCut cuts block "
        f"{middle} of 0 to {depth - 1}, since a classifier's last block shows objects badly; "
        "--config.tokencut.block names another"
    )


def tap_of(model: Model, settings: Settings) -> str:
    """The tap that holds queries, keys and values.

    Raises:
      ValueError: if the network has no such block, tap or grid; says which networks have.
    """
    blocks = model.attention_taps
    if not blocks:
        raise ValueError(
            f"{model.name} has no attention, and TokenCut cuts the keys of a ViT: name a ViT in "
            "--config.models, best a DINO one (dino/vitb16)"
        )
    block, _ = chosen_block(model, settings.block)
    if not -len(blocks) <= block < len(blocks):
        raise ValueError(
            f"config.tokencut.block={block}: {model.name} has blocks 0 to {len(blocks) - 1}; -1 is "
            "the last"
        )
    name = blocks[block].replace("/attention", "/qkv")
    shapes = _shapes(model)
    if name not in shapes:
        raise ValueError(f"{model.name} does not show its keys: there is no tap {name}")
    model.to_grid(jnp.zeros(shapes[name].shape))  # raises what is wrong with it
    return name


def patch_size(model: Model, tap: str) -> int:
    """Side of a patch in pixels."""
    shape = jax.eval_shape(model.to_grid, _shapes(model)[tap]).shape
    return model.image_size[0] // shape[1]


def step_size(model: Model, tokens: int, config: Config, devices: Any) -> int:
    """Images per step: `config.batch_size`, or what fits a device's memory by a rough count."""
    if config.batch_size != "auto":
        return int(config.batch_size)
    if devices.flat[0].platform == "cpu":
        return ON_CPU * devices.size
    taps = sum(4 * math.prod(value.shape) for value in _shapes(model).values())
    budget = parallel.memory_budget(devices.flat[0])
    return max(1, int(budget / (taps + 8 * COPIES * tokens**2))) * devices.size


def _shapes(model: Model) -> Mapping[str, Any]:
    """Of every tap for one image of the network's own size."""
    image = jax.ShapeDtypeStruct((1, *model.image_size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, noise.key(0))
    return jax.eval_shape(lambda v, x: model.forward(v, x, {})[1], variables, image)


def token_features(to_grid: Callable[[Array], Array], feature: str, value: Array) -> Array:
    """Tokens of one kind, heads side by side: [b, h, w, c] of a tap [b, prefix + h * w, 3 c]."""
    return jnp.split(to_grid(value), 3, axis=-1)[FEATURES.index(feature)]


def cut(
    forward: Forward,
    to_grid: Callable[[Array], Array],
    tap: str,
    settings: Settings,
    variables: Variables,
    batch: Batch,
) -> dict[str, Array]:
    """Every image's object: `component` bool [b, h, w], `seed` [b], `eigenvalues` [b, 2]."""
    _, taps = forward(variables, jnp.asarray(batch["image"]), {})
    found = token_features(to_grid, settings.feature, taps[tap]).astype(settings.precision)
    b, rows, columns, _ = found.shape
    options = {"tau": settings.tau, "graph": settings.graph}
    parts = normalised_cut(found.reshape(b, rows * columns, -1), (rows, columns), **options)
    return {"component": parts.component, "seed": parts.seed, "eigenvalues": parts.eigenvalues}
