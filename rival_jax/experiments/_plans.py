"""Sizes of steps, picked once for a work directory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rival_jax.runtime import hosts
from rival_jax.runtime.results import Run


class Plans:
    """What the first run picked for each network or unit: `plans.json`.

    A restart must compute with the same sizes, for the same bytes. On another number of devices
    each of them gets as many images per step as before.
    """

    def __init__(self, run: Run, devices: int):
        self.run, self.devices = run, devices
        self.known: dict[str, dict[str, Any]] = hosts.agreed(run.read_json("plans.json")) or {}

    def of(self, name: str, pick: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A plan; `pick` gives one that is not there yet, JSON-able, `images` per step among it."""
        if name not in self.known:
            self.known[name] = hosts.agreed({**pick(), "devices": self.devices})
            self.run.save_json("plans.json", self.known)
        plan = self.known[name]
        if plan["devices"] == self.devices:
            return plan
        each = math.ceil(plan["images"] / plan["devices"])
        return {**plan, "images": each * self.devices, "devices": self.devices}
