"""The flag --config: a file, or one of the package's configs by its name; and its keys' flags."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from absl import flags
from ml_collections import config_flags

from rival_jax.runtime.plugins import no_such, plugin


def DEFINE_config(
    name: str, help_string: str, flag_values: flags.FlagValues = flags.FLAGS
) -> flags.FlagHolder:
    """Defines a flag that `load_config` reads, and one more for every key of the config."""
    holder = config_flags.DEFINE_config_file(name, None, help_string, flag_values)
    flag_values[name].parser = _Parser()
    return holder


class _Parser(flags.ArgumentParser):
    def parse(self, argument: str) -> Any:
        try:
            config = load_config(argument)
        except (TypeError, ValueError) as error:  # to which absl would add its own words
            raise OSError(f"--config={argument}: {error}") from error
        return config.lock() if hasattr(config, "lock") else config

    def flag_type(self) -> str:
        return "config"


def load_config(words: str) -> Any:
    """The config that `--config=words` names.

    Args:
      words: a file, or the name of one of the package's configs, perhaps with a preset:
        "configs/rfs.py:clean", "rfs", "rfs:clean". An existing file has priority.

    Returns:
      The result of its `get_config`, with the preset if one is given.

    Raises:
      ValueError: for an unknown bare word, with the nearest names, and whatever `get_config`
        raises.
      FileNotFoundError: for a path without a file.
    """
    path, *preset = words.split(":", 1)
    if os.path.isfile(path):
        return _module_of(path).get_config(*preset)
    if not re.fullmatch(r"\w+", path):
        raise FileNotFoundError(
            f"no config file {path!r} here; those of the package need none, --config=rfs:clean"
        )
    return plugin("configs", path).get_config(*preset)


def check_config_keys(argv: Sequence[str]) -> None:
    """Raises ValueError, with the nearest keys, for a flag whose key the config does not have.

    Args:
      argv: command line with `--config=...` (see `load_config`) and `--config.key=value` flags.
    """
    words, keys = "", []
    for arg, following in zip(argv, [*argv[1:], ""], strict=True):
        flag, equals, value = arg.partition("=")
        key = flag.lstrip("-").removeprefix("no")  # --noconfig.tokencut.photos
        if flag.startswith("-") and key == "config":
            words = value if equals else following
        elif flag.startswith("-") and key.startswith("config."):
            keys.append(key)
    known = [f"config.{key}" for key in _keys(load_config(words))]
    for key in keys:
        if key not in known:
            raise ValueError("config: " + no_such(key, known))


def _module_of(path: str) -> ModuleType:
    """A file as a module, registered so that its classes' module can be found."""
    loader = importlib.machinery.SourceFileLoader("config_file", path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = sys.modules[loader.name] = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def _keys(config: Any, prefix: str = "") -> list[str]:
    """All keys of a nested config, dotted."""
    nested = [key for key in config if hasattr(config[key], "keys")]
    inner = [name for key in nested for name in _keys(config[key], f"{prefix}{key}.")]
    return [prefix + key for key in config if key not in nested] + inner
