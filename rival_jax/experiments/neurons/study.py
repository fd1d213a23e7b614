"""Which neuron stands for which attribute, and does it on new images (RIVAL10 study, section 6).

Every feature, attribute and class at once: the feature's top images of the class in the training
split, its saliency on them against the attribute's mask, the best feature of each attribute, and
that feature on all held-out images of the class with the attribute. The same search on networks of
shuffled weights says what comes by chance.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from rival_jax import data
from rival_jax.configs import options, typed
from rival_jax.configs.neurons import Config
from rival_jax.experiments.neurons import detectors
from rival_jax.experiments.neurons.page import page
from rival_jax.experiments.neurons.rows import Studied, held_out_rows, search_rows
from rival_jax.experiments.runner import Bench, Unit
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.models import describe
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.runtime.results import Run, tree_digest
from rival_jax.types import Model

ROWS_VERSION = 1  # in every unit's hash: raise it when the same inputs give other rows


class Experiment:
    """Networks and attributes, checked."""

    counted = "images x networks"

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        self.config, self.subject = config, Subject(config, console, heads=False)
        self.networks = 1 + config.neurons.shuffled
        self.studied: list[Studied] = []  # whose rows are there
        for model in self.subject.models:
            pairs_of(config, *self.splits(model))

    def splits(self, model: Model) -> tuple[data.Examples, data.Examples]:
        """What features are chosen on, and what is held out, at a network's geometry."""
        read = functools.partial(self.subject.examples, self.subject.geometry(model))
        c = self.config.data
        return read(c.train_split, attributes=True), read(c.split, attributes=True)

    def forwards(self, model: Model) -> int:
        """Forward passes of a network and its shuffled ones."""
        train, test = self.splits(model)
        return (2 * len(train) + len(test)) * self.networks

    def total(self) -> int:
        """Forward passes of all."""
        return sum(map(self.forwards, self.subject.models))

    def costs(self) -> Iterator[tuple[str, float]]:
        """What each network's passes would cost."""
        for name in self.config.models:
            model, _, measured = self.subject.bare(name)
            (train, test), forwards = self.splits(model), self.forwards(model)
            yield (
                f"{model.name}: {len(train)} images twice and {len(test)} once, by {self.networks} "
                f"networks: {forwards:,} forwards; without global pooling each feature adds a "
                "backward pass of the last block",
                forwards * measured().seconds / self.subject.mesh.size,
            )

    def work(self, bench: Bench) -> Iterator[Unit]:
        """Three files of each network: a search, held-out images, and maps against other masks."""
        c, subject = self.config, self.subject
        for name in c.models:
            model, variables, cost = subject.bare(name)
            geometry, (train, test) = subject.geometry(model), self.splits(model)
            digest = tree_digest(variables)
            facts = {
                "name": model.name,
                "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables["params"])),
                "input": describe(model, geometry),
                "head": "none: features alone",
            }
            identity = str([model.name, model.mean, model.std, digest, *model.settings])
            loaded = Loaded(model, variables, geometry, identity, cost, facts)
            pick = functools.partial(subject.pick, loaded)
            plan = bench.plans.of(model.name, pick, images=len(test))
            found = model, variables, train, test, pairs_of(c, train, test), plan["images"]
            studied = Studied(*found, c.neurons, c.seed, subject.mesh, bench.meter.advance)
            self.studied.append(studied)
            yield from self._units(bench, studied, identity)
            bench.cards.append({**facts, "flops": plan["flops"]})

    def _units(self, bench: Bench, studied: Studied, identity: str) -> Iterator[Unit]:
        """Each reads the one before."""
        name, c = studied.model.name, self.config
        train, test, settings = studied.train, studied.test, c.neurons
        used = ("top", "threshold", "absent", "shuffled", "least_images")
        depends_on = {
            "version": ROWS_VERSION,
            "model": identity,
            "dtype": c.dtype,
            "seed": c.seed,
            "train": [train.fingerprint, train.attribute_fingerprint],
            "test": [test.fingerprint, test.attribute_fingerprint],
            **{key: getattr(settings, key) for key in used},
        }

        @functools.cache
        def held_out() -> Any:
            return held_out_rows(studied, bench.files[f"{name}/search"])

        searched = lambda _: search_rows(studied)  # noqa: E731
        yield Unit(f"{name}/search", depends_on, searched, everywhere=True)
        yield Unit(f"{name}/test", depends_on, lambda _: held_out()[0], everywhere=True)
        depends_on = {**depends_on, "permuted_images": settings.permuted_images}
        yield Unit(f"{name}/pairing", depends_on, lambda _: held_out()[1], everywhere=True)

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it."""
        config, classes = self.config, self.subject.first_examples().classes
        found = detectors.read(files, classes)
        told = options(self.config, "statistics")
        results = detectors.results(found, config.neurons, config.seed, **told)
        shown = {studied.model.name: studied.shown for studied in self.studied}
        return results, page(config, results, found, shown)


def pairs_of(config: Config, train: data.Examples, test: data.Examples) -> np.ndarray:
    """bool [c, a]: classes and attributes with enough images.

    Raises:
      ValueError: if there are none, or a photo is in both splits.
    """
    if both := set(train.names) & set(test.names):
        raise ValueError(
            f"{len(both)} photos are in both {config.data.train_split!r} and "
            f"{config.data.split!r} ({min(both)}): nothing would be held out. Give the data two "
            "splits, or name another --config.data.split"
        )
    least = config.neurons.least_images
    pairs = (_count(train) >= least) & (_count(test) >= least)
    if not pairs.any():
        raise ValueError(
            f"no attribute has {least} images of a class in both splits; "
            "pass a lower --config.neurons.least_images"
        )
    return pairs


def _count(examples: data.Examples) -> np.ndarray:
    """Images [c, a] of each class that have each attribute."""
    members = np.eye(len(examples.classes), dtype=int)[examples.labels]
    return members.T @ examples.attribute_labels
