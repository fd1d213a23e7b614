"""Which neuron stands for which attribute, and does it on new images (RIVAL10 study, section 6).

For each class, the training images that activate a feature most are its top images. The feature
whose saliency on them covers an attribute's mask best is the attribute's. It is then judged on all
held-out images of the class with the attribute. The same search in networks with shuffled weights
shows what comes by chance.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rival_jax.configs import options, typed
from rival_jax.configs.neurons import Config
from rival_jax.data import Examples
from rival_jax.data.source import refuse_overlap
from rival_jax.experiments.neurons import measures
from rival_jax.experiments.neurons.page import page
from rival_jax.experiments.neurons.search import Search
from rival_jax.experiments.runner import Bench, Unit
from rival_jax.experiments.subject import Subject
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.runtime.results import Run
from rival_jax.types import Model


class Experiment:
    """Networks and attributes, checked."""

    counted = "images x networks"

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        self.config, self.subject = config, Subject(config, console, heads=False)
        self.searches: dict[str, Search] = {}  # by model
        for model in self.subject.models:
            pairs_of(config, *self.splits(model))

    def splits(self, model: Model) -> tuple[Examples, Examples]:
        """What features are chosen on, and what is held out, at a network's geometry."""
        read = functools.partial(self.subject.examples, self.subject.geometry(model))
        c = self.config.data
        return read(c.train_split, attributes=True), read(c.split, attributes=True)

    def passes(self, model: Model) -> tuple[str, int]:
        """What is done with a network and its shuffled copies, and their forward passes."""
        (train, test), networks = map(len, self.splits(model)), 1 + self.config.neurons.shuffled
        text = (
            f"{train} images twice and {test} once (and a backward pass of the last block for each "
            f"feature, if they are not pooled), by {networks} networks"
        )
        return text, (2 * train + test) * networks

    def work(self, bench: Bench) -> Iterator[Unit]:
        """Three files of each network: a search, held-out images, and maps against other masks."""
        for name in self.config.models:
            loaded = self.subject.load(name)
            train, test = self.splits(loaded.model)
            plan = bench.plan(loaded, self.subject.pick, images=len(test))
            told = train, test, pairs_of(self.config, train, test), plan["images"], self.config
            search = Search(loaded, *told, self.subject.mesh, bench.meter.advance)
            self.searches[loaded.model.name] = search
            yield from search.units(bench.files)

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it."""
        c, told = self.config, options(self.config, "statistics")
        found = measures.read(files, self.subject.first_examples().classes)
        results = measures.results(found, c.neurons, c.seed, **told)
        shown = {name: search.shown for name, search in self.searches.items()}
        return results, page(c, results, found, shown)


def pairs_of(config: Config, train: Examples, test: Examples) -> np.ndarray:
    """The pairs of a class and an attribute with enough images in both splits, bool [c, a].

    Raises:
      ValueError: if there are none, or a photo is in both splits.
    """
    splits = repr(config.data.train_split), repr(config.data.split)
    cure = "Give the data two splits, or name another --config.data.split"
    refuse_overlap(train.names, test.names, splits, f"nothing would be held out. {cure}")
    least, pairs = config.neurons.least_images, np.True_
    for examples in (train, test):  # images of each class that have each attribute
        members = np.eye(len(examples.classes), dtype=int)[examples.labels]
        pairs = pairs & (members.T @ examples.attribute_labels >= least)
    if not pairs.any():
        raise ValueError(
            f"no attribute has {least} images of a class in both splits; "
            "pass a lower --config.neurons.least_images"
        )
    return pairs
