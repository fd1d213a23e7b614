"""One joint report of finished rfs runs: reads rows, measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rival_jax.configs import typed
from rival_jax.configs.report import Config
from rival_jax.experiments.groups import groups
from rival_jax.experiments.rfs import joined, paired
from rival_jax.experiments.rfs.page import told
from rival_jax.report.document import write_document
from rival_jax.runtime.progress import phase
from rival_jax.runtime.results import Run, parsed

ONE_PROCESS = True  # not for several hosts
RUNS = Path("runs")  # where main puts work directories without a name


def run(config: Any, run: Run, console: Console) -> None:
    """Joins `config.runs`; writes their results, tables, figures and report."""
    config = typed(Config, config)
    workdirs = chosen(config.runs)
    console.print(f"reporting {', '.join(workdirs)}", markup=False)
    runs = joined.read(*workdirs)
    run.save_json("data.json", runs.data)
    run.save_json("models.json", runs.cards)
    with phase("computing intervals", console):
        results, document = told(run, runs, groups(config.groups))
    results.write(run.path)
    write_document(run, console, document)
    if runs.pairs:
        for path in (run.path / paired.FILE, *sorted(run.path.rglob(f"{paired.NAME}*.p[nd][gf]"))):
            console.print(f"before and after: {path}", markup=False)


def dry_run(config: Any, console: Console) -> None:
    """Checks that the runs fit together and prints what they hold; writes nothing."""
    config = typed(Config, config)
    runs = joined.read(*chosen(config.runs))
    runs.groups(groups(config.groups))
    for norm in runs.by_trial.of("norm"):
        levels = runs.by_trial.where(norm=norm).of("level")
        console.print(
            f"{norm}: {len(runs.models)} models x {len(levels)} levels x "
            f"{len(runs.images.names)} images x {runs.trials(norm=norm)}; nothing was written"
        )


def chosen(runs: Sequence[str]) -> list[str]:
    """The work directories to report; if none is named, the newest rfs run below `runs/`.

    Raises:
      FileNotFoundError: if there is none.
    """
    if runs:
        return list(runs)
    found = sorted(RUNS.rglob("units.json"), key=lambda path: path.stat().st_mtime)
    found = [path for path in found if _of_rfs(path.parent)]
    if not found:
        raise FileNotFoundError(
            f"no finished rfs run below {RUNS.resolve()}; name some, "
            "--config.runs=\"('path/to/workdir',)\", or make one: "
            "python -m rival_jax.main --config=configs/rfs.py"
        )
    return [str(found[-1].parent)]


def _of_rfs(folder: Path) -> bool:
    file = folder / "config.json"
    return file.is_file() and parsed(file).get("experiment") == "rfs"
