"""Relative foreground sensitivity: noise in the object or its background (RIVAL10 study, 5.1).

Models x noise levels x trials x regions; a round of trials of one level of one model is a unit of
work, saved when it is done and skipped when it is there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from rival_jax.configs import typed
from rival_jax.configs.rfs import Config, Round
from rival_jax.experiments.rfs import joined
from rival_jax.experiments.rfs.examples import noised_pictures
from rival_jax.experiments.rfs.measures import wanting
from rival_jax.experiments.rfs.page import told
from rival_jax.experiments.rfs.rounds import trials
from rival_jax.experiments.rows import CLEAN, clean_answers, trial_rows
from rival_jax.experiments.runner import Bench, Pass, Unit, networks
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.runtime import hosts
from rival_jax.runtime.parallel import Bound
from rival_jax.runtime.results import Run

ROWS_VERSION = 3  # in every unit's hash: raised when draws became those of their level


class Experiment:
    """Networks and levels of noise, checked."""

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        if not {"foreground", "background"} <= set(config.noise.regions):
            raise ValueError("config.noise.regions needs 'foreground' and 'background' for RFS")
        self.config, self.subject = config, Subject(config, console)
        self.rounds = config.noise.rounds()
        self.asked = {"trials": self.rounds[0].trials, "regions": len(config.noise.regions)}
        self.pick = functools.partial(self.subject.pick, **self.asked)

    def forwards(self, rounds: int | None = 1) -> int:
        """Forward passes per image and network, at least: one clean, and the first round."""
        trials = sum(one.trials for one in self.rounds[:rounds])
        return 1 + len(self.config.noise.every()) * trials * self.asked["regions"]

    def most_forwards(self) -> int:
        """The same with all rounds."""
        return self.forwards(None)

    def work(self, bench: Bench) -> Iterator[Unit]:
        """Network by network; whether a round follows is read from the rows of those before it."""
        self.bench = bench
        yield from networks(self, bench)

    def units(self, loaded: Loaded, plan: Mapping[str, Any], head: str) -> Iterator[Unit]:
        """The units of one network: the clean images, then trials until it is enough."""
        name, over = loaded.model.name, (self.subject, loaded, plan["images"])
        columns = functools.partial(trial_rows, self.subject, loaded, CLEAN)
        clean = Pass(*over, Bound(clean_answers, (loaded.model.forward,)), (), columns)
        base = self.subject.identity(loaded, ROWS_VERSION)
        yield Unit(f"{name}/clean", base, clean, flops=plan["flops"], clean=name)
        for norm, levels in self.config.noise.judged():
            done: dict[float, list[str]] = {level: [] for level in levels}
            due = list(levels)
            while due:
                for level in due:
                    one = self.rounds[len(done[level])]
                    unit = self._noisy(loaded, plan, (norm, level), one)
                    if one.first:
                        images = len(self.subject.examples(loaded.geometry))
                        self.bench.meter.more(images * one.trials * self.asked["regions"])
                    done[level].append(unit.name)
                    yield unit
                due = self._wanting(done) if len(self.rounds) > 1 else []

    def _noisy(
        self, loaded: Loaded, plan: Mapping[str, Any], place: tuple[str, float], one: Round
    ) -> Unit:
        """A round of trials of one network under noise of one (norm, level)."""
        c, mask, (norm, level) = self.config.noise, self.config.data.mask, place
        rows = (norm, level, c.regions, one.first)
        columns = functools.partial(trial_rows, self.subject, loaded, rows)
        noisy = trials(self.subject, loaded, self.config, plan, place, one, columns)
        settings = {"norm": norm, "level": level, "first": one.first, "trials": one.trials}
        settings |= {"draws": c.draws, "regions": c.regions, "mask": mask}
        base = self.subject.identity(loaded, ROWS_VERSION, **settings, seed=self.config.seed)
        name = f"{loaded.model.name}/{norm}_{level:.6g}" + f"_from_{one.first}" * (one.first > 0)
        return Unit(name, base, noisy, flops=plan["flops"])

    def _wanting(self, done: Mapping[float, list[str]]) -> list[float]:
        """The levels that need another round, by the rows of their finished units."""
        files = {level: [self.bench.files[one] for one in units] for level, units in done.items()}
        classes = self.subject.first_examples().classes
        return hosts.decided(lambda: wanting(files, classes, self.config.noise))

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it; images are ranked in a file of their own."""
        del files  # units.json lists them
        pictures = noised_pictures(self.config, self.subject)
        return told(run, joined.read(run.path), {}, pictures)
