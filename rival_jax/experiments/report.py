"""One report of finished rfs runs, joined: reads rows, measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rival_jax import report
from rival_jax.experiments._groups import groups
from rival_jax.runtime.results import Run

ONE_PROCESS = True  # not for several hosts

RUNS = Path("runs")  # where main puts work directories that are not named


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Joins `config.runs`, writes tables, figures and report; returns the summary."""
    workdirs = chosen(config.runs)
    console.print(f"reporting {', '.join(workdirs)}")
    return report.write(run, console, workdirs=workdirs, groups=groups(config.groups))


def dry_run(config: Any, console: Console) -> None:
    """Checks that the runs fit together and prints what they hold; writes nothing."""
    sweep = report.Sweep.read(*chosen(config.runs))
    sweep.groups(groups(config.groups))
    for norm, noise in sweep.noise.items():
        console.print(
            f"{norm}: {len(sweep.models)} models x {len(noise.levels)} levels x "
            f"{len(sweep.names)} images x {noise.trials} trials; nothing was written"
        )


def chosen(runs: Sequence[str]) -> list[str]:
    """The work directories to report; without names the newest rfs run below `runs/`.

    Raises:
      FileNotFoundError: if there is none.
    """
    if runs:
        return list(runs)
    found = sorted(RUNS.rglob("units.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError(
            f"no finished rfs run below {RUNS.resolve()}; name some, "
            "--config.runs=\"('path/to/workdir',)\", or make one: "
            "python -m rival_jax.main --config=configs/rfs.py"
        )
    return [str(found[-1].parent)]
