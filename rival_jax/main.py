"""Flags -> config -> experiment: `python -m rival_jax.main --config=rfs`."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from absl import app, flags, logging

from rival_jax import noise
from rival_jax.experiments import runner
from rival_jax.runtime import hosts, memory, profile, signals, watch
from rival_jax.runtime.config_flag import DEFINE_config, check_config_keys
from rival_jax.runtime.console import Terminal
from rival_jax.runtime.names import visible
from rival_jax.runtime.plugins import plugin
from rival_jax.runtime.results import Run, cache_folder

# Settings that jax would take from the environment, and that would silently change results.
PINNED = {
    "jax_default_prng_impl": noise.GENERATOR,
    "jax_threefry_partitionable": True,
    "jax_enable_x64": False,
    "jax_default_matmul_precision": None,
}
STOPPED = (
    "stopped in the middle of a program; what is finished is kept. Run the same command again "
    f"to go on (exit code {signals.EXIT_INTERRUPTED})"
)
_CONFIG = DEFINE_config(
    "config",
    "What to run, perhaps with a preset: a config of the package (rfs, rfs:clean) or a file "
    "(configs/rfs.py:clean). Every value in it is a flag too: --config.noise.trials=3.",
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the results (default runs/<experiment>); what is done is reused."
)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Check everything, print the cost, run nothing.")
_EXTEND = flags.DEFINE_bool("extend", False, "Add to a workdir with another config's results.")
_PDF = flags.DEFINE_string("pdf", None, "Folder where every figure goes as PDF too, for a paper.")
_PROFILE = flags.DEFINE_string("profile", None, "Folder for a profiler's trace of a few steps.")
_DISTRIBUTED = flags.DEFINE_string(
    "distributed",
    "off",
    "off: one process. auto: all processes of a Cloud TPU, SLURM, Kubernetes or MPI job. Or "
    "host:port of process 0, with --num_processes and --process_id.",
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "See --distributed.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "See --distributed; from 0.")
_HEARTBEAT = flags.DEFINE_integer(
    "heartbeat", hosts.HEARTBEAT, "Seconds of silence after which a process counts as lost.", 5
)


def main(argv: Sequence[str]) -> None:
    """Runs the experiment that the config names."""
    if len(argv) > 1:
        raise ValueError(f"unexpected argument {argv[1]!r}; flags look like --config.head=probe")
    if _CONFIG.value is None:
        raise ValueError("name a config: --config=rfs (--help lists the flags)")
    logging.set_verbosity(logging.WARNING)
    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
    # Cache smaller programs than by default: a run has dozens, and similar networks share them.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    who = (_NUM_PROCESSES.value, _PROCESS_ID.value)
    for name, value in PINNED.items():
        jax.config.update(name, value)
    hosts.initialize(_DISTRIBUTED.value, *who, heartbeat=_HEARTBEAT.value)
    # With several hosts, a signal waits for a common step, see `watch`.
    patience = watch.GRACE * (1 if hosts.count() == 1 else 5)
    with signals.ends_within(patience, STOPPED), hosts.together():
        _run(_CONFIG.value)


def _run(config: Any) -> None:
    console = Terminal(soft_wrap=True, quiet=not hosts.first())
    experiment = plugin("experiments", config.experiment)
    make = getattr(experiment, "Experiment", None)
    if hosts.count() > 1 and getattr(experiment, "ONE_PROCESS", False):
        raise ValueError(f"config {config.experiment} runs in one process: omit --distributed")
    if _DRY_RUN.value:
        if make:
            runner.dry_run(make(config, console), console)
        else:
            experiment.dry_run(config, console)
        return
    workdir = _WORKDIR.value or f"runs/{config.experiment}"
    say = functools.partial(console.print, markup=False)
    run = Run(workdir, config.to_dict(), extend=_EXTEND.value, say=say)
    run.pdf = Path(_PDF.value) if _PDF.value else None
    run.log("start", argv=sys.argv[1:])
    if _PROFILE.value:
        profile.start(_PROFILE.value)
    if make:
        runner.run(make(config, console), run, console)
    else:
        found = experiment.run(config, run, console)
        if found is not None:
            run.save_json("summary.json", found)
    run.finish()
    profile.stop()
    run.log("end")
    run.close()


def cli() -> None:
    """`main` with one-line errors for bad input; RIVAL_JAX_TRACEBACK=1 shows tracebacks."""
    memory.keep()
    try:
        app.run(main, flags_parser=_parse)
    except SystemExit as ended:
        if ended.code in (None, 0, signals.EXIT_INTERRUPTED):
            signals.end_now(ended.code or 0)
        raise
    except (ValueError, OSError) as error:
        if os.environ.get("RIVAL_JAX_TRACEBACK"):
            raise
        sys.exit(f"error: {visible(str(error), keep=chr(10))}")


def _parse(argv: Sequence[str]) -> Sequence[str]:
    try:
        return app.parse_flags_with_usage(list(argv))
    except (AttributeError, KeyError):
        check_config_keys(argv)
        raise


if __name__ == "__main__":
    cli()
