"""A live Scenic module as a model: converted if we have its network, else run and watched."""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from rival_jax.interop import scenic_trees, watching
from rival_jax.interop.scenic_vit import POOLS
from rival_jax.types import Model, Variables

INSTALL = "git clone https://github.com/google-research/scenic && pip install --no-deps -e ./scenic"
_BASELINES = "scenic.projects.baselines."


def _is_our_vit(config: Mapping[str, Any]) -> bool:
    height, width = config["patches"]["size"]
    return (
        config["classifier"] in ("token", *POOLS)
        and config["positional_embedding"] == "learned_1d"
        and config["dtype"] == jnp.float32
        and height == width
    )


_CONVERTED: dict[str, Callable[[Mapping[str, Any]], bool]] = {  # by class: whether its fields are
    "vit.ViT": _is_our_vit,
    "resnet.ResNet": lambda config: bool(config["num_outputs"]) and config["dtype"] == jnp.float32,
    "clip.layers.CLIP": lambda config: True,
    "clip.layers.VisionTransformer": lambda config: True,
    "clip.layers.ModifiedResNet": lambda config: True,
}


def check_installed() -> None:
    """Raises ImportError unless `import scenic` finds Google's Scenic."""
    spec = importlib.util.find_spec("scenic")
    folders = (
        [pathlib.Path(place) for place in spec.submodule_search_locations or ()] if spec else []
    )
    if any((folder / "model_lib").is_dir() for folder in folders):
        return
    found = "there is no package scenic here"
    if any((folder / "syntax").is_dir() for folder in folders):
        found = f"{folders[0]} is the Scenic scenario language, PyPI's package of the same name"
    raise ImportError(
        f"{found}, not google-research/scenic; uninstall it if it is there, then {INSTALL}, and "
        "pip install -r requirements/scenic.txt"
    )


def wrap_scenic_model(
    module: Any,
    variables: Variables,
    *,
    name: str = "scenic",
    image_size: tuple[int, int] | None = None,
    mean: tuple[float, ...] = (0.0, 0.0, 0.0),
    std: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> tuple[Model, Variables]:
    """A live module and its variables as a model with taps.

    Scenic's ViT, ResNet and CLIP become our networks, by `scenic_trees.from_scenic`, and the logits
    of CLIP are its image features before they are normalised. Any other module runs itself and
    is watched, see `watching.watched`.

    Args:
      module: a Flax module that classifies images, or a Scenic model with its `flax_model`.
      variables: `{"params": ...}` and its other collections.
      name: what tables call it.
      image_size: height and width; None for a square that fits the weights' positions.
      mean, std: of each channel; the module gets (pixels in [0, 1] - mean) / std.

    Raises:
      ImportError: it is not a Flax module, and Google's Scenic is not installed.
      ValueError: it is not a Flax module, or see `scenic_trees.from_scenic` and `watching.watched`.
    """
    module = getattr(module, "flax_model", module)
    if not isinstance(module, nn.Module):
        check_installed()
        raise ValueError(f"module is a {type(module).__name__}, expected a Flax module")
    kind = f"{type(module).__module__}.{type(module).__qualname__}".removeprefix(_BASELINES)
    config = {field.name: getattr(module, field.name) for field in dataclasses.fields(module)}
    given: dict[str, Any] = {"image_size": image_size, "mean": mean, "std": std}
    if kind in _CONVERTED and _CONVERTED[kind](config):
        tower = kind.startswith("clip") and kind != "clip.layers.CLIP"
        tree = {key: {"visual": value} for key, value in variables.items()} if tower else variables
        return scenic_trees.from_scenic(tree, config, name=name, **given)
    if image_size is None:
        raise ValueError(f"a {kind} does not say for which images it is; give image_size=")
    model = watching.watched(module, variables, name=name, **given)
    return model, variables
