"""Where networks look, and what it costs them not to see it (RIVAL10 study, 5.4).

Saliency maps against object masks, by many metrics; the images whose maps lie on the background,
and how greying what the maps mark there changes the probability. One model under one method is a
unit of work.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from rich.console import Console

from rival_jax import noise
from rival_jax.configs import options, typed
from rival_jax.configs.saliency import Config
from rival_jax.experiments.explained import Explaining, nameless, seen_again
from rival_jax.experiments.groups import groups, with_singles
from rival_jax.experiments.rows import outputs, tidy
from rival_jax.experiments.runner import Pass, Unit
from rival_jax.experiments.saliency.measures import HIT, STUDY, hits_of, tabled
from rival_jax.experiments.saliency.page import GALLERIES, flat, named, page
from rival_jax.experiments.saliency.unit import Plan, measure
from rival_jax.experiments.subject import Loaded
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.report.tables import write_csv
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Category, Columns, Run

ROWS_VERSION = 2  # part of every unit's hash: raise it when the same inputs give other rows


class Experiment(Explaining):
    """Networks and the methods that each allows, checked."""

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        c = config.saliency
        read = (c.target, c.scaling, c.threshold, c.ties == "inside", c.flat == "nan", c.tolerance)
        read += (c.draws, config.data.mask == "binary")
        way = lambda method: Plan(method, *read)  # noqa: E731
        make = lambda loaded, plan: (_fn(loaded, plan), (noise.key(0),))  # noqa: E731
        self.groups = groups(config.groups)
        super().__init__(config, console, way, make)
        with_singles(list(self.ways), self.groups)
        self.shown: dict[tuple[str, str], tuple[Loaded, Plan]] = {}  # in galleries

    def units(self, loaded: Loaded, plan: Mapping[str, Any], head: str) -> Iterator[Unit]:
        """The units of one network, one per method."""
        name, seed = loaded.model.name, self.config.seed
        for number, way in enumerate(self.ways[name]):
            if len(self.shown) < GALLERIES:
                self.shown[name, way.method] = loaded, way
            columns = functools.partial(self._columns, loaded, way)
            given = self.subject, loaded, plan["images"], _fn(loaded, way), (noise.key(seed),)
            known = dataclasses.asdict(way) | {"seed": seed}
            known = self.subject.identity(loaded, ROWS_VERSION, **known)
            clean = "" if number else name  # predictions are the same for all methods
            yield Unit(f"{name}/{way.method}", known, Pass(*given, columns), clean=clean)

    def _columns(self, loaded: Loaded, plan: Plan, found: parallel.Rows) -> Columns:
        examples = self.subject.examples(loaded.geometry)
        target = Category(found["target"], outputs(loaded, list(examples.classes)))
        values = {**found, "probability": found["true_none"], "target": target}
        return tidy(self.subject, loaded, {"method": plan.method}, values)

    def seen(self, subject: tuple[str, str], names: Sequence[str]) -> Iterator[list[np.ndarray]]:
        """Photos, with where the object is, the map, and the background that it marks."""
        loaded, plan = self.shown[subject]
        examples = self.subject.examples(loaded.geometry)
        rows = np.array([examples.names.index(name) for name in names])
        for item, found in seen_again(self.subject, loaded, plan, rows):
            inside = plan.object(jnp.asarray(item["mask"], jnp.float32) / 255)
            parts = item["image"], inside, found, plan.salient(found, inside)
            yield [np.asarray(part) for part in parts]

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it; the hits are listed in hits.csv."""
        c = self.config.saliency
        raw = STUDY.read(list(files.values()), self.subject.first_examples().classes)
        results = tabled(raw, self.groups, c, **options(self.config, "statistics"))
        for sentence in flat(named(results).where(filed="true", subset="all")):
            self.subject.console.print(f"note: {sentence}", markup=False)
        hits = Results(hits_of(raw, c))
        write_csv(run.path / "hits.csv", HIT, [list(hit.values()) for hit in hits])
        return results, page(self.config, raw, results, hits, self.seen)


def _fn(loaded: Loaded, plan: Plan) -> parallel.Bound:
    return parallel.Bound(measure, (nameless(loaded.model), plan))
