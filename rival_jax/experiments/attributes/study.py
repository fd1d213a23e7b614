"""Parts of objects taken away one at a time (RIVAL10 study, appendix; section 3.1 and figure 3).

For each model, every attribute of every image that has it is greyed, compared with random regions
of equal area in the same object, and swapped for the same part of another class. A part's effect is
its excess over the random region, so that size is not mistaken for importance. And what attributes
alone say about the class: their means, correlations and a linear classifier.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from rich.console import Console

from rival_jax import metrics, noise, probe
from rival_jax.configs import options, typed
from rival_jax.configs.attributes import Config
from rival_jax.data import Examples
from rival_jax.experiments.attributes import parts
from rival_jax.experiments.attributes.measures import results_of
from rival_jax.experiments.attributes.page import page
from rival_jax.experiments.attributes.parts import CHANGES, Lot, Pairs
from rival_jax.experiments.rows import answers, tidy
from rival_jax.experiments.runner import Pass, Unit
from rival_jax.experiments.subject import Loaded, Subject, one_of, source_of
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Category, Columns, Run
from rival_jax.types import Array, Forward, Geometry, Model, Variables

ROWS_VERSION = 2  # part of every unit's hash: raise it when the same inputs give other rows
LABELS_VERSION = 1  # the same for what is made from labels alone
STEPS = 3  # changes of a pair per unit; the same in each, so that one program serves all units
MEASURED = ("probability", "correct", "predicted", "other_probability")
CLASSIFIER_L2 = 1e-4  # keeps the classifier finite if attributes separate the classes
_fit = jax.jit(probe.fit_converged, static_argnames="num_classes")
Steps = tuple[tuple[int, int], ...]
"""(position in `CHANGES`, number of the draw) of each step that a unit computes."""


def scored(
    forward: Forward, config: Config, variables: Variables, batch: Lot, key: Array, steps: Array
) -> dict[str, Array]:
    """A network's outputs for pairs, each changed in every one of `steps` [s, 2].

    Returns:
      the `answers`, and other_probability, of the donor's class: [p, s]; area, the part's share of
      the object: [p].
    """

    def one(step: Array) -> dict[str, Array]:
        logits, _ = forward(variables, parts.changed(config, batch, key, *step), {})
        other, _ = metrics.true_class(logits, jnp.asarray(batch["other_label"]))
        return {**answers(logits, batch["label"]), "other_probability": other}

    columns = {name: value.T for name, value in lax.map(one, steps).items()}
    mask, part = (jnp.asarray(batch[name]).sum((1, 2)) for name in ("mask", "part"))
    return {**columns, "area": part / jnp.maximum(mask, 1)}


def all_steps(draws: int) -> dict[str, Steps]:
    """The steps of every unit by name; the last may repeat a draw, which is then dropped.

    >>> all_steps(4)["controls_1"]
    ((2, 3), (2, 3), (2, 3))
    """
    found: dict[str, Steps] = {"parts": ((0, 0), (1, 0), (3, 0))}
    for number, start in enumerate(range(0, draws, STEPS)):
        chosen = [min(draw, draws - 1) for draw in range(start, start + STEPS)]
        found[f"controls_{number}"] = tuple((CHANGES.index("control"), draw) for draw in chosen)
    return found


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


class Experiment:
    """Networks and attributes, checked."""

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        source_of(config, config.data.split, attributes=True)  # checked before anything else
        self.config, self.subject = config, Subject(config, console)
        self.geometry = self.subject.geometry(self.subject.models[0])
        self.pairs = self._pairs(self.geometry)
        data, c, known = config.data, config.ablation, self.pairs.examples.attributes
        for name in c.attributes:
            one_of("ablation.attributes", name, known)
            if name not in self.pairs.names:
                self.subject.note(
                    f"No image of {data.name} {data.split} has the attribute {name}, which "
                    "config.ablation.attributes asks for: it is left out of all that follows."
                )
        if not self.pairs.names:
            raise ValueError(
                f"no image of {data.name} {data.split} has one of the attributes asked for; name "
                f"others with --config.ablation.attributes, of {known}"
            )
        self.subject.examples(self.geometry, data.train_split, attributes=True)  # see `_of_labels`

    def _pairs(self, geometry: Geometry) -> Pairs:
        examples = self.subject.examples(geometry, attributes=True)
        return parts.find(examples, self.config.ablation.attributes, self.config.seed)

    def facts(self) -> dict[str, Any]:
        """Facts about the data set, for data.json."""
        return {**self.subject.facts(), "attributes": list(self.pairs.examples.attributes)}

    def passes(self, model: Model) -> tuple[str, int]:
        """The forward passes of a network, and what they are."""
        count, each = len(self.pairs.image), STEPS * len(all_steps(self.config.ablation.draws))
        images = len(self.subject.first_examples())
        return f"{count} attributes of {images} images x {each}", count * each

    def units(self, loaded: Loaded, plan: Mapping[str, Any], head: str) -> Iterator[Unit]:
        """The units of one network: parts, then controls; after the last network, the labels."""
        config, c, name = self.config, self.config.ablation, loaded.model.name
        pairs = self._pairs(loaded.geometry)
        base = {"version": ROWS_VERSION, "model": loaded.digest, "dtype": config.dtype}
        base |= {"data": pairs.examples.fingerprint, "names": list(pairs.names), "grey": c.grey}
        base |= {"attributes": pairs.examples.attribute_fingerprint, "seed": config.seed}
        base |= {"background": c.background, "mask": config.data.mask}
        fn = parallel.Bound(scored, (loaded.model.forward, config))
        shown = f"{name} (on black backgrounds)" if c.background == "black" else name
        for unit, steps in all_steps(c.draws).items():
            first, depends_on = unit == "parts", {**base, "steps": steps}
            args = (noise.key(config.seed), np.array(steps, np.int32))
            columns = functools.partial(self._columns, loaded, pairs, steps)
            told = self.subject, loaded, plan["images"], fn, args, columns, len(steps)
            rows = Pass(*told, functools.partial(parts.batches, pairs, plan["images"], swap=first))
            clean = shown if first else ""
            yield Unit(f"{name}/{unit}", depends_on, rows, flops=plan["flops"], clean=clean)
        if name == self.subject.models[-1].name:
            yield from self._of_labels()

    def _of_labels(self) -> Iterator[Unit]:
        load = functools.partial(self.subject.examples, self.geometry, attributes=True)
        train, test = load(self.config.data.train_split), load(self.config.data.split)
        for name, made, splits in (
            ("labels", labels, (train,)),
            ("classifier", classified, (train, test)),
        ):
            key = {"version": LABELS_VERSION, "data": [s.attribute_fingerprint for s in splits]}
            rows = functools.partial(made, *splits)
            yield Unit(f"attributes/{name}", key, lambda _, rows=rows: rows(), everywhere=True)

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
        values |= {"area": found["area"][place]}
        columns = tidy(self.config.data.name, loaded, examples, pairs.image[pair], {}, values)
        return {
            **columns,
            "attribute": Category(pairs.attribute[pair], list(pairs.names)),
            "change": Category(np.searchsorted(once, step), [words[i] for i in once]),
            "lender": Category(pairs.lender[pair] % (len(examples) + 1), [*examples.names, ""]),
        }

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it."""
        told = options(self.config, "statistics") | {"pooling": self.config.ablation.pooling}
        results = results_of(files, self.pairs.examples.classes, **told)
        shown = functools.partial(parts.sheet, self.config, self.pairs)
        return results, page(self.config, results, shown)
