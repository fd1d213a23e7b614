"""A model as a folder, as on model hubs: `config.json` and `model.safetensors`.

The keys are timm's. In newer files the input's description is under `pretrained_cfg`; in older ones
everything is at the top level. Both are read; the newer form is written.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rival_jax.weights import class_names, config_keys
from rival_jax.weights.safetensors import write_tensors

CONFIG = "config.json"
TENSORS = "model.safetensors"
GRAPH = "graph.json"  # beside them: the operations of an exported network
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
INPUT = ("mean", "std", "interpolation", "crop_pct")  # if one is missing, its value is assumed
MAX_SIDE, MAX_CLASSES = 2**14, 10**7
MAX_PIXEL = 10  # of a mean or standard deviation: larger values are meant for pixels up to 255


@dataclasses.dataclass(frozen=True)
class Config:
    """The content of `config.json`. Defaults are timm's for a missing key.

    `None` means that the file does not say, so the tensors decide.
    """

    architecture: str | None = None
    num_classes: int | None = None  # 0: a trunk without a head
    global_pool: str | None = None
    model_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    image_size: tuple[int, int] | None = None  # height, width
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)  # of ImageNet
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    crop_pct: float = 0.875
    class_names: tuple[str, ...] | None = None  # names of the outputs, see `class_names`
    assumed: tuple[str, ...] = ()  # keys of `INPUT` missing from the file
    notices: tuple[str, ...] = ()  # what else a reader must know about it
    graph: Mapping[str, Any] | None = None  # the content of `GRAPH`, of an exported network
    package: str = ""  # whose network it is, if not timm's or ours: see `foreign`
    foreign: Mapping[str, Any] | None = None  # its configuration as that library writes it


def read_config(path: pathlib.Path) -> Config:
    """Reads a `config.json`; `assumed` lists the missing keys of `INPUT`.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not a JSON object, a value has the wrong kind, or a key is unknown.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no {path.name} in {path.parent}; it says what the network is and how its input is "
            "normalised, so put the one that came with the weights there"
        )
    said = _read_json(path)
    # A finetuned head keeps its source's pretrained_cfg, so the top level takes precedence.
    outer = {
        key: said[key] for key in ("architecture", "num_classes", "global_pool") if key in said
    }
    inner = _field(path, "pretrained_cfg", _table, {"pretrained_cfg": {}, **said})
    flat = {**said, **inner, **outer}
    values = {key: _field(path, key, read, flat) for key, read in _FIELDS.items() if key in flat}
    try:
        config_keys.check({**inner, **said}, {*_FIELDS, "pretrained_cfg"})
        model_args = config_keys.with_settings(flat, values.get("model_args", {}))
        _once(said, inner)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if "input_size" in values:
        values["image_size"] = values.pop("input_size")
    crop_mode = values.pop("crop_mode", "center")
    return Config(
        **{**values, "model_args": model_args},
        class_names=_class_names(path, said, inner),
        assumed=tuple(key for key in INPUT if key not in values),
        notices=() if crop_mode == "center" else (_CROP_MODE.format(path, crop_mode),),
        graph=parsed(beside) if (beside := path.with_name(GRAPH)).is_file() else None,
    )


def checked(key: str, value: Any) -> Any:
    """One of the input's facts, such as `mean`, in the form of `Config`.

    Raises:
      ValueError: it is invalid; says what was expected.
    """
    return _FIELDS[key](list(value) if isinstance(value, tuple) else value)


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    return _said(parsed(path))


def parsed(path: pathlib.Path) -> dict[str, Any]:
    """The object in a JSON file; raises ValueError, naming the file, if there is none."""
    try:
        text = path.read_text(encoding="utf-8")
        said = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
        _said(said)  # as deep as anything goes
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); download or write it again") from error
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply; download or write it again") from error
    if not isinstance(said, dict):
        raise ValueError(f"{path} holds a {type(said).__name__}, expected a JSON object")
    return said


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and found[key] != value:
            raise ValueError(f"it says {config_keys.shown(key)} twice, differently")
        found[key] = value
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _once(said: Mapping[str, Any], inner: Mapping[str, Any]) -> None:
    """Raises ValueError if the top level and `pretrained_cfg` disagree about the input."""
    for key in (*INPUT, "input_size"):
        if key in said and key in inner and said[key] != inner[key]:
            raise ValueError(
                f"{key} is {config_keys.shown(said[key])} at the top and "
                f"{config_keys.shown(inner[key])} in pretrained_cfg; keep the true one"
            )


def write_folder(
    folder: pathlib.Path,
    tensors: Mapping[str, np.ndarray],
    config: Config,
    dtype: str | None = None,
) -> None:
    """Writes a model folder that can be read back; `dtype` as in `write_tensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "architecture": config.architecture,
        "num_classes": config.num_classes,
        "global_pool": config.global_pool,
        "label_names": list(config.class_names or ()) or None,
        "model_args": dict(config.model_args),
        "pretrained_cfg": {
            "input_size": [3, *config.image_size] if config.image_size else None,
            "mean": list(config.mean),
            "std": list(config.std),
            "interpolation": config.interpolation,
            "crop_pct": config.crop_pct,
        },
    }
    write_tensors(folder / TENSORS, tensors, dtype)
    if config.graph is not None:
        text = json.dumps(config.graph, separators=(",", ":"), allow_nan=False)
        (folder / GRAPH).write_text(text + "\n")
    (folder / CONFIG).write_text(json.dumps(_said(content), indent=2) + "\n")


def _said(content: Any) -> Any:
    """Drops keys with null or empty values."""
    if not isinstance(content, dict):
        return content
    return {key: _said(value) for key, value in content.items() if value not in (None, {})}


def _class_names(
    path: pathlib.Path, outer: Mapping[str, Any], inner: Mapping[str, Any]
) -> tuple[str, ...] | None:
    """The outputs' names, from the top level, else from `pretrained_cfg`.

    A finetuned head keeps its source's `pretrained_cfg`, so names there are not this head's if
    their number differs.
    """
    try:
        if found := class_names.in_config(outer):
            return found
        found = class_names.in_config(inner)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; fix it or remove it") from error
    count = outer.get("num_classes")
    return found if found and count in (None, len(found)) else None


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_CLASSES:
        raise ValueError(f"expected a whole number, 0 or more and at most {MAX_CLASSES:,}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a string")
    return value


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return value


def _three(value: Any) -> tuple[float, ...]:
    if not (isinstance(value, list) and len(value) == 3):
        raise ValueError("expected three numbers")
    try:
        numbers = tuple(float(v) for v in value)
    except OverflowError:
        numbers = (math.inf,)
    if not all(map(math.isfinite, numbers)) or any(isinstance(v, bool | str) for v in value):
        raise ValueError("expected three numbers")
    if any(abs(number) > MAX_PIXEL for number in numbers):
        raise ValueError("expected three numbers for pixels in [0, 1]; divide them by 255")
    return numbers


def _deviations(value: Any) -> tuple[float, ...]:
    numbers = _three(value)
    if min(numbers) <= 1e-6:  # smaller values turn pixels into infinities
        raise ValueError("expected three numbers above 0")
    return numbers


def _fraction(value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and 0 < value <= 1):
        raise ValueError("expected a number above 0 and at most 1")
    return float(value)


def _size(value: Any) -> tuple[int, int]:
    if not (isinstance(value, list) and len(value) == 3 and value[0] == 3):
        raise ValueError("expected [3, height, width]")
    if any(type(side) is not int or not 1 <= side <= MAX_SIDE for side in value[1:]):
        raise ValueError(f"expected [3, height, width], both from 1 to {MAX_SIDE}")
    return value[1], value[2]


def _one_of(*known: str) -> Any:
    def read(value: Any) -> str:
        if value not in known:
            raise ValueError(f"expected one of {', '.join(known)}")
        return value

    return read


_CROP_MODE = (
    "{}: crop_mode is {!r}, which is not supported: with --config.data.resize=crop the centre is "
    "cut out of the photo, and with squash all of it is taken, resized bilinearly"
)
_FIELDS = {
    "architecture": _text,
    "num_classes": _count,
    "global_pool": _text,
    "model_args": _table,
    "input_size": _size,
    "mean": _three,
    "std": _deviations,
    "interpolation": _one_of(*INTERPOLATIONS),
    "crop_pct": _fraction,
    "crop_mode": _one_of("center", "squash", "border"),
}


def _field(path: pathlib.Path, key: str, read: Any, flat: Mapping[str, Any]) -> Any:
    try:
        return read(flat[key])
    except (TypeError, ValueError) as error:
        said = config_keys.shown(flat[key])
        raise ValueError(f"{path}: {key} is {said}: {error}") from error
