"""Networks that are exported on the way: those of libraries, and of functions of one's own.

Exports are kept in the cache's folder `exports` by what they were made of.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rival_jax import weights
from rival_jax.models import exporting, graph_file, torch_libraries
from rival_jax.runtime.results import cache_folder

PREFIX = "torch:"  # of "torch:my_lab.networks:function"
DEFAULT_SIZE = (224, 224)


def by_library(
    found: weights.Located, tensors: Mapping[str, np.ndarray], error: ValueError
) -> weights.Located:
    """The export of a library's checkpoint that no native family reads; made once.

    Args:
      found: with a configuration that tells the library, or the architecture of timm's.
      tensors: its weights.
      error: why no family reads them.

    Raises:
      ValueError: `error`, and why the library does not help either.
    """
    config = found.config
    library = torch_libraries.package_of(config) if config else ""
    if config is None or not library:
        raise error
    try:
        for package in ("torch", library):
            exporting.needed(package)
        versions = f"{torch_libraries.versions(library)}, graph {graph_file.VERSION}"
        key = hashlib.sha256(found.file.read_bytes())
        key.update(json.dumps([str(config), versions]).encode())
        short = config.architecture or found.name
        folder = cache_folder() / "exports" / f"{short}-{key.hexdigest()[:16]}"
        if not folder.is_dir():
            network = torch_libraries.network_of(found, tensors)
            size = config.image_size or DEFAULT_SIZE
            _export(network, folder, size, config, f"{library}/{short}, {versions}")
    except ValueError as other:
        raise ValueError(f"{error}. As a network of {library}: {other}") from error
    there = weights.read_config(folder / weights.CONFIG)
    said = {key: getattr(config, key) for key in ("assumed", "notices")}
    return weights.Located(folder / weights.TENSORS, found.name, dataclasses.replace(there, **said))


@functools.cache
def by_function(name: str) -> weights.Located:
    """The export of what a function of the user returns: their code, which is run here.

    Args:
      name: "torch:my_lab.networks:function". It is called without arguments and returns a module
        and a dictionary with keys of `config.json`: input_size [3, h, w], mean, std, and perhaps
        interpolation, crop_pct, label_names; or a module with timm's `pretrained_cfg`.

    Raises:
      ValueError: there is no such function, it returns something else, or its module cannot be
        exported.
    """
    place, _, function = name.removeprefix(PREFIX).partition(":")
    try:
        make = getattr(importlib.import_module(place), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"no function {name!r} ({error}); expected torch:package.module:function"
        ) from error
    made = make()
    network, said = made if isinstance(made, tuple) else (made, None)
    said = dict(getattr(network, "pretrained_cfg", None) or {}) if said is None else said
    lacking = [key for key in ("input_size", "mean", "std") if not said.get(key)]
    if lacking or not hasattr(network, "named_modules"):
        raise ValueError(
            f"{name} must return (module, settings), where settings have input_size, mean and std "
            f"as in {weights.CONFIG}; missing: {', '.join(lacking) or 'the module'}"
        )
    names = said.get("label_names")
    config = weights.Config(
        image_size=weights.checked("input_size", list(said["input_size"])),
        class_names=tuple(names) if names else None,
        **{
            key: weights.checked(key, said[key])
            for key in ("mean", "std", "interpolation", "crop_pct")
            if key in said
        },
    )
    short = f"{place}.{function}"
    with tempfile.TemporaryDirectory() as kept:
        made_here = Path(kept) / "network"
        size = config.image_size or DEFAULT_SIZE
        exporting.export(network, made_here, image_size=size, config=config, origin=name)
        key = hashlib.sha256()
        for file in sorted(made_here.iterdir()):
            key.update(file.read_bytes())
        folder = cache_folder() / "exports" / f"{short}-{key.hexdigest()[:16]}"
        _placed(made_here, folder)
    config = weights.read_config(folder / weights.CONFIG)
    return weights.Located(folder / weights.TENSORS, short, config)


def _export(
    network: Any, folder: Path, size: tuple[int, int], config: weights.Config, origin: str
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as kept:
        made = Path(kept) / "network"
        exporting.export(network, made, image_size=size, config=config, origin=origin)
        _placed(made, folder)


def _placed(made: Path, folder: Path) -> None:
    """Moves a whole folder to its place, unless another process was faster."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_dir():
        return
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.copytree(made, partial)
    try:
        partial.rename(folder)
    except OSError:
        shutil.rmtree(partial)
        if not folder.is_dir():
            raise
