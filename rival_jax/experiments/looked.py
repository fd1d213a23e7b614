"""Where the masks of a run's data can be looked at: a page of `look`, or its command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any

from rival_jax.configs import options
from rival_jax.configs.look import Config
from rival_jax.runtime.results import Run, parsed

PLACE = ("name", "root", "split")


def looked(run: Run) -> tuple[str, str]:
    """The page of the same data in a folder beside the run's, relative to that; and the command.

    One of them is "", and both are if the run's data have no masks.
    """
    place, beside = run.config.get("data", {}), run.path.parent
    if "mask" not in place:
        return "", ""
    for page in sorted(beside.glob("*/report.html")):
        config = parsed(page.with_name("config.json"))
        data = config["data"] if config.get("experiment") == "look" else {}
        if data and all(data[key] == place[key] for key in PLACE):
            return os.path.relpath(page, run.path), ""
    return "", shlex.join(["rival-jax", "look", *_flags(place), f"--out={beside / 'look'}"])


def _flags(place: Mapping[str, Any]) -> list[str]:
    """What differs from the demo's data, with the options of the kind of data."""
    usual, kind = Config().data, str(place["name"]).replace(".", "_")
    told = {key: place[key] for key in PLACE if place[key] != getattr(usual, key)}
    known = options(usual, kind)
    for key, value in place.get(kind, {}).items():
        value = tuple(value) if isinstance(value, list) else value
        if value is not None and value != known.get(key):
            told[f"{kind}.{key}"] = value
    return [f"--config.data.{key}={value}" for key, value in told.items()]
