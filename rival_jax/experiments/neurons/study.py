"""Which neuron stands for which attribute, and does it on new images (RIVAL10 study, section 6).

For each class, the training images that activate a feature most are its top images. The feature
whose saliency on them covers an attribute's mask best is the attribute's. It is then judged on all
held-out images of the class with the attribute. The same search in networks with shuffled weights
shows what comes by chance.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from rival_jax import detectors
from rival_jax.configs import options, typed
from rival_jax.configs.neurons import Config, Neurons
from rival_jax.data import Examples
from rival_jax.data.source import refuse_overlap
from rival_jax.experiments.neurons.page import WORDS, page
from rival_jax.experiments.neurons.search import Search
from rival_jax.experiments.runner import Bench, Unit
from rival_jax.experiments.subject import Subject
from rival_jax.images import Images
from rival_jax.named import Counts, Named
from rival_jax.report.document import Document
from rival_jax.report.results import NO_INTERVAL, Results, Row
from rival_jax.report.study import Means, Measure, Study
from rival_jax.runtime import row_files
from rival_jax.runtime.results import Run
from rival_jax.types import Model

Pair = tuple[str, str, str]
PAIR = ("class", "model", "attribute")
KEYS = ("label", "model", "attribute")  # the same in rows


def measures(means: Means, reported: Set[Pair]) -> Iterator[Measure]:
    """IoU of every pair of a class and an attribute; means over all, and over those reported."""
    iou = means["iou"]  # [class, model, attribute]
    yield Measure("iou", iou)
    every = iou.counts.images > 0
    keys = itertools.product(*map(iou.of, PAIR))
    mine = every & np.reshape([key in reported for key in keys], every.shape)
    for name, pairs in (("iou", every), ("iou_reported", mine)):
        mean = (iou.values * (pairs / np.maximum(pairs.sum((0, 2)), 1)[:, None])).sum((0, 2))
        images = (iou.counts.every * pairs).max(2).sum(0)  # of these classes
        counts = Counts(images, images, pairs.any(2).sum(0), images)
        yield Measure(name, Named(mean, iou.axes[1:2], counts))


STUDY = Study(
    "neurons",
    axes=("model", "network", "attribute"),  # network 0 is the model, the others are shuffled
    columns=("iou", "activation"),
    measures=measures,
    sparse=True,
)


class Found(NamedTuple):
    """The rows of all models."""

    images: Images  # held out; NaN if an image is not of the class or lacks the attribute
    features: dict[Pair, tuple[int, float]]  # each pair's best, and its mean IoU on its top images
    cross: dict[Pair, np.ndarray]  # [m, m]: IoU of every image's map with every image's mask

    def of(self, row: Row) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """IoU and activation of a pair's feature, and names, of all held-out images with both."""
        (values, labels, classes), names = self.images, self.images.names
        one = {"model": row["model"], "network": 0, "attribute": row["attribute"]}
        iou, activation = (np.asarray(each.at(**one).values) for each in values.values())
        place = np.flatnonzero(np.isfinite(iou) & (labels == classes.index(row["class"])))
        return iou[place], activation[place], [names[i] for i in place]


def read(files: Mapping[str, Path], classes: Sequence[str]) -> Found:
    """From the three files of rows of every model; `classes` of the data set."""
    search, test, pairing = (
        [path for name, path in files.items() if name.endswith(f"/{kind}")]
        for kind in ("search", "test", "pairing")
    )
    best = pc.field("best") & (pc.field("network") == 0)
    given = [*KEYS, "network", "best", "feature", "score"]
    found = pa.concat_tables(row_files.read(path, given).filter(best) for path in search)
    cross = pa.concat_tables(row_files.read(path, [*KEYS, "iou"]) for path in pairing)
    cross = cross.group_by([*KEYS], use_threads=False).aggregate([("iou", "list")]).to_pylist()
    square = lambda iou: np.reshape(iou, 2 * (round(len(iou) ** 0.5),))  # noqa: E731
    key = operator.itemgetter(*KEYS)
    return Found(
        images=STUDY.read(test, sorted(classes)),
        features={key(row): (row["feature"], row["score"]) for row in found.to_pylist()},
        cross={key(row): square(row["iou_list"]) for row in cross},
    )


def results(found: Found, c: Neurons, seed: int, **options: Any) -> Results:
    """Every model's detectors: the features that mark an attribute of a class, tested.

    Of every model the mean `iou` of all pairs and of those reported, and `Assessed.whole` of
    `detectors.assessed`. Then of every pair `iou`, `train_iou` (on the feature's top images), and
    `Assessed.each`; pairs that are reported come first, then those of high IoU. `seed`: of the
    permutations; `options`: of `statistics.bootstrap`.
    """
    values, labels, classes = found.images
    first, tests = values["iou"].at(network=0), dict[str, Any]()
    attributes = first.of("attribute")
    for model in first.of("model"):
        iou = np.asarray(values["iou"].at(model=model).values)  # [images, networks, attributes]
        means = detectors.pair_means(iou, labels)
        scores = {(classes[k], model, attributes[a]): mean for (k, a), mean in means.items()}
        cross = [found.cross.get(pair, np.zeros((0, 0))) for pair in scores]
        told = np.stack([*scores.values()], axis=1), cross, c.false_discovery_rate
        each, whole = detectors.assessed(*told, permutations=c.permutations, seed=seed)
        numbers = ({k: float(v[i]) for k, v in each.items()} for i in range(len(scores)))
        tests[model] = whole, dict(zip(scores, numbers, strict=True))
    reported = {pair for _, each in tests.values() for pair in each if each[pair]["reported"]}
    table = STUDY.results(found.images._replace(values={"iou": first}), reported, **options)
    pair = operator.itemgetter(*PAIR)
    order = lambda row: (pair(row) not in reported, -row["estimate"], pair(row))  # noqa: E731
    rows: list[Row] = []
    for model, (numbers, each) in tests.items():
        mine = table.where(model=model)
        whole = mine.where(**{"class": None}).rows
        rows += [*whole, *_plain(whole[0], numbers)]
        for row in sorted(mine.where(**{"class": bool}), key=order):
            feature, score = found.features.get(pair(row), (-1, 0.0))
            row = {**row, "feature": feature}
            rows += [row, *_plain(row, {"train_iou": score, **each[pair(row)]})]
    return Results(rows)


def _plain(row: Row, numbers: Mapping[str, float]) -> Iterator[Row]:
    """More numbers in the place of a row, without intervals."""
    return ({**row, **NO_INTERVAL, "measure": k, "estimate": v} for k, v in numbers.items())


class Experiment:
    """Networks and attributes, checked."""

    counted = "images x networks"

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        self.config, self.subject = config, Subject(config, console, heads=False)
        self.searches: dict[str, Search] = {}  # by model
        for model in self.subject.models:
            self.splits(model)

    def splits(self, model: Model) -> tuple[Examples, Examples, np.ndarray]:
        """What features are chosen on, and what is held out, at a network's geometry.

        And the pairs of a class and an attribute with enough images in both splits, bool [c, a].
        Raises ValueError if there are none, or a photo is in both splits.
        """
        c, least, pairs = self.config.data, self.config.neurons.least_images, np.True_
        read = functools.partial(self.subject.examples, self.subject.geometry(model))
        train, test = (read(split, attributes=True) for split in (c.train_split, c.split))
        cure = "Give the data two splits, or name another --config.data.split"
        names = repr(c.train_split), repr(c.split)
        refuse_overlap(train.names, test.names, names, f"nothing would be held out. {cure}")
        for examples in (train, test):  # images of each class that have each attribute
            members = np.eye(len(examples.classes), dtype=int)[examples.labels]
            pairs = pairs & (members.T @ examples.attribute_labels >= least)
        if not pairs.any():
            raise ValueError(
                f"no attribute has {least} images of a class in both splits; "
                "pass a lower --config.neurons.least_images"
            )
        return train, test, pairs

    def passes(self, model: Model) -> tuple[str, int]:
        """What is done with a network and its shuffled copies, and their forward passes."""
        (train, test), networks = map(len, self.splits(model)[:2]), 1 + self.config.neurons.shuffled
        text = WORDS.text("passes", train=train, test=test, networks=networks)
        return text, (2 * train + test) * networks

    def work(self, bench: Bench) -> Iterator[Unit]:
        """Three files of each network: a search, held-out images, and maps against other masks."""
        for name in self.config.models:
            loaded = self.subject.load(name)
            splits = self.splits(loaded.model)
            plan = bench.plan(loaded, self.subject.pick, images=len(splits[1]))
            given = *splits, plan["images"], self.config, self.subject.mesh, bench.meter.advance
            search = self.searches[loaded.model.name] = Search(loaded, *given)
            yield from search.units(bench.files)

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it."""
        c = self.config
        found = read(files, self.subject.first_examples().classes)
        table = results(found, c.neurons, c.seed, **options(c, "statistics"))
        shown = {name: search.shown for name, search in self.searches.items()}
        return table, page(c, table, found.of, shown)
