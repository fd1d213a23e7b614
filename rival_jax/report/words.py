"""Sentences and lists that every page has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rival_jax.report.tables import percent

CLEAN_SHOWN = 8  # networks that a headline names


def clean(shares: Mapping[str, Mapping[str, float]]) -> list[str]:
    """How often networks are right on the photos as they are: one sentence for all, or none.

    Args:
      shares: name of a network -> interval of its accuracy; with `right` and `images` where it is
        a plain share of images.
    """
    told = []
    for name, found in list(shares.items())[:CLEAN_SHOWN]:
        counted = f" ({found['right']} of {found['images']} images)" if "images" in found else ""
        told.append(f"{name} {percent(found)} %{counted}")
    more = len(shares) - CLEAN_SHOWN
    told += [f"and {more} more"] if more > 0 else []
    return [f"Right on the photos as they are: {', '.join(told)}."] if told else []


def config_table(nested: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Every value of some configs, flat: (key, value in each)."""
    configs = [_flat(config) for config in nested]
    keys = dict.fromkeys(key for config in configs for key in config)
    return [(key, [_shown(config.get(key)) for config in configs]) for key in keys]


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "not set" if value in (None, "") else str(value)
