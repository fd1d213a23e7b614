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

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from rival_jax import noise
from rival_jax.configs import options, typed
from rival_jax.configs.saliency import Config
from rival_jax.experiments.changed import lent
from rival_jax.experiments.groups import groups, with_singles
from rival_jax.experiments.rows import tidy
from rival_jax.experiments.runner import Bench, Pass, Unit
from rival_jax.experiments.saliency.gallery import pictured
from rival_jax.experiments.saliency.measures import HIT, STUDY, hits_of, tabled
from rival_jax.experiments.saliency.page import flat, named, page
from rival_jax.experiments.saliency.unit import Plan, look, measure
from rival_jax.experiments.subject import TYPICAL_BATCH, Loaded, Subject
from rival_jax.report import tables
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.runtime import checksums, hosts, parallel
from rival_jax.runtime.names import file_path
from rival_jax.runtime.plugins import plugin
from rival_jax.runtime.results import Category, Columns, Run, atomic, digest
from rival_jax.types import Model

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
        self.plans = allowed(config, self.subject.models, console)
        self.pictures: dict[tuple[str, str], Path] = {}  # of the hits
        self._costs: dict[Any, parallel.Cost] = {}

    def total(self) -> int:
        """Images, counted as often as they are looked at."""
        return len(self.subject.first_examples()) * sum(map(len, self.plans.values()))

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
        pick = functools.partial(self._pick, loaded, plan)
        size = bench.plans.of(name, pick, images=len(examples), **how)["images"]
        fn = parallel.Bound(measure, (nameless(loaded.model), plan))

        def columns(found: parallel.Rows) -> Columns:
            target = Category(found["target"], list(examples.classes))
            values = {**found, "probability": found["true_none"], "target": target}
            words = {"method": plan.method}
            return tidy(c.data.name, loaded, examples, found["index"], words, values)

        rows = Pass(self.subject, loaded, size, fn, (noise.key(c.seed),), columns)
        first = plan == self.plans[model][0]  # predictions are the same for all methods
        return Unit(name, depends_on, rows, clean=model if first else "")

    def _pick(self, loaded: Loaded, plan: Plan) -> dict[str, int]:
        """Images per step; large steps gain nothing on a CPU, and take as long to compile."""
        size, devices = self.config.batch_size, self.subject.mesh.devices
        if size == "auto" and devices.flat[0].platform == "cpu":
            size = TYPICAL_BATCH * devices.size
        elif size == "auto":
            size, _ = self.subject.batch(self._cost(loaded, plan), loaded.geometry, 1, 1)
        return {"images": int(size)}

    def _cost(self, loaded: Loaded, plan: Plan) -> parallel.Cost:
        """The cost of everything done for one image; measured once per architecture."""
        make = nameless(loaded.model), plan, loaded.geometry
        if make not in self._costs:
            examples = self.subject.examples(loaded.geometry)
            batch = next(examples.batches(min(TYPICAL_BATCH, len(examples)), everywhere=True))
            everything = lambda v, b: measure(loaded.model, plan, v, b, noise.key(0))  # noqa: E731
            place = self.subject.mesh, self.subject.sharding
            self._costs[make] = parallel.measure(everything, loaded.variables, dict(batch), *place)
        return self._costs[make]

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

    def costs(self) -> Iterator[tuple[str, float]]:
        """The cost of each network under each method, for a dry run."""
        images = len(self.subject.first_examples())
        for name in self.config.models:
            loaded = self.subject.load(name)
            for plan in self.plans[loaded.model.name]:
                cost = self._cost(loaded, plan)
                work = f"{images} images, {images * cost.flops / 1e12:,.2f} TFLOP"
                seconds = images * cost.seconds / self.subject.mesh.size
                yield f"{loaded.model.name}, {plan.method}: {work}", seconds

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it; the hits are listed in hits.csv."""
        c = self.config.saliency
        raw = STUDY.read(list(files.values()), self.subject.first_examples().classes)
        results = tabled(raw, self.groups, c, **options(self.config, "statistics"))
        for sentence in flat(named(results).where(filed="true", subset="all")):
            self.subject.console.print(f"note: {sentence}", markup=False)
        hits = hits_of(raw, c)
        with atomic(run.path / "hits.csv") as partial:
            lines = [list(hit.values()) for hit in hits]
            partial.write_text(tables.as_csv(HIT, lines), encoding="utf-8")
        return results, page(self.config, raw, results, hits, self.pictures)


def allowed(
    config: Config, networks: Sequence[Model], console: Console
) -> dict[str, tuple[Plan, ...]]:
    """How each model's maps are made and read, by its name: one plan per method.

    Raises:
      ValueError: a network does not allow a method and may not be skipped, or no network allows
        any.
    """
    c = config.saliency
    read = (c.ties == "inside", c.flat == "nan", c.tolerance, c.draws, config.data.mask == "binary")
    found: dict[str, tuple[Plan, ...]] = {model.name: () for model in networks}
    for method in c.methods:
        plugin("saliency", method.partition("@")[0])
        plan = Plan(method, c.target, c.scaling, c.threshold, *read)
        faults = {model.name: _fault(nameless(model), plan) for model in networks}
        for name, fault in faults.items():
            if fault and (c.unfit == "error" or all(faults.values())):
                raise ValueError(f"config.saliency.methods: {method} of {name}: {fault}")
            if fault:
                console.print(f"{name}: no {method}: {fault.partition(';')[0]}")
            else:
                found[name] += (plan,)
    if without := [name for name, plans in found.items() if not plans]:
        raise ValueError(f"config.saliency.methods: none is left for {', '.join(without)}")
    return found


@functools.lru_cache(maxsize=64)
def _fault(model: Model, plan: Plan) -> str:
    """Why a network does not allow a method, "" if it does; traced, without weights."""
    shapes = {"image": (1, *model.image_size, 3), "mask": (1, *model.image_size)}
    batch = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    batch["label"] = jax.ShapeDtypeStruct((1,), jnp.int32)
    try:
        variables = jax.eval_shape(model.init, noise.key(0))
        jax.eval_shape(functools.partial(look, model, plan), variables, batch)
    except ValueError as error:
        return str(error).strip()
    return ""


def nameless(model: Model) -> Model:
    """Equal for all networks of one architecture, so that they share compiled programs."""
    return dataclasses.replace(model, name="")
