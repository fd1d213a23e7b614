"""What is done to arrays and files when some of them are chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from tests.golden.places import evenly

Arrays = dict[str, np.ndarray]
Change = Callable[[np.ndarray], np.ndarray]


# ---- what can be done to an array


def rows(*which: int) -> Change:
    """These entries of the first axis."""
    return lambda array: array[list(which)]


def some(count: int, leading: int = 1) -> Change:
    """For each place of the leading axes, `count` of the values, evenly spaced."""

    def thin(array: np.ndarray) -> np.ndarray:
        flat = array.reshape(*array.shape[:leading], -1)
        if flat.shape[-1] <= count:
            return array
        return flat[..., evenly(flat.shape[-1], count)]

    return thin


def short(array: np.ndarray) -> np.ndarray:
    """float32 of 20 binary digits, not 24: for weights of transformers.

    It moves their outputs by 4e-6 at most, where the tests allow 1e-4. The ResNets' would move by
    more, so their weights are as they were.
    """
    code = array.view(np.uint32).astype(np.uint64)
    return ((code + 8) >> 4 << 4).astype(np.uint32).view(np.float32)


def step(power: int) -> Change:
    """Multiples of 2 ** power: for outputs, and no more than a fiftieth of what tests allow."""
    return lambda array: np.round(array * 2.0**-power) * array.dtype.type(2.0**power)


def chain(*changes: Change) -> Change:
    def all_of_them(array: np.ndarray) -> np.ndarray:
        for change in changes:
            array = change(array)
        return array

    return all_of_them


def whole(array: np.ndarray) -> np.ndarray:
    return array


# ---- files


def npz(
    folder: Path, name: str, changes: dict[str, Change] | None = None, **more: Change
) -> Arrays:
    """Arrays of one file: those of `changes`, each changed; without any, all as they are."""
    changes = {**(changes or {}), **more}
    with np.load(folder / name) as file:
        chosen = changes or dict.fromkeys(file.files, whole)
        found = {f"{folder.name}/{name}:{key}": change(file[key]) for key, change in chosen.items()}
    return found


def each(change: Change, keys: str | Iterable[str]) -> dict[str, Change]:
    return dict.fromkeys(keys.split() if isinstance(keys, str) else keys, change)


def tensors(folder: Path, name: str, change: Change = whole) -> Arrays:
    """A network, or gradients in its shape, by tensor."""
    path = folder / f"{name}.safetensors"
    return {f"{folder.name}/{path.name}:{k}": change(v) for k, v in load_file(path).items()}


def text(words: str) -> np.ndarray:
    return np.frombuffer(words.encode(), np.uint8)


def plain(root: Path, *paths: Path) -> Arrays:
    """Files as they are, byte by byte."""
    return {
        str(path.relative_to(root)): np.frombuffer(path.read_bytes(), np.uint8) for path in paths
    }
