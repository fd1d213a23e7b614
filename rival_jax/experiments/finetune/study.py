"""Relevance finetuning of ViTs (RobustViT), its baselines and ablations, before and after.

Variants x settings x seeds; a training is a unit of rows and two saved networks, and so is every
test of a network.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from rival_jax.configs import options, typed
from rival_jax.configs.finetune import Config
from rival_jax.experiments.finetune import numbers
from rival_jax.experiments.finetune.jobs import CHECKPOINTS, kept
from rival_jax.experiments.finetune.page import page
from rival_jax.experiments.finetune.tests import MAP_COST, Network, Shown, Tests, mixed
from rival_jax.experiments.finetune.trainings import Trainings
from rival_jax.experiments.finetune.variants import ORIGINAL
from rival_jax.experiments.runner import Bench, Unit
from rival_jax.experiments.subject import Subject
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.runtime.results import Run
from rival_jax.types import Variables


class Experiment:
    """A network, its trainings and the tests of all networks, checked."""

    counted = "images"  # shown to a network, in training and in tests

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        if len(config.models) != 1:
            raise ValueError(f"config.models={config.models}: finetune takes one network a run")
        self.config, self.console = config, console
        subjects = test_sets(config, console)
        self.subject = next(iter(subjects.values()))
        self.trainings = Trainings(config, subjects, console)
        self.tests = Tests(config, self.trainings.original, subjects)
        self.networks = list(self._networks())
        self._kept = functools.lru_cache(maxsize=1)(kept)  # of one folder, for all its tests

    def total(self) -> int:
        """Images in all updates, and in all tests."""
        trained = sum(len(self.trainings.images(job).train) for job in self.trainings.jobs)
        return trained * self.config.train.epochs + sum(self._forwards())

    def costs(self) -> Iterator[tuple[str, float]]:
        """What every setting's trainings would cost, and all tests."""
        work, cost = self.trainings, self.trainings.original.cost()
        for setting in work.settings:
            step = work.step_cost(setting)
            mine = [len(work.images(job).train) for job in work.jobs if job.setting is setting]
            count = sum(mine) * self.config.train.epochs
            told = f"{setting.name}: {count:,} images in {len(mine)} trainings"
            yield f"{told}, {step.bytes / 2**20:.1f} MiB an image", count * step.seconds
        maps, noisy = self._forwards()
        passes = MAP_COST * maps + noisy
        told = f"tests of {1 + len(work.jobs)} networks: {passes:,} forwards"
        yield told, passes * cost.seconds

    def work(self, bench: Bench) -> Iterator[Unit]:
        """The units of all trainings, then those of every network."""
        run = bench.run
        yield from self.trainings.units(bench)
        plans = self.tests.plans(bench.plans)
        for network in self.networks:
            weights = functools.partial(self._weights, network, run)
            yield from self.tests.units(network, plans, weights)
        bench.cards.append(self.trainings.original.facts)
        run.save_json("networks.json", [self._card(network, run) for network in self.networks])
        self.console.print(f"the finetuned networks: {run.path / 'models'}")

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it."""
        classes, told = self.subject.first_examples().classes, options(self.config, "statistics")
        tests = list(self.tests.subjects)
        results = numbers.results(files, self.networks, tests, classes, **told)
        trained = [files[f"{job.name}/training"] for job in self.trainings.jobs]

        def shown() -> Iterator[Shown]:
            return self.tests.shown(*(self._weights(one, run) for one in self.networks[:2]))

        return results, page(self.config, results, self.networks, numbers.losses(trained), shown)

    def _networks(self) -> Iterator[Network]:
        """The original, every finetuned network, and the mixtures of both."""
        work, c = self.trainings, self.config.evaluate
        masked = work.split(self.config.seeds[0]).masked
        yield Network(ORIGINAL, ORIGINAL, None, 1.0, masked, {"model": work.original.digest})
        for job in work.jobs:
            masked = work.split(job.seed).masked
            for alpha in (1.0, *map(float, c.alphas)):
                name = job.name if alpha == 1 else f"{job.name}_alpha{alpha:g}"
                known = {"training": job.depends_on, "checkpoint": c.checkpoint, "alpha": alpha}
                yield Network(name, job.setting.name, job.seed, alpha, masked, known, job)

    def _weights(self, network: Network, run: Run) -> Variables:
        """A network's, read from where they are kept."""
        original = self.trainings.original.variables
        if network.job is None:
            return original
        tuned = self._kept(network.job.folder(run, self.config.evaluate.checkpoint))
        return tuned if network.alpha == 1 else mixed(original, tuned, network.alpha)

    def _card(self, network: Network, run: Run) -> dict[str, Any]:
        """What networks.json says: also where it is kept, for `config.models` elsewhere."""
        facts = {"name": network.name, "variant": network.variant, "seed": network.seed}
        facts |= {"alpha": network.alpha, "masked": list(network.masked)}
        if network.job and network.alpha == 1:
            facts |= {which: str(network.job.folder(run, which)) for which in CHECKPOINTS}
        return facts

    def _forwards(self) -> tuple[int, int]:
        """Images that maps are made of, in all tests, and noisy images."""
        images = [len(test.first_examples()) for test in self.tests.subjects.values()]
        noisy = images[0] * self.tests.forwards()
        return len(self.networks) * sum(images), (1 + len(self.trainings.jobs)) * noisy


def test_sets(config: Config, console: Console) -> dict[str, Subject]:
    """The test sets by name: the one of `config.data`, and that of `config.shifted`."""
    first = Subject(config, console)
    if not config.shifted.name:
        return {config.data.test_name: first}
    shifted = dataclasses.replace(config.data, **vars(config.shifted))
    changed = dataclasses.replace(config, data=shifted)
    other = Subject(changed, console)
    classes, others = (subject.first_examples().classes for subject in (first, other))
    if classes != others:
        raise ValueError(
            f"config.shifted has the classes {others}, config.data {classes}; both need the same"
        )
    return {config.data.test_name: first, config.shifted.test_name: other}
