"""Sizes of steps, picked once for a work directory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax

from rival_jax.runtime import hosts
from rival_jax.runtime.results import Run, digest

NAME = "plans.json"
SETTINGS = ("batch_size", "dtype", "image_size", "sharding")  # of a config, that sizes follow from


class Plans:
    """What the first run picked for each network or unit: `plans.json`.

    A restart must compute with the same sizes, for the same bytes; with other settings, or on
    another kind of device, they are picked anew. On another number of devices each of them gets as
    many images per step as before.
    """

    def __init__(self, run: Run, devices: int):
        self.run, self.devices = run, devices
        self.known: dict[str, dict[str, Any]] = hosts.decided(self._read)

    def of(self, name: str, pick: Callable[[], dict[str, Any]], **asked: Any) -> dict[str, Any]:
        """A plan, picked now unless it is there.

        Args:
          name: of the network or unit.
          pick: gives one, JSON-able, `images` per step among it.
          asked: JSON-able; what else it follows from, such as the number of trials.
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
        """The plans that are as they were written."""
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
