"""Names of a network's outputs, from its files: configs, checkpoints, users' lists.

A name is a string; synonyms are joined by ", ", as in timm's descriptions and ImageNet's lists:
"n02123045, tabby, tabby cat".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rival_jax.weights.inert_pickle import Foreign
from rival_jax.weights.reader import read_tree

FILES = ("class_names.json", "class_names.txt")
# Written by timm (two), transformers (two), torchvision's ImageFolder and its weights' meta,
# OpenMMLab (two). The first one present is used.
KEYS = (
    *("class_names", "label_names", "labels", "id2label", "label2id", "class_to_idx"),
    *("categories", "classes", "CLASSES"),
)
DESCRIPTIONS = "label_descriptions"  # timm's: each of label_names -> its meaning
INSIDE = ("meta", "dataset_meta", "hyper_parameters", "args", "config", "hparams")

# Placeholders of writers without names: transformers' LABEL_0, or bare numbers.
_PLACEHOLDER = re.compile(r"(?:label|class|category|output)?[ _-]?(\d+)", re.IGNORECASE)

Names = tuple[str, ...]


def in_config(content: Mapping[str, Any]) -> Names | None:
    """The names in a config's table, one for each output; None without any.

    Raises:
      ValueError: naming the key, if its value does not name each output.
    """
    for key in KEYS:
        if content.get(key):
            found = _names(key, content[key])
            return _described(found, content.get(DESCRIPTIONS)) if found else None
    found = content.get(DESCRIPTIONS)
    return _names(DESCRIPTIONS, found) if isinstance(found, list) else None


def beside(file: Path) -> Names | None:
    """The names in `class_names.json` or `class_names.txt`, beside weights or in their folder.

    The text has one name per line; the JSON is a list, {number: name} or {name: number}. A user's
    list is taken literally, so numbers are names here.

    Raises:
      ValueError: naming the file and what is wrong with it.
    """
    folder = file if file.is_dir() else file.parent
    for path in (folder / name for name in FILES):
        if path.is_file():
            return _listed(path)
    return None


def _listed(path: Path) -> Names:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".txt":
            return _checked([line.strip() for line in text.strip().splitlines()])
        return _ordered(json.loads(text))
    except (ValueError, RecursionError) as error:  # RecursionError: nested too deeply
        raise ValueError(
            f"{path}: {error}; write the name of each output, the first output's first"
        ) from error


def in_checkpoint(file: Path) -> Names | None:
    """The names that a torch checkpoint stores beside its tensors, such as `class_to_idx`.

    Other formats have none. A known key with anything but names is skipped, since checkpoints hold
    all kinds of things.
    """
    if file.is_dir() or file.suffix in (".safetensors", ".npz"):
        return None
    tree = read_tree(file)
    tables = [tree, *(tree.get(key) for key in INSIDE)] if isinstance(tree, dict) else []
    for table in tables:
        table = table.content if isinstance(table, Foreign) else table
        for key in KEYS if isinstance(table, dict) else ():
            try:
                found = _names(key, table.get(key))
            except ValueError:
                continue
            if found:
                return found
    return None


def _names(key: str, value: Any) -> Names | None:
    try:
        found = _ordered(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error
    numbers = [_PLACEHOLDER.fullmatch(name) for name in found]
    if all(match and int(match[1]) == i for i, match in enumerate(numbers)):
        return None
    return found


def _ordered(value: Any) -> Names:
    """The names of outputs 0, 1, ... from a list, {number: name} or {name: number}."""
    if isinstance(value, list | tuple):
        return _checked(value)
    if not isinstance(value, Mapping) or not value:
        raise ValueError("expected a list of names, or a table of numbers and names")
    if all(type(number) is int for number in value.values()):
        if len(set(value.values())) < len(value):
            raise ValueError("two names have one number")
        value = {number: name for name, number in value.items()}
    try:
        table = {int(number): name for number, name in value.items()}
    except (TypeError, ValueError):
        raise ValueError("expected the outputs' numbers as keys or as values") from None
    if sorted(table) != list(range(len(table))):
        raise ValueError(f"expected the numbers 0 to {len(table) - 1}, each once")
    return _checked([table[number] for number in range(len(table))])


def _checked(names: Any) -> Names:
    for place, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"output {place} is called {name!r}, expected a name")
    if not names:
        raise ValueError("it is empty")
    return tuple(name.strip() for name in names)


def _described(names: Names, descriptions: Any) -> Names:
    """Each name with its meaning from timm's table."""
    if isinstance(descriptions, list) and len(descriptions) == len(names):
        descriptions = dict(zip(names, descriptions, strict=True))
    if not isinstance(descriptions, Mapping):
        return names
    meant = (descriptions.get(name) for name in names)
    pairs = zip(names, meant, strict=True)
    return tuple(f"{name}, {text}" if isinstance(text, str) else name for name, text in pairs)
