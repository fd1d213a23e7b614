"""What a run ran on: versions, devices, the source's commit, its command."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("rival_jax", "jax", "jaxlib", "flax", "optax", "numpy", "pillow", "grain", "pyarrow")


def environment() -> dict[str, Any]:
    """Versions, devices and the source's commit."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": versions,
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "processes": jax.process_count(),
        "commit": _commit(),
    }


def read_argv(workdir: Path) -> list[str]:
    """The last command line of a run, from its log; damaged lines are skipped."""
    log = workdir / "log.jsonl"
    lines = log.read_text("utf-8", errors="replace").splitlines() if log.is_file() else []
    for line in reversed(lines):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return [str(word) for word in json.loads(line)["argv"]]
    return []


def _commit() -> str | None:
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
