"""Programs of several processes on this machine, joined by the real `jax.distributed`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.helpers import draw_study, save_tiny_vit

ROOT = Path(__file__).resolve().parent.parent


def launch(
    processes: int, devices: int, command: Sequence[str], logs: Path, **environment: str
) -> list[subprocess.Popen]:
    """Starts `python command --distributed=...` for each process, with so many fake devices.

    Args:
      logs: folder of a file for each process, with all that it prints.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=1"
    env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    logs.mkdir(parents=True, exist_ok=True)
    started = []
    for index in range(processes):
        who = [f"--distributed=127.0.0.1:{port}", f"--num_processes={processes}"]
        who = [*who, f"--process_id={index}", "--heartbeat=10"] if processes > 1 else []
        with (logs / f"{index}.txt").open("ab") as log:
            started.append(
                subprocess.Popen(
                    [sys.executable, *command, *who],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=ROOT,
                    env=env | environment,
                )
            )
    return started


def finish(processes: Sequence[subprocess.Popen], seconds: float = 120) -> list[int]:
    """Exit codes; processes that do not end in time are killed."""
    end = time.monotonic() + seconds
    try:
        return [process.wait(max(0.1, end - time.monotonic())) for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def printed(logs: Path) -> str:
    """What all processes have printed."""
    return "\n".join(f"{path.name}:\n{path.read_text()}" for path in sorted(logs.glob("*.txt")))


def rfs_command(root: Path, levels: int, trials: int) -> list[str]:
    """A small study, and the command that measures it, but for the work directory."""
    draw_study(root / "data", per_class=8, size=32)
    save_tiny_vit(root / "tiny", size=32)
    sigmas = ",".join(str(round((i + 1) / (levels + 1), 4)) for i in range(levels))
    flags = {
        "config.models": f"('{root / 'tiny'}',)",
        "config.data.name": "masked_folder",
        "config.data.root": root / "data",
        "config.cache": root / "cache",
        "config.noise.sigmas": f"({sigmas},)",
        "config.noise.trials": trials,
        "config.statistics.resamples": 50,
    }
    given = [f"--{name}={value}" for name, value in flags.items()]
    return ["-m", "rival_jax.main", "--config=configs/rfs.py", *given]
