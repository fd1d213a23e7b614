"""Data sets, found by their module's name: `load(name, root, split)`.

A data set is a module with a function `load(root, split, **options) -> Source`. Those of this
folder go by their bare names; `"mylab.cub"` imports one from elsewhere.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import pkgutil
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from rival_jax.data.checks import check_mask
from rival_jax.data.examples import Examples
from rival_jax.data.source import AttributeSource, Source
from rival_jax.runtime.plugins import no_such, plugin

__all__ = ["AttributeSource", "Examples", "Source", "check_mask", "load", "named"]

# Modules of this folder that are not data sets.
PARTS = {
    *("any_size", "archives", "checks", "chosen", "class_maps", "donors", "evaluation", "examples"),
    *("files", "inspection", "manifests", "mask_files", "mask_folder", "mask_formats"),
    *("mask_labels", "mask_values", "orientation", "outlines", "pairs", "photos", "pickles"),
    *("pixels", "remarks", "rival10_tfds", "rounds", "segments", "shard", "source", "split"),
    *("training", "transforms"),
}

KINDS = {bool: "True or False", int: "a whole number", float: "a number"}  # of options


def load(name: str, root: str | Path, split: str, /, **options: Any) -> Source:
    """The examples of one split of a data set; nothing is decoded yet.

    Args:
      name: of a module in this folder, or a dotted name outside the package.
      root: folder of the data; each data set's module says what it expects there.
      split: "train", "test", or what the data set calls it.
      options: of the data set.

    Raises:
      ValueError: for an unknown data set or option, with the nearest names; for a value of another
        type; for data that are not laid out as expected, with the places searched.
    """
    sets = [m.name for m in pkgutil.iter_modules(__path__) if m.name not in PARTS]
    if "." not in name and name not in sets:
        raise ValueError("data: " + no_such(name, sets))
    module = plugin("data", name)
    if not hasattr(module, "load"):
        raise ValueError(f"data: module {name} has no function load(root, split)")
    known = _options(module)
    if options.get("attributes") and "attributes" not in known:
        raise ValueError(f"data {name} has no attribute masks; {_with_attributes(sets)} have")
    given = {}
    for option, value in options.items():
        if option not in known:
            raise ValueError(f"data {name}: option: " + no_such(option, known))
        given[option] = _as(known[option].default, value, f"data {name}: option {option}")
    return module.load(Path(root).expanduser(), split, **given)


class Called(NamedTuple):
    """A data set as an entry of config.sets names it."""

    kind: str  # its module's name
    name: str  # in tables
    root: str  # "": none is given
    split: str  # likewise
    options: dict[str, Any]


def named(text: str) -> Called:
    """What an entry of config.sets says: "kind=root option=value ...".

    Among the options, `split` is the set's split, and `as` its name in tables. Values are Python's,
    or words; for a list of words, with commas between them, `load` makes a tuple.

    Raises:
      ValueError: for another form.

    >>> named("siscore='/my data/si' kind=area border=2 as=large")[1:]
    ('large', '/my data/si', '', {'kind': 'area', 'border': 2})
    >>> named("scenes seed=1 split=b")[:4]
    ('scenes', 'scenes seed=1', '', 'b')
    """
    try:
        first, *words = shlex.split(text) or [""]
    except ValueError as error:
        raise ValueError(f"config.sets: got {text!r}: {error}") from error
    kind, _, root = first.partition("=")
    given: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals) or key in given:
            raise ValueError(f"config.sets: got {text!r}, expected 'name=folder option=value ...'")
        given[key] = value
        with contextlib.suppress(ValueError, SyntaxError):
            given[key] = ast.literal_eval(value)
    split, name = str(given.pop("split", "")), str(given.pop("as", ""))
    name = name or " ".join([kind, *(f"{key}={value}" for key, value in given.items())])
    return Called(kind, name, root, split, given)


def _options(module: ModuleType) -> dict[str, inspect.Parameter]:
    return dict(list(inspect.signature(module.load).parameters.items())[2:])


def _as(default: Any, value: Any, where: str) -> Any:
    """An option's value, of the type of its default; "a,b" and "('a','b')" become lists."""
    kind = type(default)
    if kind is tuple and not isinstance(value, (tuple, list)):
        words = str(value).strip("()[]").split(",")
        return tuple(word.strip(" '\"") for word in words if word.strip())
    if kind is str and isinstance(value, (int, float)):
        return str(value)
    if kind in KINDS and not (type(value) is kind or (kind, type(value)) == (float, int)):
        raise ValueError(f"{where}: got {value!r}, expected {KINDS[kind]}")
    return value


def _with_attributes(sets: list[str]) -> str:
    """The data sets of this folder that offer attribute masks."""
    found = [name for name in sets if "attributes" in _options(plugin("data", name))]
    return " and ".join([", ".join(found[:-1]), found[-1]])
