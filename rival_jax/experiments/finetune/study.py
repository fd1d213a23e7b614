"""Relevance finetuning of ViTs (RobustViT), its baselines and ablations, before and after.

Variants x settings x seeds. A unit of work is a training, which also saves two networks, or one
test of one network.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from rival_jax import noise
from rival_jax.configs import options, typed
from rival_jax.configs.finetune import Config
from rival_jax.experiments.explained import explained, fault, nameless
from rival_jax.experiments.finetune import measures, trainings
from rival_jax.experiments.finetune.measures import Network, Way, scored
from rival_jax.experiments.finetune.page import Shown, page
from rival_jax.experiments.finetune.trainings import ROWS_VERSION, Trainings, kept, mixed
from rival_jax.experiments.finetune.variants import ORIGINAL
from rival_jax.experiments.rows import setting_rows, tidy
from rival_jax.experiments.runner import Bench, Pass, Unit
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.noise_trials import Sweep, noise_trials
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Category, Columns, Run
from rival_jax.types import Variables

REGIONS = ("foreground", "background")
SHOWN = 8  # images in the picture sheet
MAP_COST = 3  # a relevance map takes as long as this many forward passes


class Experiment:
    """A network, its trainings, and the tests of all networks, checked.

    Attributes:
      tests: the test sets by name; noise is added to the first, which is `subject`.
    """

    counted = "images"  # seen by a network, in training and in tests

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        if len(config.models) != 1:
            raise ValueError(f"config.models={config.models}: finetune takes one network a run")
        self.config, self.tests = config, test_sets(config, console)
        self.subject = next(iter(self.tests.values()))
        self.trainings = Trainings(config, self.tests)
        self.original = self.trainings.original
        self.way = Way(config.evaluate.method, config.evaluate.explained)
        model = self.subject.models[0]
        if why := fault(nameless(model), self.way):
            raise ValueError(f"config.evaluate.method: {self.way.method} of {model.name}: {why}")
        self.networks = list(self._networks())
        self._kept = functools.lru_cache(maxsize=1)(kept)  # one folder's, for all its tests

    def _networks(self) -> Iterator[Network]:
        """The original, every finetuned network, and the mixtures of both."""
        jobs, c = self.trainings.jobs, self.config.evaluate
        masked = jobs[0].images.masked
        yield Network(ORIGINAL, ORIGINAL, None, 1.0, masked, {"model": self.original.digest})
        for job in jobs:
            for alpha in (1.0, *c.alphas):
                name = job.name if alpha == 1 else f"{job.name}_alpha{alpha:g}"
                known = {"training": job.depends_on, "checkpoint": c.checkpoint, "alpha": alpha}
                told = job.setting.name, job.seed, alpha, job.images.masked
                yield Network(name, *told, known, job)

    def total(self) -> int:
        """Images in all updates, and in all tests."""
        trained = sum(job.shown for job in self.trainings.jobs)
        return trained * self.config.train.epochs + sum(self._forwards())

    def costs(self) -> Iterator[tuple[str, float]]:
        """The cost of every setting's trainings, and of all tests."""
        yield from self.trainings.costs()
        maps, noisy = self._forwards()
        passes = MAP_COST * maps + noisy
        told = f"tests of {1 + len(self.trainings.jobs)} networks: {passes:,} forwards"
        yield told, passes * self.original.cost().seconds

    def _forwards(self) -> tuple[int, int]:
        """How many maps all tests make, and how many noisy images they classify."""
        images = [len(test.first_examples()) for test in self.tests.values()]
        noisy = images[0] * len(self.config.noise.every()) * self.config.noise.trials * len(REGIONS)
        return len(self.networks) * sum(images), (1 + len(self.trainings.jobs)) * noisy

    def work(self, bench: Bench) -> Iterator[Unit]:
        """The units of all trainings, then those of every network."""
        run, trials = bench.run, self.config.noise.trials
        yield from self.trainings.units(bench)
        pick = functools.partial(self.subject.pick, self.original)
        asked = {"images": len(self.subject.first_examples())}
        maps = bench.plans.of("scores", functools.partial(pick, 1, MAP_COST), **asked)
        pick, asked = functools.partial(pick, trials, len(REGIONS)), {**asked, "trials": trials}
        noisy = bench.plans.of("noise", pick, **asked)
        for network in self.networks:
            yield from self._units(network, run, maps, noisy)
        bench.cards.append(self.original.facts)
        run.save_json("networks.json", [self._card(network, run) for network in self.networks])
        self.subject.console.print(f"the finetuned networks: {run.path / 'models'}")

    def _weights(self, network: Network, run: Run) -> Variables:
        """A network's weights, read from where they are kept."""
        if network.job is None:
            return self.original.variables
        tuned = self._kept(network.job.folder(run, self.config.evaluate.checkpoint))
        return tuned if network.alpha == 1 else mixed(self.original.variables, tuned, network.alpha)

    def _card(self, network: Network, run: Run) -> dict[str, Any]:
        """A network's entry in networks.json, with its folder for `config.models` elsewhere."""
        told = ("name", "variant", "seed", "alpha", "masked")
        facts = {name: getattr(network, name) for name in told}
        if network.job and network.alpha == 1:
            facts |= {which: str(network.job.folder(run, which)) for which in trainings.CHECKPOINTS}
        return facts

    def _units(
        self, network: Network, run: Run, maps: Mapping[str, Any], noisy: Mapping[str, Any]
    ) -> Iterator[Unit]:
        """A network's answers and maps on every test set; and under noise, unless it is a mixture.

        Args:
          maps, noisy: plans, see `Subject.pick`.
        """
        config, c, model = self.config, self.config.noise, self.original.model
        named = dataclasses.replace(model, name=network.name)
        loaded = dataclasses.replace(self.original, model=named)
        weights = functools.partial(self._weights, network, run)
        fn = parallel.Bound(scored, (self.way, model))
        settled = {name: getattr(config.evaluate, name) for name in ("method", "explained")}
        settled |= {"masked": list(network.masked)}
        for test, subject in self.tests.items():
            columns = functools.partial(self._columns, loaded, network.masked, test)
            task = Pass(subject, loaded, maps["images"], fn, (), columns, weights=weights)
            clean = network.name if subject is self.subject else ""
            about = self._about(network, subject) | settled
            yield Unit(f"{network.name}/{test}", about, task, clean=clean)
        for norm, level in c.every() if network.alpha == 1 else ():
            binary = config.data.mask == "binary"
            sweep = Sweep(norm, REGIONS, c.trials, noisy["trials"], binary, c.draws)
            fn = parallel.Bound(noise_trials, (model.forward, sweep))
            args = (noise.key(config.seed), jnp.float32(level))
            words = {"norm": norm, "level": f"{level:.6g}"}
            columns = functools.partial(self._noise_columns, loaded, words)
            told = (noisy["images"], fn, args, columns, c.trials * len(REGIONS))
            task = Pass(self.subject, loaded, *told, weights=weights)
            about = {"norm": norm, "level": level, "trials": c.trials, "draws": c.draws}
            about |= {"seed": config.seed}
            about |= self._about(network, self.subject) | {"mask": config.data.mask}
            yield Unit(f"{network.name}/{norm}_{words['level']}", about, task, noisy["flops"])

    def _about(self, network: Network, subject: Subject) -> dict[str, Any]:
        fingerprint = subject.examples(self.original.geometry).fingerprint
        return network.depends_on | {"version": ROWS_VERSION, "data": fingerprint}

    def _columns(
        self, loaded: Loaded, masked: Sequence[str], test: str, found: parallel.Rows
    ) -> Columns:
        """Rows of answers and maps; "A" marks images of classes whose masks were trained on."""
        examples, image = self.tests[test].examples(loaded.geometry), found["index"]
        outside = np.array([name not in masked for name in examples.classes], np.int32)
        values = {**found, "class_set": Category(outside[examples.labels[image]], ["A", "B"])}
        return tidy(self.subject, loaded, {"test": test}, values, examples=examples)

    def _noise_columns(
        self, loaded: Loaded, words: Mapping[str, str], found: parallel.Rows
    ) -> Columns:
        """Rows of answers under noise, means over trials, one for each region."""
        means = {key: found[key].mean(1, dtype=np.float64) for key in ("probability", "correct")}
        means = {key: value.astype(np.float32) for key, value in means.items()}
        means["index"] = found["index"]
        return setting_rows(self.subject, loaded, words, {"region": REGIONS}, means)

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it."""
        classes, told = self.subject.first_examples().classes, options(self.config, "statistics")
        results = measures.results(files, self.networks, list(self.tests), classes, **told)
        trained = [files[f"{job.name}/training"] for job in self.trainings.jobs]
        shown = functools.partial(self._shown, run)
        return results, page(self.config, results, self.networks, measures.losses(trained), shown)

    def _shown(self, run: Run) -> Iterator[Shown]:
        """Images of the last test set, of `SHOWN` classes at most, before and after finetuning."""
        examples = list(self.tests.values())[-1].first_examples()
        _, rows = np.unique(examples.labels, return_index=True)
        rows = rows[np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).round().astype(int)]
        items = [examples.example(int(row)) for row in rows]
        image = np.stack([item["image"] for item in items]) / np.float32(255)
        show = jax.jit(parallel.Bound(explained, (self.way, self.original.model)))
        batch = {"image": image, "label": examples.labels[rows]}
        found = [jax.device_get(show(self._weights(n, run), batch)) for n in self.networks[:2]]
        for k, (row, item) in enumerate(zip(rows, items, strict=True)):
            seen = [(one.maps[k], examples.classes[one.logits[k].argmax()]) for one in found]
            label = examples.classes[examples.labels[row]]
            yield examples.names[row], label, item["image"], item["mask"], seen


def test_sets(config: Config, console: Console) -> dict[str, Subject]:
    """The test sets by name, from `config.data` and `config.shifted`."""
    first = Subject(config, console)
    if not config.shifted.name:
        return {config.data.test_name: first}
    shifted = dataclasses.replace(config.data, **vars(config.shifted))
    other = Subject(dataclasses.replace(config, data=shifted), console)
    classes, others = (subject.first_examples().classes for subject in (first, other))
    if classes != others:
        raise ValueError(
            f"config.shifted has the classes {others}, config.data {classes}; both need the same"
        )
    return {config.data.test_name: first, config.shifted.test_name: other}
