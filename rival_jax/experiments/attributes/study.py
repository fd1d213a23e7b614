"""Parts of objects taken away one at a time (RIVAL10 study, appendix; section 3.1 and figure 3).

For each model: every attribute of every image that has it is greyed, set against random regions of
equal area in the same object, and swapped for that of another class. A part counts by its excess
over the random region, so that size is not mistaken for importance. And what attributes alone say
of the class: their means, correlations and a linear classifier.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from rich.console import Console

from rival_jax import metrics, noise
from rival_jax.configs import options, typed
from rival_jax.configs.attributes import Config
from rival_jax.data import Examples
from rival_jax.experiments.attributes import labels, parts
from rival_jax.experiments.attributes.page import page
from rival_jax.experiments.attributes.parts import CHANGES, Pairs, Plan
from rival_jax.experiments.rows import answers, tidy
from rival_jax.experiments.runner import Pass, Unit
from rival_jax.experiments.subject import Loaded, Subject, one_of, source_of
from rival_jax.named import Named
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.report.study import Means, Measure, Study
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Category, Columns, Run
from rival_jax.types import Array, Forward, Geometry, Variables

ROWS_VERSION = 2  # in every unit's hash: raise it when the same inputs give other rows
STEPS = 3  # changes of a pair that one unit computes; equal, so that one program does all units
MEASURED = ("probability", "correct", "predicted", "other_probability")
ROUNDING = 1e-6  # of a float32 probability
Steps = tuple[tuple[int, int], ...]
"""(position in `CHANGES`, number of the draw) of everything that a unit computes."""


def paired(columns: dict[str, Named]) -> dict[str, Named]:
    """Differences within images; NaN where one lacks the attribute or, for swaps, nobody lends."""
    found = {}
    names = columns["correct"].of("change")
    draws = [name for name in names if name.startswith("control_")]
    for name, column in (("accuracy", "correct"), ("probability", "probability")):
        one = columns[column]
        clean, grey = one.at(change="clean"), one.at(change="grey")
        # A part that is the whole object is its own control.
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
    return np.where(np.abs(control - grey) < ROUNDING, grey, control)


def measures(means: Means, pooling: str) -> Iterator[Measure]:
    """Means over classes and of each, and how models differ in what a part costs beyond its size.

    Args:
      means: of `paired`.
      pooling: "classes": means of a class, then over the classes that have the attribute;
        "images": all images alike (the study's released code).
    """
    by = "images" if pooling == "images" else "each"
    for name, of_class in means.items():
        mean = of_class.mean("class", by=by)
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
    signed=(
        *("accuracy_drop", "control_accuracy_drop", "accuracy_excess", "swap_accuracy_drop"),
        *("probability_drop", "control_probability_drop", "probability_excess"),
        *("swap_probability_drop", "swap_beyond_grey", "swap_lender_rise"),
    ),
)
AREA = Study(  # the part's share of the object, all images alike
    "attributes",
    axes=("attribute",),
    columns=("area",),
    measures=lambda means: [Measure("area", means["area"].mean("class", by="images"))],
    averaged=("change",),
    sparse=True,
)


def results_of(
    files: Mapping[str, Path], classes: Sequence[str], pooling: str, **options: Any
) -> Results:
    """The table of results.

    Args:
      files: of all units by name, in their order.
      classes: of the data set, in order.
      pooling: see `measures`.
      options: of `statistics.bootstrap`.
    """
    told = {name: files[f"attributes/{name}"] for name in ("labels", "classifier")}
    rows = [file for file in files.values() if file not in told.values()]
    found = STUDY.results(STUDY.read(rows, classes), pooling, **options)
    found += AREA.results(AREA.read(rows[:1], classes), **options)  # every unit has all pairs
    return found + labels.results(**told, classes=classes, **options)


def scored(
    forward: Forward,
    plan: Plan,
    variables: Variables,
    batch: Mapping[str, Any],
    key: Array,
    steps: Array,
) -> dict[str, Array]:
    """What a network makes of pairs, each changed in every one of `steps` [s, 2].

    Returns:
      the `answers`, and other_probability, of the lender's class: [p, s];
      area, the part's share of the object: [p].
    """

    def one(step: Array) -> dict[str, Array]:
        logits, _ = forward(variables, parts.changed(plan, batch, key, *step), {})
        other, _ = metrics.true_class(logits, jnp.asarray(batch["other_label"]))
        return {**answers(logits, batch["label"]), "other_probability": other}

    columns = {name: value.T for name, value in lax.map(one, steps).items()}
    mask, part = (jnp.asarray(batch[name]).sum((1, 2)) for name in ("mask", "part"))
    return {**columns, "area": part / jnp.maximum(mask, 1)}


def all_steps(draws: int) -> dict[str, Steps]:
    """The steps of every unit by name; the last may repeat a draw, which is then left out.

    >>> all_steps(4)["controls_1"]
    ((2, 3), (2, 3), (2, 3))
    """
    found: dict[str, Steps] = {"parts": ((0, 0), (1, 0), (3, 0))}
    for number, start in enumerate(range(0, draws, STEPS)):
        chosen = [min(draw, draws - 1) for draw in range(start, start + STEPS)]
        found[f"controls_{number}"] = tuple((CHANGES.index("control"), draw) for draw in chosen)
    return found


class Experiment:
    """Networks and attributes, checked."""

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        source_of(config, config.data.split, attributes=True)  # before anything else is asked of it
        self.config, self.subject = config, Subject(config, console)
        self.geometry = self.subject.geometry(self.subject.models[0])
        examples, names, self.pairs = self._pairs(self.geometry)
        data, c = config.data, config.ablation
        for name in c.attributes:
            one_of("ablation.attributes", name, examples.attributes)
            if name not in names:
                self.subject.note(
                    f"No image of {data.name} {data.split} has the attribute {name}, which "
                    "config.ablation.attributes asks for: it is left out of all that follows."
                )
        if not names:
            raise ValueError(
                f"no image of {data.name} {data.split} has one of the attributes asked for; name "
                f"others with --config.ablation.attributes, of {examples.attributes}"
            )
        self.plan = Plan(c.grey, c.background == "black", data.mask == "binary")

    def _pairs(self, geometry: Geometry) -> tuple[Examples, tuple[str, ...], Pairs]:
        """The evaluated split, the attributes that are taken away, and from which images.

        Those of the config, or all that some image has.
        """
        examples = self.subject.examples(geometry, attributes=True)
        some = np.any(examples.attribute_labels, axis=0).tolist()
        present = [name for name, has in zip(examples.attributes, some, strict=True) if has]
        asked = tuple(self.config.ablation.attributes) or present
        names = tuple(name for name in asked if name in present)
        return examples, names, parts.find(examples, names, self.config.seed)

    def facts(self) -> dict[str, Any]:
        """Of the data set, for data.json."""
        examples = self.subject.examples(self.geometry, attributes=True)
        return {**self.subject.facts(), "attributes": list(examples.attributes)}

    def forwards(self) -> int:
        """Forward passes per pair and network."""
        return STEPS * len(all_steps(self.config.ablation.draws))

    def total(self) -> int:
        """Forward passes of all units."""
        return len(self.pairs.image) * self.forwards() * len(self.config.models)

    def costs(self) -> Iterator[tuple[str, float]]:
        """What each network's forward passes would cost; reads what a run would read."""
        subject, count = self.subject, len(self.pairs.image)
        subject.read_training()
        subject.examples(self.geometry, str(self.config.data.train_split), attributes=True)
        each = f"{count} attributes of {len(subject.first_examples())} images x {self.forwards()}"
        for name in self.config.models:
            model, _, measured = subject.bare(name)
            seconds = count * self.forwards() * measured().seconds / subject.mesh.size
            yield f"{model.name}: {each} forwards", seconds

    def units(self, loaded: Loaded, plan: Mapping[str, Any], head: str) -> Iterator[Unit]:
        """Of one network, parts first, then controls; after the last network's, the labels'."""
        config, c, name = self.config, self.config.ablation, loaded.model.name
        examples, names, pairs = self._pairs(loaded.geometry)
        base = {"version": ROWS_VERSION, "model": loaded.digest, "dtype": config.dtype}
        base |= {"data": examples.fingerprint, "attributes": examples.attribute_fingerprint}
        base |= {"names": list(names), "grey": c.grey, "seed": config.seed}
        base |= {"background": c.background, "mask": config.data.mask}
        fn = parallel.Bound(scored, (loaded.model.forward, self.plan))
        size, key = plan["images"], noise.key(config.seed)
        for unit, steps in all_steps(c.draws).items():
            given: dict[str, Any] = {
                "args": (key, np.array(steps, np.int32)),
                "columns": functools.partial(self._columns, loaded, steps),
                "each": len(steps),
            }
            swap = (CHANGES.index("swap"), 0) in steps
            lent = functools.partial(parts.batches, examples, names, pairs, size, swap=swap)
            yield Unit(
                f"{name}/{unit}",
                {**base, "steps": steps},
                Pass(self.subject, loaded, size, fn, batches=lent, **given),
                flops=plan["flops"],
                clean=self._named(name) if unit == "parts" else "",
            )
        if name == self.subject.models[-1].name:
            splits = (config.data.train_split, config.data.split)
            load = functools.partial(self.subject.examples, self.geometry, attributes=True)
            yield from labels.units(*map(load, splits))

    def _named(self, name: str) -> str:
        return f"{name} (on black backgrounds)" if self.plan.black_background else name

    def _columns(self, loaded: Loaded, steps: Steps, found: parallel.Rows) -> Columns:
        """One row per step and pair of this host; no swap for pairs without a lender."""
        examples, names, pairs = self._pairs(loaded.geometry)
        once = [i for i, step in enumerate(steps) if step not in steps[:i]]
        place, step = (grid.ravel() for grid in np.meshgrid(np.arange(len(found["index"])), once))
        swapped = np.array(steps)[step, 0] == CHANGES.index("swap")
        wanted = ~swapped | (pairs.lender[found["index"][place]] >= 0)
        place, step = place[wanted], step[wanted]
        pair = found["index"][place]
        words = [f"control_{draw}" if CHANGES[c] == "control" else CHANGES[c] for c, draw in steps]
        values = {name: found[name][place, step] for name in MEASURED}
        values |= {"area": found["area"][place]}
        columns = tidy(self.config.data.name, loaded, examples, pairs.image[pair], {}, values)
        return {
            **columns,
            "attribute": Category(pairs.attribute[pair], list(names)),
            "change": Category(np.searchsorted(once, step), [words[i] for i in once]),
            "lender": Category(pairs.lender[pair] % (len(examples) + 1), [*examples.names, ""]),
        }

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it."""
        examples, names, pairs = self._pairs(self.geometry)
        told = options(self.config, "statistics") | {"pooling": self.config.ablation.pooling}
        results = results_of(files, examples.classes, **told)
        known = (self.plan, examples, names, pairs, self.config.seed)
        return results, page(self.config, results, functools.partial(parts.sheet, *known))
