"""A program under test as a process of its own: one JSON object a line, asked and answered."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np


class Worker:
    """Starts `python script arguments` and asks it: `Worker(...).ask("run", program="ours")`.

    Its standard error is shown; its standard output is the answers.
    """

    def __init__(
        self, python: str, script: pathlib.Path, arguments: list[str], env: Mapping[str, str]
    ):
        self.script = script
        self._process = subprocess.Popen(
            [python, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )

    def ask(self, command: str, **arguments: Any) -> Any:
        """The answer. Raises RuntimeError when the process ended without one."""
        print(json.dumps({"command": command, **arguments}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            code = self._process.wait()
            raise RuntimeError(f"{self.script.name} ended with {code} at {command!r}; see above")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process and waits for it."""
        self._process.communicate()


def serve(functions: Iterable[Callable[..., Any]]) -> None:
    """Answers commands, the functions' names, on standard output until standard input ends.

    Whatever else writes to standard output, a library's greeting say, goes to standard error.
    """
    commands = {function.__name__: function for function in functions}
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        arguments = json.loads(line)
        answer = commands[arguments.pop("command")](**arguments)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def seconds(function: Callable[[], Any], repeats: int = 1) -> float:
    """The shortest of `repeats` runs of a function that returns when its work is done."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))


def outcome(clean: np.ndarray, probability: np.ndarray, correct: np.ndarray) -> dict[str, Any]:
    """What a sweep measured, the same for all programs.

    Args:
      clean: bool [n], whether the clean image is recognised.
      probability, correct: [levels, n, trials, 2] of the true class; last axis foreground,
        background.

    Returns:
      `accuracy_clean`, and by level `accuracy_fg`, `accuracy_bg`, `probability_fg`,
      `probability_bg` and `rfs`.
    """
    accuracy, probability = correct.mean((1, 2)), probability.mean((1, 2))
    total = accuracy.sum(1)
    room = np.minimum(total, 2 - total)
    rfs = np.where(room > 0, (accuracy[:, 1] - accuracy[:, 0]) / np.where(room > 0, room, 1), 0)
    return {
        "accuracy_clean": float(clean.mean()),
        "accuracy_fg": accuracy[:, 0].tolist(),
        "accuracy_bg": accuracy[:, 1].tolist(),
        "probability_fg": probability[:, 0].tolist(),
        "probability_bg": probability[:, 1].tolist(),
        "rfs": rfs.tolist(),
    }
