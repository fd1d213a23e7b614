"""Where networks look, and what it costs them not to see it (RIVAL10 study, 5.4).

Saliency maps against object masks, by many metrics; the images whose maps lie on the background,
and how the probability moves when what they mark is greyed. One model under one method is a unit
of work.
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
from rich.console import Console

from rival_jax import noise
from rival_jax.configs import options, typed
from rival_jax.configs.saliency import Config
from rival_jax.experiments.groups import groups, with_singles
from rival_jax.experiments.plans import Plans
from rival_jax.experiments.rows import tidy
from rival_jax.experiments.runner import Bench, OnBatch, Pass, Unit
from rival_jax.experiments.saliency.checks import allowed, nameless, plan
from rival_jax.experiments.saliency.hits import described, lowest, pictured
from rival_jax.experiments.saliency.measures import STUDY, filed_under, subjects, tabled
from rival_jax.experiments.saliency.page import flat, named, page
from rival_jax.experiments.saliency.unit import (
    Plan,
    Seen,
    look,
    measure,
)
from rival_jax.experiments.subject import TYPICAL_BATCH, Loaded, Subject
from rival_jax.report import tables
from rival_jax.report.document import Document
from rival_jax.report.images import Images, read_images
from rival_jax.report.results import Results
from rival_jax.runtime import checksums, hosts, parallel
from rival_jax.runtime.names import file_path
from rival_jax.runtime.results import Category, Columns, Run, atomic, digest
from rival_jax.types import Model

ROWS_VERSION = 2  # in every unit's hash: raise it when the same inputs give other rows


class Experiment:
    """Networks and the methods that each allows, checked."""

    counted = "images"

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        self.config, self.subject = config, Subject(config, console)
        self.groups = groups(config.groups)
        with_singles([model.name for model in self.subject.models], self.groups)
        self.methods = allowed(config, self.subject, console)
        self.pictures: dict[tuple[str, str], Path] = {}  # of the hits
        self._costs: dict[Any, parallel.Cost] = {}

    def total(self) -> int:
        """Images, as often as they are looked at."""
        return len(self.subject.first_examples()) * sum(map(len, self.methods.values()))

    def work(self, bench: Bench) -> Iterator[Unit]:
        """The units of every network; after each, the pictures of its hits."""
        for name in self.config.models:
            loaded = self.subject.load(name)
            bench.cards.append(loaded.facts)
            for method in self.methods[loaded.model.name]:
                settings = plan(self.config, method)
                unit = self.unit(bench.plans, loaded, settings)
                yield unit
                self._picture(bench, unit, loaded, settings)

    def unit(self, plans: Plans, loaded: Loaded, settings: Plan) -> Unit:
        """The rows of one network under one method."""
        c, model = self.config, loaded.model.name
        depends_on = {"version": ROWS_VERSION, "model": loaded.digest, "dtype": c.dtype}
        depends_on |= {"data": self.subject.examples(loaded.geometry).fingerprint}
        depends_on |= {"seed": c.seed, **dataclasses.asdict(settings)}
        name = f"{model}/{settings.method}"

        def compute(on_batch: OnBatch) -> Columns:
            fn = parallel.Bound(measure, (nameless(loaded.model), settings))
            size = self._batch_size(plans, name, loaded, settings)
            columns = functools.partial(self._columns, loaded, settings)
            return Pass(self.subject, loaded, size, fn, (noise.key(c.seed),), columns)(on_batch)

        first = settings.method == self.methods[model][0]  # predictions are those of all methods
        return Unit(name, depends_on, compute, clean=model if first else "")

    def _columns(self, loaded: Loaded, settings: Plan, found: parallel.Rows) -> Columns:
        """One row for each of this host's images."""
        examples = self.subject.examples(loaded.geometry)
        values = {**found, "probability": found["true_none"]}
        values["target"] = Category(found["target"], list(examples.classes))
        words, dataset = {"method": settings.method}, self.config.data.name
        return tidy(dataset, loaded, examples, found["index"], words, values)

    def _batch_size(self, plans: Plans, name: str, loaded: Loaded, settings: Plan) -> int:
        """A CPU has no memory to be filled, and compiles for as long."""
        size, devices = self.config.batch_size, self.subject.mesh.devices

        def pick() -> dict[str, int]:
            if size != "auto":
                return {"images": int(size)}
            if devices.flat[0].platform == "cpu":
                return {"images": TYPICAL_BATCH * devices.size}
            cost = self._cost(loaded, settings)
            return {"images": self.subject.batch(cost, loaded.geometry, 1, 1)[0]}

        images = len(self.subject.examples(loaded.geometry))
        return plans.of(name, pick, images=images, **dataclasses.asdict(settings))["images"]

    def _cost(self, loaded: Loaded, settings: Plan) -> parallel.Cost:
        """What all that is done for one image costs; measured once for networks of one make."""
        make = nameless(loaded.model), settings, loaded.geometry
        if make not in self._costs:
            examples, key = self.subject.examples(loaded.geometry), noise.key(0)
            size = min(TYPICAL_BATCH, len(examples))
            batch = next(examples.batches(size, everywhere=True))
            everything = lambda v, b: measure(loaded.model, settings, v, b, key)  # noqa: E731
            mesh, sharding = self.subject.mesh, self.subject.sharding
            cost = parallel.measure(everything, loaded.variables, dict(batch), mesh, sharding)
            self._costs[make] = cost
        return self._costs[make]

    def _picture(self, bench: Bench, unit: Unit, loaded: Loaded, settings: Plan) -> None:
        """Photos, masks, maps and salient backgrounds of a unit's hits, unless they are there."""
        c = self.config.saliency
        wanted = {**unit.depends_on, "classes": c.classes, "hits": c.hits}
        name = f"{file_path(unit.name)}-{digest(wanted)}.npz"
        path = bench.run.path / "hits" / name
        self.pictures[loaded.model.name, settings.method] = path
        if hosts.first() and not checksums.holds(path):
            rows = pictured(bench.files[unit.name], c.classes, c.hits)
            arrays = self._arrays(loaded, settings, rows)
            with atomic(path) as partial:
                np.savez_compressed(partial, **arrays)
            checksums.note(path)

    def _arrays(self, loaded: Loaded, settings: Plan, rows: np.ndarray) -> dict[str, Any]:
        """Pictures of some rows as bytes, [k, h, w] each."""
        if not len(rows):
            return {"rows": rows}
        examples = self.subject.examples(loaded.geometry)
        items = [examples.example(int(row)) for row in rows]
        image, mask = (np.stack([item[key] for item in items]) for key in ("image", "mask"))
        batch = {"image": np.divide(image, 255, dtype=np.float32), "label": examples.labels[rows]}
        batch["mask"] = np.divide(mask, 255, dtype=np.float32)
        seen = _looking(nameless(loaded.model), settings)(loaded.variables, batch)
        strength = jnp.round(255 * jnp.nan_to_num(seen.saliency))
        return {
            "rows": rows,
            "image": image,
            "mask": np.asarray(seen.mask),
            "saliency": np.asarray(strength).astype(np.uint8),
            "salient": np.asarray(seen.salient),
        }

    def costs(self) -> Iterator[tuple[str, float]]:
        """What each network costs under each method, for a dry run."""
        images = len(self.subject.first_examples())
        for name in self.config.models:
            loaded = self.subject.load(name)
            for method in self.methods[loaded.model.name]:
                cost = self._cost(loaded, plan(self.config, method))
                yield (
                    f"{loaded.model.name}, {method}: {images} images, "
                    f"{images * cost.flops / 1e12:,.2f} TFLOP",
                    images * cost.seconds / self.subject.mesh.size,
                )

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it; the hits are listed in hits.csv."""
        paths, classes = list(files.values()), self.subject.first_examples().classes
        raw = read_images(paths, STUDY.axes, STUDY.columns, classes)
        return told(self.config, run, self.subject.console, raw, self.groups, self.pictures)


def told(
    config: Config,
    run: Run,
    console: Console,
    raw: Images,
    members: Mapping[str, Sequence[str]],
    pictures: Mapping[tuple[str, str], Path],
) -> tuple[Results, Document]:
    """See `Experiment.report`; `raw` are the columns of the rows, `pictures` files of the hits."""
    c = config.saliency
    results = tabled(raw, members, c.classes, c.hits, options(config, "statistics"))
    for sentence in flat(named(results).where(filed="true", subset="all")):
        console.print(f"note: {sentence}", markup=False)
    hits = []
    for s in range(len(subjects(raw))):
        labels = filed_under(raw, s, c.classes)
        rows = lowest(np.asarray(raw.values["density_gap"].values)[:, s], labels, c.hits)
        hits += described(raw, s, rows.tolist(), labels)
    lines = [list(hit.values()) for hit in hits]
    with atomic(run.path / "hits.csv") as partial:
        header = tuple(hits[0]) if hits else ("model", "method", "class", "example")
        partial.write_text(tables.as_csv(header, lines), encoding="utf-8")
    return results, page(config, raw, results, pictures)


@functools.lru_cache(maxsize=64)
def _looking(model: Model, settings: Plan) -> Callable[..., Seen]:
    return jax.jit(functools.partial(look, model, settings))
