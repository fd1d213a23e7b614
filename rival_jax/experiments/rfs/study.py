"""Relative foreground sensitivity: noise in the object or its background (RIVAL10 study, 5.1).

Models x noise levels x trials x regions; one level of one model is a unit of work, saved when it is
done and skipped when it is there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rival_jax import noise
from rival_jax.configs import typed
from rival_jax.configs.rfs import Config
from rival_jax.experiments.noise_trials import Sweep, noise_trials
from rival_jax.experiments.rfs import joined
from rival_jax.experiments.rfs.examples import noised_pictures
from rival_jax.experiments.rfs.page import told
from rival_jax.experiments.rows import clean_answers, trial_rows
from rival_jax.experiments.runner import Pass, Unit
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.runtime.parallel import Bound
from rival_jax.runtime.results import Run

ROWS_VERSION = 2  # in every unit's hash: raise it when the same inputs give other rows


class Experiment:
    """Networks and levels of noise, checked."""

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        if not {"foreground", "background"} <= set(config.noise.regions):
            raise ValueError("config.noise.regions needs 'foreground' and 'background' for RFS")
        self.config, self.subject = config, Subject(config, console)
        self.asked = {"trials": config.noise.trials, "regions": len(config.noise.regions)}
        self.pick = functools.partial(self.subject.pick, **self.asked)

    def forwards(self) -> int:
        """Forward passes per image and network: one clean, then levels x trials x regions."""
        levels = len(self.config.noise.every())
        return 1 + levels * self.asked["trials"] * self.asked["regions"]

    def units(self, loaded: Loaded, plan: Mapping[str, Any], head: str) -> Iterator[Unit]:
        """The units of one network, the clean images first; nothing is computed yet."""
        config, name, forward = self.config, loaded.model.name, loaded.model.forward
        trials, regions = config.noise.trials, tuple(config.noise.regions)
        base = self.subject.identity(loaded, ROWS_VERSION)
        rows = functools.partial(trial_rows, self.subject, loaded)
        over = functools.partial(Pass, self.subject, loaded, plan["images"])
        columns = functools.partial(rows, ("none", 0.0, ("clean",)))
        clean = over(Bound(clean_answers, (forward,)), (), columns)
        yield Unit(f"{name}/clean", base, clean, flops=plan["flops"], clean=name)
        for norm, level in config.noise.every():
            sweep = Sweep(norm, regions, trials, plan["trials"], config.data.mask == "binary")
            fn = Bound(noise_trials, (forward, sweep))
            settings = {"norm": norm, "level": level, "trials": trials, "regions": regions}
            settings |= {"seed": config.seed, "mask": config.data.mask}
            args = (noise.key(config.seed), np.float32(level))
            columns = functools.partial(rows, (norm, level, regions))
            noisy = over(fn, args, columns, each=trials * len(regions))
            unit = f"{name}/{norm}_{level:.6g}"
            yield Unit(unit, base | settings, noisy, flops=plan["flops"])

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it; images are ranked in a file of their own."""
        del files  # units.json lists them
        pictures = noised_pictures(self.config, self.subject)
        return told(run, joined.read(run.path), {}, pictures)
