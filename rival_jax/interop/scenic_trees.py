"""Scenic's parameter trees as our networks, and our networks as its trees."""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from rival_jax import models
from rival_jax.interop import scenic_config, scenic_names, scenic_networks
from rival_jax.models import clip_vit
from rival_jax.models.network import shapes
from rival_jax.types import Model, Variables

_SHOWN = 8


def load(path: str | pathlib.Path, config: Any, **keywords: Any) -> tuple[Model, Variables]:
    """A checkpoint of Scenic's trainers: one file of msgpack, or a folder written by Orbax.

    Args:
      path: the file or folder, `.../checkpoint_90000`.
      config: as in `from_scenic`.
      **keywords: those of `from_scenic`; `name` defaults to the checkpoint's parent folder.

    Raises:
      FileNotFoundError: there is nothing at `path`.
      ValueError: it is not a checkpoint, or see `from_scenic`.
    """
    path = pathlib.Path(path)
    keywords = {"name": path.resolve().parent.name, **keywords}
    tree = models.weights.read_tree(path)
    if not isinstance(tree, Mapping):
        raise ValueError(f"{path} holds a {type(tree).__name__}, expected a train state")
    try:
        return from_scenic(tree, config, **keywords)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def from_scenic(
    tree: Mapping[str, Any],
    config: Any,
    *,
    name: str,
    image_size: tuple[int, int] | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> tuple[Model, Variables]:
    """Scenic's parameters as one of our models; the logits are the same.

    Computation uses the precision of the weights, whatever the config's `model_dtype_str` is.
    Photos are resized as for the config's data set or, if unspecified, as in timm's files.

    Args:
      tree: a train state, a module's variables, or bare parameters, as nested dicts of arrays.
      config: the experiment's ConfigDict, or such a mapping; it may be empty. Sizes are read off
        the weights and compared with it; only a vision transformer without a class token needs it,
        for `model.classifier`.
      name: what tables call the model.
      image_size: height and width; None takes the config's, else a square that fits.
      mean, std: of each channel for pixels in [0, 1]; None takes those of the config's data set.

    Returns:
      (model, variables), the weights in their own precision.

    Raises:
      ValueError: the weights belong to no known network, the config is another network's, a weight
        is missing, unknown or misshapen, or the normalisation of images is unknown.
    """
    config = scenic_config.plain(config)
    said = scenic_config.network_said(config)
    try:
        network = scenic_networks.recognised(_leaves(tree))
    except KeyError as error:
        raise ValueError(f"the tree has no {error.args[0]}; is it whole?") from None
    scenic_config.check(said, network.sizes)
    given = {"image_size": image_size, "mean": mean, "std": std}
    treatment = scenic_config.treatment(config, network.sizes, given)
    tensors = scenic_names.to_tensors(network.leaves, network.table)
    model = scenic_networks.built(network, tensors, name, treatment, said.get("classifier"))
    _check_fits(network.leaves, model)
    return model, network.family.convert(tensors, model)


def to_scenic(model: Model, variables: Variables) -> dict[str, Any]:
    """The inverse of `from_scenic`: `{"params": ..., "batch_stats": ...}` for Scenic's module.

    For CLIP it is the part under "visual". A train state takes "params" unchanged, and
    `{"batch_stats": ...}` as its model_state.

    Raises:
      ValueError: Scenic has no network with this arithmetic; states why.
    """
    collections = _to_leaves(model, variables)
    return {collection: _nested(leaves) for collection, leaves in collections.items()}


def _to_leaves(model: Model, variables: Variables) -> dict[str, dict[str, np.ndarray]]:
    family, table, heads = scenic_networks.equivalent(model)
    tensors = {
        name.removeprefix(clip_vit.PREFIX): tensor
        for name, tensor in family.export(variables, model).items()
    }
    return scenic_names.to_leaves(tensors, table, heads)


def _check_fits(leaves: Mapping[str, np.ndarray], model: Model) -> None:
    """Raises ValueError unless the leaves are exactly those of Scenic's module for this model."""
    blank = jax.tree.map(
        lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes(model.init)
    )
    expected = {
        path: leaf.shape
        for collection in _to_leaves(model, blank).values()
        for path, leaf in collection.items()
    }
    given = {path: leaf.shape for path, leaf in leaves.items()}
    problems = {
        "missing from the tree": expected.keys() - given.keys(),
        "in the tree but not in the network": given.keys() - expected.keys(),
        "of another shape": {
            f"{path} (got {given[path]}, expected {expected[path]})"
            for path in expected.keys() & given.keys()
            if given[path] != expected[path]
        },
    }
    parts = [f"{len(found)} {what}: {_some(found)}" for what, found in problems.items() if found]
    if parts:
        raise ValueError("the tree does not fit Scenic's network; " + "; ".join(parts))


def _some(found: Collection[str]) -> str:
    more = len(found) - _SHOWN
    return ", ".join(sorted(found)[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _leaves(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The leaves of the parameters and of batch norm's statistics, by path."""
    params, state = tree, tree.get("model_state") or {}
    if "optimizer" in tree:  # before Scenic used optax
        params = tree["optimizer"]["target"]
        params = params.get("params", params)
    elif "params" in tree:
        params = tree["params"]
        state = state or {"batch_stats": tree.get("batch_stats", {})}
    return dict(_flat(params)) | dict(_flat(state.get("batch_stats", state)))


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, np.ndarray]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}/")
        else:
            yield f"{above}{name}", np.asarray(value)


def _nested(leaves: Mapping[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *above, name = path.split("/")
        node = tree
        for part in above:
            node = node.setdefault(part, {})
        node[name] = leaf
    return tree
