"""Configurations as transformers and open_clip write them: what they say about the input."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rival_jax.weights import class_names
from rival_jax.weights.hub_folder import CONFIG, INPUT, Config, checked, parsed, read_config

PREPROCESSOR = "preprocessor_config.json"  # transformers'
OPEN_CLIP = "open_clip_config.json"
OPEN_CLIP_TENSORS = "open_clip_model.safetensors"
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_SQUASHED = (
    "it was made for photos squashed to {}x{}: --config.data.resize=squash does that, crop (the "
    "default) takes their centre"
)


def described(file: Path) -> Config:
    """The configuration beside a file of weights, of any of the libraries.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it is malformed; says where.
    """
    beside = file.parent / CONFIG
    if file.name == OPEN_CLIP_TENSORS and (said := file.parent / OPEN_CLIP).is_file():
        return _of_open_clip(said, file)
    if beside.is_file() and is_of_transformers(said := parsed(beside)):
        return _of_transformers(beside, said)
    return read_config(beside)


def is_of_transformers(said: Mapping[str, Any]) -> bool:
    """Whether a `config.json` names a network as transformers does."""
    return isinstance(said.get("model_type"), str) and "architecture" not in said


def _of_transformers(path: Path, said: dict[str, Any]) -> Config:
    place = path.with_name(PREPROCESSOR)
    try:
        treatment = _treatment(parsed(place)) if place.is_file() else {}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{place}: {str(error).strip(chr(39))}; correct it") from error
    size = treatment.setdefault("image_size", _size(said.get("image_size")))
    try:
        names = class_names.in_config(said)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; fix it or remove it") from error
    squashed = treatment.pop("squashed", False) and size
    return Config(
        package="transformers",
        foreign=said,
        num_classes=None if "Classification" in str(said.get("architectures")) else 0,
        class_names=names,
        assumed=tuple(key for key in INPUT if key not in treatment),
        notices=(_SQUASHED.format(*size),) if squashed else (),
        **treatment,
    )


def _treatment(said: Mapping[str, Any]) -> dict[str, Any]:
    """A `preprocessor_config.json` in the keywords of `Config`, and "squashed"."""
    if abs(said.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-3 or said.get("rescale_offset"):
        raise ValueError("pixels are not rescaled from [0, 255] to [0, 1], which is not supported")
    found: dict[str, Any] = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    if said.get("do_normalize", True):
        found = {
            "mean": checked("mean", said["image_mean"]),
            "std": checked("std", said["image_std"]),
        }
    if "resample" in said:
        found["interpolation"] = _RESAMPLE[said["resample"]]
    resized, cropped = said.get("size"), said.get("crop_size", said.get("size"))
    cut = bool(said.get("do_center_crop", "crop_size" in said))
    size = _size(cropped if cut else resized)
    if size is None:
        return found
    found |= {"image_size": size, "crop_pct": 1.0}
    if "crop_pct" in said:  # ConvNeXt's, which squashes large images
        found |= {"squashed": size[0] >= 384}
        found |= {} if size[0] >= 384 else {"crop_pct": checked("crop_pct", said["crop_pct"])}
    elif cut and (short := _size(resized)):
        found["crop_pct"] = checked("crop_pct", min(1.0, size[0] / short[0]))
    else:
        found["squashed"] = not (isinstance(resized, Mapping) and "shortest_edge" in resized)
    return found


def _size(said: Any) -> tuple[int, int] | None:
    """224, [224, 224], {"height": 224, "width": 224} or {"shortest_edge": 224}."""
    if isinstance(said, Mapping):
        short = said.get("shortest_edge")
        said = [said.get("height", short), said.get("width", short)]
    if said is None:
        return None
    both = said if isinstance(said, list | tuple) else [said, said]
    return checked("input_size", [3, *both])


def _of_open_clip(path: Path, file: Path) -> Config:
    said = parsed(path)
    names = class_names.beside(file)
    try:
        treatment, vision = said["preprocess_cfg"], said["model_cfg"]["vision_cfg"]
        keys = [key for key in INPUT if key in treatment]
        squashed = treatment.get("resize_mode", "shortest") == "squash"
        size = _size(vision.get("image_size", 224))
        config = Config(
            package="open_clip",
            foreign=said,
            image_size=size,
            crop_pct=1.0,
            num_classes=len(names) if names else 0,
            class_names=names,
            notices=(_SQUASHED.format(*size),) if squashed and size else (),
        )
        return dataclasses.replace(config, **{k: checked(k, treatment[k]) for k in keys})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: no {error}, as open_clip writes it") from error
