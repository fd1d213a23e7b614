"""Parts of objects taken away one at a time (RIVAL10 study, appendix; section 3.1 and figure 3).

For each model, every attribute of every image that has it is greyed, compared with random regions
of equal area in the same object, and swapped for the same part of another class. A part's effect is
its excess over the random region, so that size is not mistaken for importance. And what attributes
alone say about the class: their means, correlations and a linear classifier.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
from rich.console import Console

from rival_jax import noise, probe, statistics
from rival_jax.changes import CHANGES, PartChange, part_answers
from rival_jax.configs import options, typed
from rival_jax.configs.attributes import Config
from rival_jax.data import Examples
from rival_jax.experiments.attributes import parts
from rival_jax.experiments.attributes.page import WORDS, page
from rival_jax.experiments.attributes.parts import STEPS, Pairs, Steps
from rival_jax.experiments.rows import tidy
from rival_jax.experiments.runner import Pass, Unit
from rival_jax.experiments.subject import Loaded, Subject, one_of, source_of
from rival_jax.metrics import answers
from rival_jax.named import Named
from rival_jax.report.document import Document
from rival_jax.report.results import Results, Row, plain
from rival_jax.report.study import Means, Measure, Study
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Category, Columns, Run
from rival_jax.runtime.row_arrays import read_images
from rival_jax.types import Geometry, Model

ROWS_VERSION = 2  # part of every unit's hash: raise it when the same inputs give other rows
LABELS_VERSION = 1  # the same for what is made from labels alone
MEASURED = ("probability", "correct", "predicted", "other_probability")
CLASSIFIER_L2 = 1e-4  # keeps the classifier finite if attributes separate the classes
ROUNDING = 1e-6  # of a float32 probability
_fit = jax.jit(probe.fit_converged, static_argnames="num_classes")


def paired(columns: dict[str, Named]) -> dict[str, Named]:
    """Differences within images; NaN if one lacks the attribute or, for swaps, has no donor."""
    found = {}
    names = columns["correct"].of("change")
    draws = [name for name in names if name.startswith("control_")]
    for name, column in (("accuracy", "correct"), ("probability", "probability")):
        one = columns[column]
        clean, grey = one.at(change="clean"), one.at(change="grey")
        control = one.where(change=draws).mean("change").map(_same_if_close, grey)
        found[f"{name}_drop"] = clean - grey
        found[f"control_{name}_drop"] = clean - control
        found[f"{name}_excess"] = control - grey
        if "swap" in names:
            found[f"swap_{name}_drop"] = clean - one.at(change="swap")
    if "swap" in names:
        own, other = columns["probability"], columns["other_probability"]
        found["swap_beyond_grey"] = own.at(change="grey") - own.at(change="swap")
        found["swap_lender_rise"] = other.at(change="swap") - other.at(change="clean")
    return found


def _same_if_close(control: Any, grey: Any) -> Any:
    """If the part is the whole object, it is its own control."""
    return np.where(np.abs(control - grey) < ROUNDING, grey, control)


def measures(means: Means, pooling: str) -> Iterator[Measure]:
    """Means per class and over classes, and how models differ in a part's cost beyond its size.

    `pooling` "classes": means per class, then over the classes that have the attribute; "images":
    over all images (the study's released code).
    """
    for name, of_class in means.items():
        mean = of_class.mean("class", by="images" if pooling == "images" else "each")
        yield Measure(name, mean)
        if not name.startswith("swap"):
            yield Measure(name, of_class)
        if name == "probability_excess":
            yield Measure(name, mean.differences("model"))


STUDY = Study(
    "attributes",
    axes=("model", "attribute", "change"),
    columns=("correct", "probability", "other_probability"),
    measures=measures,
    sparse=True,
    derived=paired,
    alone=lambda config: (config.ablation.pooling,),
    signed=(
        *("accuracy_drop", "control_accuracy_drop", "accuracy_excess", "swap_accuracy_drop"),
        *("probability_drop", "control_probability_drop", "probability_excess"),
        *("swap_probability_drop", "swap_beyond_grey", "swap_lender_rise"),
    ),
)


def pooled(pooling: str) -> Study:
    """The study, with its means over classes said."""
    return dataclasses.replace(STUDY, apart="images" if pooling == "images" else "each")


AREA = Study(  # the part's share of the object, over all images
    "attributes",
    axes=("attribute",),
    columns=("area",),
    measures=lambda means: [Measure("area", means["area"].mean("class", by="images"))],
    averaged=("change",),
    apart="images",
    sparse=True,
)
CLASSIFIER = Study(
    "attributes",
    axes=(),
    columns=("correct",),
    measures=lambda means: [Measure("classifier_accuracy", means["correct"].mean("class"))],
    apart="each",
)


def labels(examples: Examples) -> Columns:
    """Attribute labels of a split as rows: example, label, and a column for each attribute."""
    image, label = np.arange(len(examples)), Category(examples.labels, list(examples.classes))
    shown = zip(examples.attributes, examples.attribute_labels.T.astype(np.int8), strict=True)
    return {"example": Category(image, list(examples.names)), "label": label, **dict(shown)}


def classified(train: Examples, test: Examples) -> Columns:
    """Rows of the test split from a linear classifier fitted on attribute labels alone."""
    seen, shown = (jnp.asarray(e.attribute_labels, jnp.float32) for e in (train, test))
    fitted = _fit(seen, jnp.asarray(train.labels), CLASSIFIER_L2, num_classes=len(train.classes))
    found = {name: np.asarray(v) for name, v in answers(fitted(shown), test.labels).items()}
    words = {name: labels(test)[name] for name in ("example", "label")}
    return {**words, "predicted": Category(found.pop("predicted"), list(test.classes)), **found}


def results_of(
    files: Mapping[str, Path], classes: Sequence[str], pooling: str, **options: Any
) -> Results:
    """The table of results, from the files of all units, by name and in order."""
    labels, classifier = (files[f"attributes/{name}"] for name in ("labels", "classifier"))
    rows = [file for file in files.values() if file not in (labels, classifier)]
    found = pooled(pooling).results(STUDY.read(rows, classes), pooling, **options)
    found += AREA.results(AREA.read(rows[:1], classes), **options)  # every unit has all pairs
    found += CLASSIFIER.results(CLASSIFIER.read([classifier], classes), **options)
    return found + Results(figure_3(labels, classes))


def figure_3(labels: Path, classes: Sequence[str]) -> Iterator[Row]:
    """How attribute labels go together, and with classes; without intervals.

    Rows of "label_share" (of a class's images that have an attribute) and of "label_correlation"
    (between two attributes; NaN for an attribute that all or no images have).
    """
    names = [name for name in pq.read_schema(labels).names if name not in ("example", "label")]
    images = read_images([labels], (), names, classes)
    shown = np.stack([images.values[name].values for name in names], axis=1)  # [n, a]
    counts = np.bincount(images.labels, minlength=len(classes))
    shares = statistics.class_means(shown, images.labels, len(classes))
    for c in np.flatnonzero(counts).tolist():
        for a, name in enumerate(names):
            words = {"class": classes[c], "attribute": name}
            yield plain(STUDY.name, "label_share", shares[c, a], int(counts[c]), 1, **words)
    with np.errstate(invalid="ignore", divide="ignore"):
        both = np.atleast_2d(np.corrcoef(shown.T))
    size = len(images.labels), int((counts > 0).sum())
    for (a, b), value in np.ndenumerate(both):
        words = {"attribute": names[a], "other_attribute": names[b]}
        yield plain(STUDY.name, "label_correlation", value, *size, **words)


class Experiment:
    """Networks and attributes, checked."""

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        data, asked = config.data, config.ablation.attributes
        source_of(data, data.split, attributes=True)  # checked before anything else
        self.config, self.subject = config, Subject(config, console)
        self.geometry = self.subject.geometry(self.subject.models[0])
        self.pairs, of = self._pairs(self.geometry), f"{data.name} {data.split}"
        for name in asked:
            one_of("ablation.attributes", name, self.pairs.examples.attributes)
        absent = [name for name in asked if name not in self.pairs.names]
        self.subject.note(*(WORDS.text("absent", of=of, attribute=name) for name in absent))
        if not self.pairs.names:
            raise ValueError(
                f"no image of {of} has one of the attributes asked for; name others with "
                f"--config.ablation.attributes, of {self.pairs.examples.attributes}"
            )
        self._examples(data.train_split)  # of `labels` and `classified`

    @property
    def how(self) -> PartChange:
        """How parts are changed; by which change is an argument of one compiled program."""
        c = self.config.ablation
        return PartChange(c.grey, c.background == "black", self.config.data.mask == "binary")

    def _examples(self, split: str, geometry: Geometry | None = None) -> Examples:
        return self.subject.examples(geometry or self.geometry, split, attributes=True)

    def _pairs(self, geometry: Geometry) -> Pairs:
        examples = self._examples(self.config.data.split, geometry)
        return parts.find(examples, self.config.ablation.attributes, self.config.seed)

    def facts(self) -> dict[str, Any]:
        """Facts about the data set, for data.json."""
        return {**self.subject.facts(), "attributes": list(self.pairs.examples.attributes)}

    def passes(self, model: Model) -> tuple[str, int]:
        """The forward passes of a network, and what they are."""
        count, images = len(self.pairs.image), len(self.subject.first_examples())
        each = STEPS * len(parts.all_steps(self.config.ablation.draws))
        return f"{count} attributes of {images} images x {each}", count * each

    def units(self, loaded: Loaded, plan: Mapping[str, Any], head: str) -> Iterator[Unit]:
        """The units of one network: parts, then controls; after the last network, the labels."""
        config, c, name = self.config, self.config.ablation, loaded.model.name
        pairs, size = self._pairs(loaded.geometry), plan["images"]
        base = {"names": list(pairs.names), "data": pairs.examples.fingerprint, "grey": c.grey}
        base |= {"attributes": pairs.examples.attribute_fingerprint, "seed": config.seed}
        base |= {"background": c.background, "mask": config.data.mask}
        base = self.subject.identity(loaded, ROWS_VERSION, **base)
        fn = parallel.Bound(part_answers, (loaded.model.forward, self.how))
        shown = f"{name} (on black backgrounds)" if c.background == "black" else name
        for unit, steps in parts.all_steps(c.draws).items():
            args = (noise.key(config.seed), np.array(steps, np.int32))
            columns = functools.partial(self._columns, loaded, pairs, steps)
            first = unit == "parts"
            batches = functools.partial(parts.batches, pairs, size, swap=first)
            rows = Pass(self.subject, loaded, size, fn, args, columns, len(steps), batches)
            clean = shown if first else ""
            yield Unit(f"{name}/{unit}", {**base, "steps": steps}, rows, plan["flops"], clean)
        if name == self.subject.models[-1].name:
            train, test = map(self._examples, (config.data.train_split, config.data.split))
            yield _of_labels("labels", labels, train)
            yield _of_labels("classifier", classified, train, test)

    def _columns(self, loaded: Loaded, pairs: Pairs, steps: Steps, found: parallel.Rows) -> Columns:
        """One row per step and pair of this host; no swap for pairs without a donor."""
        once = [i for i, step in enumerate(steps) if step not in steps[:i]]
        place, step = (grid.ravel() for grid in np.meshgrid(np.arange(len(found["index"])), once))
        swapped = np.array(steps)[step, 0] == CHANGES.index("swap")
        wanted = ~swapped | (pairs.lender[found["index"][place]] >= 0)
        place, step = place[wanted], step[wanted]
        pair, examples = found["index"][place], pairs.examples
        words = [f"control_{draw}" if CHANGES[c] == "control" else CHANGES[c] for c, draw in steps]
        values = {name: found[name][place, step] for name in MEASURED}
        values |= {
            "area": found["area"][place],
            "attribute": Category(pairs.attribute[pair], list(pairs.names)),
            "change": Category(np.searchsorted(once, step), [words[i] for i in once]),
            "lender": Category(pairs.lender[pair] % (len(examples) + 1), [*examples.names, ""]),
        }
        return tidy(self.subject, loaded, {}, values, pairs.image[pair], examples)

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it."""
        told = options(self.config, "statistics") | {"pooling": self.config.ablation.pooling}
        results = results_of(files, self.pairs.examples.classes, **told)
        shown = functools.partial(parts.sheet, self.how, self.config.seed, self.pairs)
        return results, page(self.config, results, shown)


def _of_labels(name: str, made: Callable[..., Columns], *splits: Examples) -> Unit:
    """A unit made from labels alone, the same on every host."""
    key = {"version": LABELS_VERSION, "data": [split.attribute_fingerprint for split in splits]}
    return Unit(f"attributes/{name}", key, lambda _: made(*splits), everywhere=True)
