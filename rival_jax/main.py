"""Flags -> config -> experiment: `python -m rival_jax.main --config=configs/rfs.py`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import jax
from absl import app, flags
from ml_collections import config_flags
from rich.console import Console

from rival_jax.runtime.plugins import plugin
from rival_jax.runtime.results import Run

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "What to run: a file of configs/, with a preset after a colon (configs/rfs.py:clean). Every "
    "value in it is a flag too: --config.noise.trials=3.",
    lock_config=True,
)
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Folder of the results; finished units in it are reused. Default runs/<experiment>.",
)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Check everything and print the cost; run nothing.")
_EXTEND = flags.DEFINE_bool(
    "extend", False, "Accept a workdir that holds another config's results, and add to it."
)


def main(argv: Sequence[str]) -> None:
    """Runs the experiment that the config names."""
    if len(argv) > 1:
        raise ValueError(f"unexpected argument {argv[1]!r}; flags look like --config.models=...")
    if _CONFIG.value is None:
        raise ValueError("name a config: --config=configs/rfs.py (--help lists the flags)")
    config, console = _CONFIG.value, Console(highlight=False)
    experiment = plugin("experiments", config.experiment)
    if _DRY_RUN.value:
        experiment.dry_run(config, console)
        return
    workdir = _WORKDIR.value or f"runs/{config.experiment}"
    run = Run(workdir, config.to_dict(), extend=_EXTEND.value)
    run.log("start", argv=sys.argv)
    run.save_json("summary.json", experiment.run(config, run, console))
    run.log("end")


def cli() -> None:
    """`main` with errors as one line, not a traceback; RIVAL_JAX_DEBUG=1 shows the traceback."""
    try:
        app.run(main, flags_parser=_parse)
    except (ValueError, OSError) as error:
        if jax.config.jax_debug_nans or "RIVAL_JAX_DEBUG" in __import__("os").environ:
            raise
        sys.exit(f"error: {error}")


def _parse(argv: Sequence[str]) -> Sequence[str]:
    """absl's parser, with the nearest keys when a config has no such key."""
    try:
        return app.parse_flags_with_usage(list(argv))
    except (AttributeError, KeyError) as error:
        raise ValueError(f"config: {error}") from error


if __name__ == "__main__":
    cli()
