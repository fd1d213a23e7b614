"""What configuration, file and caller say about a network, and what is assumed instead."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from rival_jax import weights
from rival_jax.models.network import INPUT, module_of
from rival_jax.models.settings import Settings, count
from rival_jax.types import Model
from rival_jax.weights import Config, Located

FLAG = "--config.preprocessing."  # before the name of what is given


def settled(
    found: Located,
    family: ModuleType,
    tensors: Mapping[str, np.ndarray],
    said: Mapping[str, Any],
    given: Mapping[str, Any],
) -> Config:
    """The final configuration; `assumed` lists the input's facts that had to be assumed.

    Args:
      found: with its `config.json`, if there is one.
      family: the network's.
      tensors: the network's.
      said: what the weights' file itself says, see `renaming.canonical`.
      given: the caller's values, see `models.load`.

    Raises:
      ValueError: a given value is invalid, or contradicts the checkpoint.
    """
    config = found.config or _of_a_lone_file(family, tensors)
    told = {key: value for key, value in said.items() if key in config.assumed}
    model_args = {**said.get("model_args", {}), **config.model_args}
    heads = given.get("num_heads")
    if heads and "num_heads" in getattr(family, "UNTOLD", {}):
        if count({"num_heads": heads}, "num_heads", 0, 1) != model_args.get("num_heads", heads):
            raise ValueError(
                f"{FLAG}num_heads={heads}, but the checkpoint says {model_args['num_heads']}; omit "
                "it, or correct config.json"
            )
        model_args["num_heads"] = heads
    config = dataclasses.replace(config, **told, model_args=Settings(model_args))
    config = dataclasses.replace(config, assumed=_without(config.assumed, told))
    size = model_args.get("img_size")
    if config.image_size is None and size is not None:
        both = size if isinstance(size, list | tuple) else [size, size]
        config = dataclasses.replace(config, image_size=weights.checked("input_size", [3, *both]))
    return _with_given(config, {key: given[key] for key in INPUT if key in given})


def notices(
    found: Located,
    family: ModuleType,
    config: Config,
    model: Model,
    keywords: Mapping[str, Any],
    sized: bool,
) -> tuple[str, ...]:
    """What a reader must know about a network that was read; see `Model.notices`.

    Args:
      config: from `settled`.
      keywords: those the network was built with.
      sized: whether the caller gave the image size.
    """
    taken = {key: words(getattr(model, key)) for key in config.assumed}
    if config.image_size is None and not sized:
        taken["input_size"] = "{}x{}".format(*model.image_size)
    if not config.architecture:
        untold = getattr(family, "UNTOLD", {}).items()
        taken |= {key: str(keywords[k]) for key, k in untold if key not in config.model_args}
    texts = [f"{found.name}: {notice}" for notice in config.notices]
    if taken:
        beside = found.file.parent / weights.CONFIG
        why = f"{beside} does not say all of its input"
        if found.config is None:
            why = f"no {weights.CONFIG} lies beside {found.file}"
        what = ", ".join(f"{key} {value}" for key, value in taken.items())
        texts.append(
            f"{found.name}: {why}, so this was assumed: {what}. Write what is true into "
            f"{weights.CONFIG}, or pass {FLAG}mean and the like"
        )
    return tuple(texts)


def unusual(family: ModuleType, model: Model) -> tuple[str, ...]:
    """See `Model.settings`: heads of 64 and the defaults of the family's module are usual."""
    module = module_of(model)
    width = getattr(module, "width", 0)
    if isinstance(getattr(module, "depths", None), tuple):  # CLIP's pooling, of the last stage
        width *= 2 ** (len(module.depths) + 1)
    found = []
    for key, field in getattr(family, "UNTOLD", {}).items():
        value = getattr(module, field)
        usual = max(1, width // 64) if key == "num_heads" else getattr(type(module), field)
        if value != usual:
            found.append(f"{key}={value}")
    return tuple(found)


def words(value: Any) -> str:
    """A value in readable form: "0.5 0.5 0.5"."""
    if isinstance(value, str):
        return value
    values = value if isinstance(value, tuple) else (value,)
    return " ".join(f"{number:g}" for number in values)


def _of_a_lone_file(family: ModuleType, tensors: Mapping[str, np.ndarray]) -> Config:
    headless = not any(name.startswith(("head.", "fc.")) for name in tensors)
    config = getattr(family, "DEFAULTS", Config(num_classes=0 if headless else None))
    return dataclasses.replace(config, assumed=INPUT)


def _with_given(config: Config, given: Mapping[str, Any]) -> Config:
    """Adds a notice if the checkpoint says otherwise."""
    texts = list(config.notices)
    for key, value in given.items():
        try:
            value = weights.checked(key, value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{FLAG}{key}={value!r}: {error}") from error
        there = getattr(config, key)
        if key not in config.assumed and there != value:
            texts.append(
                f"{key} {words(value)}, as {FLAG}{key} says, in place of the checkpoint's "
                f"{words(there)}"
            )
        config = dataclasses.replace(config, **{key: value})
    assumed = _without(config.assumed, given)
    return dataclasses.replace(config, assumed=assumed, notices=tuple(texts))


def _without(keys: tuple[str, ...], known: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(key for key in keys if key not in known)
