"""The configs of all experiments, and the blocks they share: `--config=rfs:clean`.

A config is a frozen dataclass, `rfs.Config`: its fields are the keys, and their defaults the demo.
`config_dict` turns it into a dict that flags can change (`--config.noise.trials=3`). `typed` turns
that back into the dataclass, so that a type checker sees every option that an experiment reads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import ml_collections
from ml_collections.config_dict import placeholder

from rival_jax.runtime.plugins import no_such

T = TypeVar("T")
Presets = Mapping[str, Mapping[str, Any]]
PARTS = {"blocks", "groups", "sources", "values"}  # modules of this folder that are not configs
WORDS = {int: "a whole number", float: "a number", str: "a word", bool: "True or False"}
OWN = "own"  # the field of an open block, see `blocks.Open`


def config_dict(config: Any) -> ml_collections.ConfigDict:
    """A config in the form that flags change, unlocked.

    Args:
      config: a dataclass, perhaps with nested ones. A field of a number or a word (`int | str`)
        takes any value from a flag; all others keep their type.

    >>> from rival_jax.configs import blocks
    >>> config_dict(blocks.Scenes(per_class=3)).to_dict()
    {'background_correlation': 0.95, 'per_class': 3, 'size': 64}
    """
    made, kinds = ml_collections.ConfigDict(), typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        name, value = field.name, getattr(config, field.name)
        if name == OWN:
            made.update({key: ml_collections.ConfigDict(dict(own)) for key, own in value.items()})
        elif dataclasses.is_dataclass(value):
            made[name] = config_dict(value)
        else:
            if _is_union(kinds[name]):
                made[name] = placeholder(object)
            made[name] = value
    return made


def typed(kind: type[T], config: Any) -> T:
    """A config as a frozen dataclass.

    Args:
      kind: the dataclass: `rfs.Config`, or one of a config's blocks.
      config: a ConfigDict, a nested dict (of a config.json), or already a `kind`. Missing keys take
        their defaults; lists become tuples, and whole numbers become floats where floats are
        expected. Unknown blocks are kept where users may add their own, see `blocks.Open`.

    Raises:
      ValueError: for an unknown key, with the nearest names, and for a value of another type.

    >>> from rival_jax.configs import blocks
    >>> typed(blocks.Noise, {"sigmas": [0.1, 1], "trials": 2}).sigmas
    (0.1, 1.0)
    >>> typed(blocks.Rival10, {"varient": "ordinary"})
    Traceback (most recent call last):
    ValueError: config: no 'varient'; did you mean 'variant'? There are: variant
    """
    if isinstance(config, ml_collections.ConfigDict):
        config = config.to_dict()
    return _value(kind, config, "")


def options(config: Any, name: str) -> dict[str, Any]:
    """The values of a block by name, to be passed as keywords; {} if there is no such block.

    Args:
      config: a ConfigDict or a dataclass.
      name: of the block; for a data set or objective of one's own, its dotted name with "_" for
        ".".

    >>> from rival_jax.configs import blocks
    >>> options(blocks.Data(), "rival10"), options(blocks.Data(), "mylab_cub")
    ({'variant': 'ordinary'}, {})
    """
    if isinstance(config, ml_collections.ConfigDict):
        block: Any = config.get(name, {})
        return dict(block)
    block = getattr(config, name, None)
    if not dataclasses.is_dataclass(block):
        return dict(getattr(config, OWN, {}).get(name, {}))
    return {field.name: getattr(block, field.name) for field in dataclasses.fields(block)}


def at_preset(config: Any, presets: Presets, preset: str) -> ml_collections.ConfigDict:
    """A config's `config_dict` with the values of a preset.

    Args:
      config: a dataclass of defaults.
      presets: by name, {dotted key: value} that the preset sets; "" is the demo.
      preset: one of the names.

    Raises:
      ValueError: for an unknown name; lists the known ones.
      KeyError: for a preset that sets a key that the config does not have.
    """
    if preset not in presets:
        names = ", ".join(filter(None, presets))
        there = f"there are: {names}" if names else "this config has none"
        raise ValueError(f"no preset {preset!r}; {there}")
    made = config_dict(config).lock()  # else a misspelt key would be a new one
    made.update_from_flattened_dict(presets[preset])
    if preset and "preset" in made:
        made.preset = preset
    return made.unlock()


def _value(kind: Any, value: Any, where: str) -> Any:
    """`value` as one of `kind`; `where` is its dotted key, "" for a whole config."""
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return _block(kind, value, f"{where}." if where else "")
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    key = f"config.{where}" if where else "config"
    if origin is typing.Annotated:
        found = _value(inside[0], value, where)
        if not all(rule.holds(found) for rule in inside[1:]):
            raise ValueError(f"{key}: got {value!r}, expected {_name(kind)}")
        return found
    if origin is typing.Literal and isinstance(value, str) and value not in inside:
        raise ValueError(f"{key}: " + no_such(value, inside))
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_value(inside[0], item, where) for item in value)
    if _is_union(kind):
        for one in inside:
            with contextlib.suppress(ValueError):
                return _value(one, value, where)
    if kind is float and type(value) is int:
        return float(value)
    if not _fits(kind, value):
        raise ValueError(f"{key}: got {value!r}, expected {_name(kind)}")
    return value


def _fits(kind: Any, value: Any) -> bool:
    if typing.get_origin(kind) is typing.Literal:
        return value in typing.get_args(kind)
    if typing.get_origin(kind) or (isinstance(value, bool) and kind is not bool):
        return False  # True is an int for Python
    return isinstance(value, kind)


def _block(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    kinds = typing.get_type_hints(kind, include_extras=True)
    is_open = kinds.pop(OWN, None) is not None
    given, own = {}, {}
    for key, value in values.items():
        if key in kinds:
            given[key] = _value(kinds[key], value, where + key)
        elif is_open and isinstance(value, Mapping):
            own[key] = value
        else:
            raise ValueError("config: " + no_such(where + key, [where + name for name in kinds]))
    return kind(**given, **({OWN: own} if own else {}))


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (types.UnionType, typing.Union)


def _name(kind: Any) -> str:
    """A type in words: "a whole number from 1 up", "'auto' or a whole number"."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return "a block of keys"
    if origin is typing.Annotated:
        first, *rules = _name(inside[0]), *map(str, inside[1:])
        return (", " if typing.get_origin(inside[0]) is tuple else " ").join([first, *rules])
    if origin is typing.Literal:
        return " or ".join(map(repr, inside))
    if origin is tuple:
        return f"a list, each item {_name(inside[0])}"
    return " or ".join(map(_name, inside)) if _is_union(kind) else WORDS[kind]
