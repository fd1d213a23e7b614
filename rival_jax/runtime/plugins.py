"""Finding a component by its module's name."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import runpy
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any


def plugin(kind: str, name: str) -> ModuleType:
    """The module `rival_jax.<kind>.<name>`, or `name` itself where it is dotted.

    Args:
      kind: a folder of the package: "data", "experiments", "heads", ...
      name: of a module in it; "mylab.cub" imports from outside the package.

    Raises:
      ValueError: naming the modules there are, the nearest first.
    """
    if "." in name:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ValueError(f"{kind}: cannot import {name!r}: {error}") from error
    package = importlib.import_module(f"rival_jax.{kind}")
    modules = (module.name for module in pkgutil.iter_modules(package.__path__))
    known = [module for module in modules if not module.startswith("_")]
    if name not in known:
        raise ValueError(f"{kind}: " + no_such(name, known))
    return importlib.import_module(f"rival_jax.{kind}.{name}")


def no_such(name: str, known: Iterable[str]) -> str:
    """The text of a miss: what was asked for, the nearest names, and all there are.

    >>> no_such("rsf", ["knn", "rfs"])
    "no 'rsf'; did you mean 'rfs'? There are: knn, rfs"
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ";"
    return f"no {name!r}{hint} There are: {', '.join(known) or 'none'}"


def check_config_keys(argv: Sequence[str]) -> None:
    """Raises ValueError, with the nearest keys, for a flag whose key the config does not have.

    Args:
      argv: command line with `--config=file.py:preset` and `--config.key=value` flags.
    """
    pairs = (arg.lstrip("-").partition("=") for arg in argv)
    values = {key: value for key, _, value in pairs if key.startswith("config")}
    path, _, preset = values.pop("config", "").partition(":")
    known = [f"config.{key}" for key in _keys(runpy.run_path(path)["get_config"](preset))]
    for key in values:
        if key not in known:
            raise ValueError("config: " + no_such(key, known))


def _keys(config: Any, prefix: str = "") -> list[str]:
    """All keys of a nested config, dotted."""
    nested = [key for key in config if hasattr(config[key], "keys")]
    inner = [name for key in nested for name in _keys(config[key], f"{prefix}{key}.")]
    return [prefix + key for key in config if key not in nested] + inner
