"""Where networks look, and what it costs them not to see it (RIVAL10 study, 5.4).

Saliency maps against object masks, by many metrics; the images whose maps lie on the background,
and how greying what the maps mark there changes the probability. One model under one method is a
unit of work.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from rival_jax import noise
from rival_jax.configs import options, typed
from rival_jax.configs.saliency import Config
from rival_jax.experiments.changed import lent
from rival_jax.experiments.explained import Costs, allowed, nameless
from rival_jax.experiments.groups import groups, with_singles
from rival_jax.experiments.rows import outputs, tidy
from rival_jax.experiments.runner import Bench, Pass, Unit
from rival_jax.experiments.saliency.gallery import pictured
from rival_jax.experiments.saliency.measures import HIT, STUDY, hits_of, tabled
from rival_jax.experiments.saliency.page import flat, named, page
from rival_jax.experiments.saliency.unit import Plan, look, measure
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.report.tables import write_csv
from rival_jax.runtime import checksums, hosts, parallel
from rival_jax.runtime.names import file_path
from rival_jax.runtime.results import Category, Columns, Run, atomic, digest

ROWS_VERSION = 2  # part of every unit's hash: raise it when the same inputs give other rows
_look = jax.jit(look, static_argnums=(0, 1))


class Experiment:
    """Networks and the methods that each allows, checked."""

    counted = "images"

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        self.config, self.subject = config, Subject(config, console)
        self.groups = groups(config.groups)
        with_singles([model.name for model in self.subject.models], self.groups)
        plan, networks = functools.partial(plan_of, config), self.subject.models
        self.plans = allowed(config.saliency, networks, console, plan)
        self.pictures: dict[tuple[str, str], Path] = {}  # of the hits
        make = lambda loaded, plan: (_fn(loaded, plan), (noise.key(0),))  # noqa: E731
        self.cost = Costs(self.subject, self.plans, make)
        self.total, self.costs = self.cost.total, self.cost.told

    def work(self, bench: Bench) -> Iterator[Unit]:
        """The units of every network; after each, the pictures of its hits."""
        for name in self.config.models:
            loaded = self.subject.load(name)
            bench.cards.append(loaded.facts)
            for plan in self.plans[loaded.model.name]:
                unit = self._unit(bench, loaded, plan)
                yield unit
                self._picture(bench, unit, loaded, plan)

    def _unit(self, bench: Bench, loaded: Loaded, plan: Plan) -> Unit:
        """The rows of one network under one method."""
        c, model, how = self.config, loaded.model.name, dataclasses.asdict(plan)
        examples, name = self.subject.examples(loaded.geometry), f"{model}/{plan.method}"
        depends_on = {"version": ROWS_VERSION, "model": loaded.digest, "dtype": c.dtype}
        depends_on |= {"data": examples.fingerprint, "seed": c.seed, **how}
        pick = functools.partial(self.cost.pick, loaded, plan)
        size = bench.plans.of(name, pick, images=len(examples), **how)["images"]

        def columns(found: parallel.Rows) -> Columns:
            target = Category(found["target"], outputs(loaded, list(examples.classes)))
            values = {**found, "probability": found["true_none"], "target": target}
            words = {"method": plan.method}
            return tidy(c.data.name, loaded, examples, found["index"], words, values)

        rows = Pass(self.subject, loaded, size, _fn(loaded, plan), (noise.key(c.seed),), columns)
        first = plan == self.plans[model][0]  # predictions are the same for all methods
        return Unit(name, depends_on, rows, clean=model if first else "")

    def _picture(self, bench: Bench, unit: Unit, loaded: Loaded, plan: Plan) -> None:
        """Photos, masks, maps and salient backgrounds of a unit's hits, unless they exist."""
        c = self.config.saliency
        wanted = {**unit.depends_on, "classes": c.classes, "hits": c.hits}
        path = bench.run.path / "hits" / f"{file_path(unit.name)}-{digest(wanted)}.npz"
        self.pictures[loaded.model.name, plan.method] = path
        if hosts.first() and not checksums.holds(path):
            classes = self.subject.first_examples().classes
            rows = pictured(STUDY.read([bench.files[unit.name]], classes), c)
            arrays = self._arrays(loaded, plan, rows)
            with atomic(path) as partial:
                np.savez_compressed(partial, **arrays)
            checksums.note(path)

    def _arrays(self, loaded: Loaded, plan: Plan, rows: np.ndarray) -> dict[str, Any]:
        """Pictures of some rows as bytes, [k, h, w] each."""
        if not len(rows):
            return {"rows": rows}
        examples = self.subject.examples(loaded.geometry)
        items = lent(examples, rows)
        shown = {name: np.stack([item[name] for item in items]) for name in ("image", "mask")}
        batch = {name: np.divide(part, 255, dtype=np.float32) for name, part in shown.items()}
        batch["label"] = examples.labels[rows]
        seen = _look(nameless(loaded.model), plan, loaded.variables, batch)
        strength = jnp.round(255 * jnp.nan_to_num(seen.saliency)).astype(jnp.uint8)
        made = {"mask": seen.mask, "saliency": strength, "salient": seen.salient}
        return {"rows": rows, "image": shown["image"], **jax.device_get(made)}

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it; the hits are listed in hits.csv."""
        c = self.config.saliency
        raw = STUDY.read(list(files.values()), self.subject.first_examples().classes)
        results = tabled(raw, self.groups, c, **options(self.config, "statistics"))
        for sentence in flat(named(results).where(filed="true", subset="all")):
            self.subject.console.print(f"note: {sentence}", markup=False)
        hits = hits_of(raw, c)
        write_csv(run.path / "hits.csv", HIT, [list(hit.values()) for hit in hits])
        return results, page(self.config, raw, results, hits, self.pictures)


def _fn(loaded: Loaded, plan: Plan) -> parallel.Bound:
    return parallel.Bound(measure, (nameless(loaded.model), plan))


def plan_of(config: Config, method: str) -> Plan:
    """How maps of a method are made and read."""
    c = config.saliency
    read = (c.ties == "inside", c.flat == "nan", c.tolerance, c.draws, config.data.mask == "binary")
    return Plan(method, c.target, c.scaling, c.threshold, *read)
