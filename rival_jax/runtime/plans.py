"""Step sizes, picked once for a work directory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax

from rival_jax.runtime import hosts
from rival_jax.runtime.results import Run, digest

NAME = "plans.json"
SETTINGS = ("batch_size", "dtype", "image_size", "sharding")  # config keys that decide sizes


class Plans:
    """The first run's picks for each network or unit: `plans.json`.

    A restart must use the same sizes to give the same bytes; with other settings, or on another
    kind of device, they are picked again. With another number of devices, each gets as many images
    per step as before.
    """

    def __init__(self, run: Run, devices: int):
        self.run, self.devices = run, devices
        self.known: dict[str, dict[str, Any]] = hosts.decided(self._read)

    def of(self, name: str, pick: Callable[[], dict[str, Any]], **asked: Any) -> dict[str, Any]:
        """A stored plan, or a new one.

        Args:
          name: of the network or unit.
          pick: makes a new one, JSON-able, with `images` per step.
          asked: JSON-able; what else decides it, such as the number of trials.
        """
        settings = {key: self.run.config.get(key) for key in SETTINGS} | asked
        key = digest([settings, hosts.agreed(jax.devices()[0].device_kind)])
        if self.known.get(name, {}).get("for") != key:
            plan = hosts.agreed({**pick(), "devices": self.devices, "for": key})
            self.known[name] = {**plan, "check": digest(plan)}
            self.run.save_json(NAME, self.known)
        plan = self.known[name]
        if plan["devices"] == self.devices:
            return plan
        each = math.ceil(plan["images"] / plan["devices"])
        return {**plan, "images": each * self.devices, "devices": self.devices}

    def _read(self) -> dict[str, dict[str, Any]]:
        """The stored plans, if undamaged."""
        try:
            found = self.run.read_json(NAME)
            found = {} if found is None else found
            intact = {name: plan for name, plan in found.items() if _intact(plan)}
        except (ValueError, AttributeError):
            found, intact = None, {}
        if intact != found:
            why = "is damaged, or of an earlier version: sizes of steps are picked anew"
            self.run.say(f"{self.run.path / NAME} {why}")
        return intact


def _intact(plan: Any) -> bool:
    told = {k: v for k, v in plan.items() if k != "check"}
    return plan.get("check") == digest(told)
