"""One report of finished runs, of rfs or two of another experiment; measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rival_jax.configs import options, typed
from rival_jax.configs.groups import groups
from rival_jax.configs.report import Config
from rival_jax.experiments import paired
from rival_jax.experiments.rfs import joined
from rival_jax.experiments.rfs.page import told
from rival_jax.report.document import write_document
from rival_jax.report.paired import FILE, NAME
from rival_jax.runtime.progress import phase
from rival_jax.runtime.results import Run, parsed

ONE_PROCESS = True  # not for several hosts
SHOWN = 6  # files of figures that are named
RUNS = Path("runs")  # where main puts work directories without a name


def run(config: Any, run: Run, console: Console) -> None:
    """Joins `config.runs`; writes their results, tables, figures and report."""
    config = typed(Config, config)
    workdirs = chosen(config.runs)
    console.print(f"reporting {', '.join(workdirs)}", markup=False)
    runs = _read(workdirs)
    run.save_json("data.json", runs.data)
    run.save_json("models.json", runs.cards)
    with phase("computing intervals", console):
        if isinstance(runs, paired.Both):
            results, document = paired.told(run, runs, **options(config, "statistics"))
        else:
            results, document = told(run, runs, groups(config.groups))
    results.write(run.path)
    write_document(run, console, document)
    if (run.path / FILE).is_file():
        drawn = sorted(run.path.rglob(f"{NAME}*.p[nd][gf]"))
        for path in (run.path / FILE, *(drawn if len(drawn) <= SHOWN else [run.path / "figures"])):
            console.print(f"before and after: {path}", markup=False)


def _read(workdirs: Sequence[str]) -> joined.Joined | paired.Both:
    folders = [*map(Path, workdirs)]
    return joined.read(*folders) if all(map(_of_rfs, folders)) else paired.read(folders)


def dry_run(config: Any, console: Console) -> None:
    """Checks that the runs fit together and prints what they hold; writes nothing."""
    config = typed(Config, config)
    runs = _read(chosen(config.runs))
    if isinstance(runs, paired.Both):
        for before, after in runs.pairs:
            console.print(f"{after} after {before}; nothing was written", markup=False)
        return
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
