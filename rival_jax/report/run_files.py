"""The small files of a run: JSON, and the command line in its log."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from rival_jax.runtime.results import parsed


def read_json(path: Path) -> Any:
    """One of a run's JSON files.

    Raises:
      FileNotFoundError: if it is missing; names the cure.
      ValueError: if it is damaged; names the cure.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; name the workdir of a finished rfs run")
    return parsed(path)


def read_argv(workdir: Path) -> list[str]:
    """The last command line of a run, from its log; damaged lines are skipped."""
    log = workdir / "log.jsonl"
    lines = log.read_text("utf-8", errors="replace").splitlines() if log.is_file() else []
    for line in reversed(lines):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return [str(word) for word in json.loads(line)["argv"]]
    return []
