"""Models x data sets x presets, one command line each, run one after another by any launcher.

  python launch/sweep.py --config=configs/rfs.py --presets clean paper --study=rival10 \\
      --data rival10:/data/RIVAL10 masked_folder:photos --workdir=runs/sweep --dry-run
  python launch/sweep.py ... --launcher="launch/babysit.sh launch/local_multiprocess.sh 2"
  python launch/sweep.py ... --launcher="sbatch launch/slurm.sbatch" -- --config.noise.trials=3

Each run has a work directory of its own below --workdir, so the same sweep again goes on where it
stopped. --dry-run prints the commands; what follows -- is added to each. Of rfs the last lines
printed join the models in one report for each preset and data set.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence

INTERRUPTED = 75  # what a run says that was told to stop: the sweep stops too


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, checked; `extra` is what follows --."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/rfs.py", help="a file of configs/")
    parser.add_argument("--presets", nargs="+", default=[""], help="of the config; default none")
    parser.add_argument("--models", nargs="+", default=[], help="names or paths")
    parser.add_argument(
        "--study", default="", help="all models of a study: rival10, robustvit, ..."
    )
    parser.add_argument(
        "--data", nargs="+", default=[], metavar="NAME:ROOT", help="default the config's"
    )
    parser.add_argument("--workdir", default="runs/sweep", help="a folder or bucket")
    parser.add_argument("--launcher", default=f"{sys.executable} -m rival_jax.main")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run none")
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    options = parser.parse_args(given[:end])
    options.extra = given[end + 1 :]
    _check_presets(parser, options.config, options.presets)
    if options.study:
        options.models = [*options.models, *_of_study(parser, options.study)]
    return options


def runs(options: argparse.Namespace) -> list[tuple[str, list[str]]]:
    """(work directory, arguments of `rival_jax.main`) of every run; models change fastest.

    >>> options = parse(["--models", "hf:lab/a", "b", "--data", "rival10:/data", "--workdir=gs://x"])
    >>> for workdir, arguments in runs(options):
    ...     print(workdir, arguments[2:4])
    gs://x/rfs/rival10/hf_lab_a ["--config.models=('hf:lab/a',)", '--config.data.name=rival10']
    gs://x/rfs/rival10/b ["--config.models=('b',)", '--config.data.name=rival10']
    """
    found = []
    for preset, data, model in itertools.product(
        options.presets, options.data or [""], options.models or [""]
    ):
        name, _, root = data.partition(":")
        experiment = pathlib.Path(options.config).stem + (f"_{preset}" if preset else "")
        parts = (options.workdir.rstrip("/"), experiment, _safe(name), _safe(model))
        workdir = "/".join(filter(None, parts))
        arguments = [f"--config={options.config}" + (f":{preset}" if preset else "")]
        arguments += [f"--workdir={workdir}"]
        arguments += [f"--config.models={(model,)!r}"] if model else []
        arguments += [f"--config.data.name={name}"] if name else []
        arguments += [f"--config.data.root={root}"] if root else []
        found.append((workdir, [*arguments, *options.extra]))
    places = [workdir for workdir, _ in found]
    if twice := {place for place in places if places.count(place) > 1}:
        raise ValueError(f"two runs would share {min(twice)}; name each model and data set once")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints or runs the commands; the code is 0, or that of the first run that failed."""
    options = parse(arguments)
    listed, codes = runs(options), []
    for number, (workdir, flags) in enumerate(listed, 1):
        command = [*shlex.split(options.launcher), *flags]
        print(quoted(command), flush=True)
        if options.dry_run:
            continue
        codes.append(subprocess.run(command, check=False).returncode)
        print(f"# {number} of {len(listed)}, {workdir}: code {codes[-1]}", flush=True)
        if codes[-1] == INTERRUPTED:
            break
    if pathlib.Path(options.config).stem == "rfs" and len(options.models) > 1:
        _print_reports([workdir for workdir, _ in listed])
    return next(filter(None, codes), 0)


def _print_reports(workdirs: Sequence[str]) -> None:
    """The command of a report for each preset and data set, of all models."""
    for place, of_models in itertools.groupby(workdirs, lambda path: path.rpartition("/")[0]):
        report = ["python", "-m", "rival_jax.main", "--config=configs/report.py"]
        report += [f"--workdir={place}/report", f"--config.runs={tuple(of_models)!r}"]
        print(f"# then: {quoted(report)}")


def quoted(words: Sequence[str]) -> str:
    """The words as they would be typed in a shell.

    >>> print(quoted(["launch/run_worker.sh", "--config.models=('resnet50',)"]))
    launch/run_worker.sh "--config.models=('resnet50',)"
    """
    plain = re.compile(r"""[^"$`\\!]*'[^"$`\\!]*""")
    return " ".join(f'"{w}"' if plain.fullmatch(w) else shlex.quote(w) for w in words)


def _check_presets(parser: argparse.ArgumentParser, config: str, presets: Sequence[str]) -> None:
    spec = importlib.util.spec_from_file_location("config_of_a_sweep", config)
    if spec is None or spec.loader is None or not pathlib.Path(config).is_file():
        parser.error(f"--config: no file {config}; run this from the checkout")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    known = getattr(module, "PRESETS", ("",))
    for preset in presets:
        if preset not in known:
            there = ", ".join(filter(None, known)) or "none"
            parser.error(f"--presets: {config} has no {preset!r}; there are: {there}")


def _of_study(parser: argparse.ArgumentParser, study: str) -> list[str]:
    from rival_jax.weights import catalogue  # imports jax, which --help need not

    names = [entry.name for entry in catalogue.entries() if study in entry.study]
    if not names:
        parser.error(f"--study: no {study!r}; there are: {', '.join(catalogue.STUDIES)}")
    return names


def _safe(name: str) -> str:
    """A name or path as the name of a folder."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_")


if __name__ == "__main__":
    sys.exit(main())
