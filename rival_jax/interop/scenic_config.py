"""What a Scenic experiment's configuration says about its network and its input."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_DATASETS: dict[str, dict[str, Any]] = {  # by `dataset_name`: how its loader treats a photo
    "imagenet": {
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "image_size": (224, 224),
        "interpolation": "bicubic",
        "crop_pct": 224 / 256,
    },
    "cifar10": {
        "mean": (0.4914, 0.4822, 0.4465),
        "std": (0.2470, 0.2435, 0.2616),
        "image_size": (32, 32),
        "crop_pct": 1.0,
    },
}
_CLIP = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
    "interpolation": "bicubic",
    "crop_pct": 1.0,
}
_NUMBER = r"\s*(-?\d+(?:\.\d*)?)\s*"


def plain(config: Any) -> dict[str, Any]:
    """A ConfigDict or a mapping as nested dicts."""
    config = config.to_dict() if hasattr(config, "to_dict") else config
    if not isinstance(config, Mapping):
        raise ValueError(
            f"config is a {type(config).__name__}, expected Scenic's ConfigDict or a mapping"
        )
    return {
        key: plain(value) if isinstance(value, Mapping) or hasattr(value, "to_dict") else value
        for key, value in config.items()
    }


def network_said(config: Mapping[str, Any]) -> dict[str, Any]:
    """The network's sizes by name, "patches.size": under `model`, else at the top level."""
    said = {**config, **config.get("model", {})}
    if "patches" in said:
        said["patches.size"] = tuple(said["patches"]["size"])
    if "num_classes" in config.get("dataset_configs", {}):
        said["num_classes"] = config["dataset_configs"]["num_classes"]
    return said


def treatment(
    config: Mapping[str, Any], sizes: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """How a photo becomes the network's input, as keywords of `weights.Config`.

    Args:
      config: with its data set; `dataset_name="bit"` lists its steps in `dataset_configs.pp_eval`;
        only sizes and `value_range(low, high)` are used.
      sizes: the network's; CLIP has its own normalisation.
      given: the caller's values, which take precedence; None is unset.

    Raises:
      ValueError: nothing says how images are normalised.
    """
    dataset = config.get("dataset_name", "")
    known = dict(_CLIP) if "embed_dim" in sizes else {}
    known |= _DATASETS.get(dataset, {})
    if dataset == "bit":
        known |= _steps(config.get("dataset_configs", {}).get("pp_eval", ""))
    known |= {key: value for key, value in given.items() if value is not None}
    if not {"mean", "std"} <= known.keys():
        raise ValueError(
            f"dataset_name {dataset!r} does not say how images are normalised; give mean= and "
            "std=, both (0.5, 0.5, 0.5) for Scenic's value_range(-1, 1)"
        )
    return known


def _steps(steps: str) -> dict[str, Any]:
    """The values in a chain "decode|resize_small(256)|central_crop(224)|value_range(-1, 1)"."""
    found: dict[str, Any] = {}
    if match := re.search(rf"\bvalue_range\({_NUMBER},{_NUMBER}\)", steps):
        low, high = map(float, match.groups())
        found |= {"mean": (-low / (high - low),) * 3, "std": (1 / (high - low),) * 3}
    crop = re.search(r"\bcentral_crop\((\d+)\)", steps)
    small = re.search(r"\bresize_small\((\d+)", steps)
    whole = re.search(r"\bresize\((\d+)\)", steps)
    if size := crop or whole:
        found |= {"image_size": (int(size[1]),) * 2, "interpolation": "bilinear"}
        found["crop_pct"] = int(size[1]) / int(small[1]) if crop and small else 1.0
    return found


def check(said: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raises ValueError naming every size that differs between config and weights."""
    differences = [
        f"{name} is {said[name]!r} in the config, {found[name]!r} in the weights"
        for name in found
        if name in said and _comparable(said[name]) != _comparable(found[name])
    ]
    if differences:
        raise ValueError("config and weights are of different networks: " + "; ".join(differences))


def _comparable(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(value)
    return value or 0  # no head: None, 0 or absent
