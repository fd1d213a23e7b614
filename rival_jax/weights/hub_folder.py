"""A model as a folder in the form model hubs use: `config.json` and `model.safetensors`.

The keys are timm's. In newer files what describes the input lies under `pretrained_cfg`; in older
ones everything lies flat at the top. Both are read, the newer form is written.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from rival_jax.weights import class_names
from rival_jax.weights.safetensors import write_tensors

CONFIG = "config.json"
TENSORS = "model.safetensors"
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Config:
    """What `config.json` says. A default is timm's for a file that leaves the key out.

    `None` means that the file does not say, and the tensors decide.
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
    class_names: tuple[str, ...] | None = None  # what the outputs are called, see `class_names`


def read_config(path: pathlib.Path) -> Config:
    """Reads a `config.json`. Logs a warning with the defaults it took for missing keys.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not a JSON object, or a value is of the wrong kind.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no {path.name} in {path.parent}; it says what the network is and how its input is "
            "normalised, so put the one that came with the weights there"
        )
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); download or write it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a JSON object")
    said = _said(content)
    # A finetuned head keeps the pretrained_cfg of its source, so these two count at the top.
    outer = {key: said[key] for key in ("num_classes", "global_pool") if key in said}
    inner = _field(path, "pretrained_cfg", _table, {"pretrained_cfg": {}, **said})
    flat = {**said, **inner, **outer}
    values = {key: _field(path, key, read, flat) for key, read in _FIELDS.items() if key in flat}
    if "input_size" in values:
        values["image_size"] = values.pop("input_size")
    config = Config(**values, class_names=_class_names(path, said, inner))
    missing = [key for key in ("mean", "std", "interpolation", "crop_pct") if key not in values]
    if missing:
        taken = ", ".join(f"{key}={getattr(config, key)}" for key in missing)
        _log.warning("%s does not say %s; taking %s", path, ", ".join(missing), taken)
    return config


def write_folder(
    folder: pathlib.Path,
    tensors: Mapping[str, np.ndarray],
    config: Config,
    dtype: str | None = None,
) -> None:
    """Writes a model folder that the readers read back; `dtype` as in `write_tensors`."""
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
    (folder / CONFIG).write_text(json.dumps(_said(content), indent=2) + "\n")


def _said(content: Any) -> Any:
    """Without the keys whose value is null or empty."""
    if not isinstance(content, dict):
        return content
    return {key: _said(value) for key, value in content.items() if value not in (None, {})}


def _class_names(
    path: pathlib.Path, outer: Mapping[str, Any], inner: Mapping[str, Any]
) -> tuple[str, ...] | None:
    """What the outputs are called: as the top says, else `pretrained_cfg`.

    A finetuned head keeps the `pretrained_cfg` of its source, so names there are not this head's
    where their number is another.
    """
    try:
        if found := class_names.in_config(outer):
            return found
        found = class_names.in_config(inner)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; mend it or take it out") from error
    count = outer.get("num_classes")
    return found if found and count in (None, len(found)) else None


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("expected a whole number, 0 or more")
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
    return tuple(float(v) for v in value)


def _fraction(value: Any) -> float:
    if not (isinstance(value, int | float) and 0 < value <= 1):
        raise ValueError("expected a number above 0 and at most 1")
    return float(value)


def _size(value: Any) -> tuple[int, int]:
    if not (isinstance(value, list) and len(value) == 3 and value[0] == 3):
        raise ValueError("expected [3, height, width]")
    return _count(value[1]), _count(value[2])


def _interpolation(value: Any) -> str:
    if value not in INTERPOLATIONS:
        raise ValueError(f"expected one of {', '.join(INTERPOLATIONS)}")
    return value


_FIELDS = {
    "architecture": _text,
    "num_classes": _count,
    "global_pool": _text,
    "model_args": _table,
    "input_size": _size,
    "mean": _three,
    "std": _three,
    "interpolation": _interpolation,
    "crop_pct": _fraction,
}


def _field(path: pathlib.Path, key: str, read: Any, flat: Mapping[str, Any]) -> Any:
    try:
        return read(flat[key])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {key} is {flat[key]!r}: {error}") from error
