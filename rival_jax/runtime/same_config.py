"""Whether a work directory holds the results of this config or of another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What may differ between two calls on a work directory, since it changes no row.
FREE_KEYS = ("batch_size", "resamples", "confidence", "method", "sharding", "cache", "held_gib")
# Where the data are; the place may change if the data are the same: see `Run.settle`.
PLACES = ("root", "manifest", "segments")


def differences(before: Any, now: Any) -> tuple[list[str], list[str]]:
    """Relevant differences between two configs, in words: places of the data, and all else."""
    old, new = flat(before), flat(now)
    moved, changed = [], []
    for key in sorted(old.keys() | new.keys()):
        last = key.split(".")[-1]
        if old.get(key) == new.get(key) or last in FREE_KEYS or _of_another_data_set(key, new):
            continue
        words = f"{key}: {old.get(key)!r} there, {new.get(key)!r} now"
        (moved if last in PLACES and old.get(key) and new.get(key) else changed).append(words)
    return moved, changed


def refusal(path: Path, words: list[str]) -> ValueError:
    """The error for a work directory of another config."""
    return ValueError(
        f"{path} holds the results of another config ({'; '.join(words[:5])}). Name another "
        "--workdir, or pass --extend to add to this one (finished units that fit are reused)"
    )


def _of_another_data_set(key: str, config: Mapping[str, Any]) -> bool:
    """Whether `key` is an option of a data set not in use: "data.scenes.size"."""
    section, _, rest = key.partition(".")
    name, option, _ = rest.partition(".")
    used = str(config.get("data.name")).replace(".", "_")
    return section == "data" and bool(option) and name != used


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """A nested config's values by their whole keys: "data.scenes.size"."""
    if not isinstance(config, dict):
        return {prefix: config}
    return {
        key: value
        for name, inner in config.items()
        for key, value in flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }
