"""Units of saliency: the rows of one model under one method, and the pictures of its hits."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import noise
from rival_jax.experiments._plans import Plans
from rival_jax.experiments._saliency_unit import METRICS, REGIONS, Plan, Seen, look, measure
from rival_jax.experiments._subject import TYPICAL_BATCH, Loaded, Subject
from rival_jax.report.saliency import gallery_rows
from rival_jax.runtime import checksums, hosts, parallel
from rival_jax.runtime.names import file_path
from rival_jax.runtime.progress import Meter
from rival_jax.runtime.results import Category, Columns, Run, atomic, digest
from rival_jax.types import Model

ROWS_VERSION = 1  # in every unit's hash: raise it when the same inputs give other rows


def plan(config: Any, method: str) -> Plan:
    """How one method's maps are made and read."""
    c = config.saliency
    return Plan(
        method=method,
        target=c.target,
        scaling=c.scaling,
        threshold=float(c.threshold),
        ties_inside=c.ties == "inside",
        flat_is_nan=c.flat == "nan",
        tolerance=int(c.tolerance),
        draws=int(c.draws),
        binary_mask=config.data.mask == "binary",
    )


class Costs:
    """What all that is done for one image costs; measured once for networks of one make."""

    def __init__(self, subject: Subject):
        self.subject, self.known = subject, {}

    def of(self, loaded: Loaded, settings: Plan) -> parallel.Cost:
        """Measured on a small batch when first asked for."""
        make = nameless(loaded.model), settings, loaded.geometry
        if make not in self.known:
            examples, key = self.subject.examples(loaded.geometry), noise.key(0)
            size = min(TYPICAL_BATCH, len(examples))
            batch = next(examples.batches(size, everywhere=True))
            everything = lambda v, b: measure(loaded.model, settings, v, b, key)  # noqa: E731
            mesh, sharding = self.subject.mesh, self.subject.sharding
            cost = parallel.measure(everything, loaded.variables, dict(batch), mesh, sharding)
            self.known[make] = cost
        return self.known[make]


class Work:
    """The units of a run; `Plans` holds the images per step of each."""

    def __init__(self, config: Any, run: Run, subject: Subject, meter: Meter):
        self.config, self.run, self.subject, self.meter = config, run, subject, meter
        self.plans, self.costs = Plans(run, subject.mesh.size), Costs(subject)

    def unit(self, loaded: Loaded, method: str) -> tuple[dict[str, str], bool]:
        """Rows, and pictures of the hits, unless they are there.

        Returns:
          (model, method and where both files are, whether the rows were computed).
        """
        settings, c = plan(self.config, method), self.config
        file = f"{loaded.model.name}/{method}"
        depends_on = {"version": ROWS_VERSION, "model": loaded.digest, "dtype": c.dtype}
        depends_on |= {"data": self.subject.examples(loaded.geometry).fingerprint}
        depends_on |= {"seed": c.seed, **dataclasses.asdict(settings)}
        compute = functools.partial(self._columns, loaded, settings, file)
        computed = self.run.rows(file, depends_on, compute, about=self.meter.lap)
        rows = self.run.unit_path(file, depends_on)
        wanted = {**depends_on, "classes": c.saliency.classes, "hits": c.saliency.hits}
        pictures = self.run.path / "hits" / f"{file_path(file)}-{digest(wanted)}.npz"
        if hosts.first() and not checksums.holds(pictures):
            found = gallery_rows(rows, c.saliency.classes, c.saliency.hits)
            arrays: dict[str, Any] = self._pictures(loaded, settings, found)
            with atomic(pictures) as partial:
                np.savez_compressed(partial, **arrays)
            checksums.note(pictures)
        files = {"rows": rows, "hits": pictures}
        named = {k: path.relative_to(self.run.path).as_posix() for k, path in files.items()}
        return {"model": loaded.model.name, "method": method, **named}, computed

    def _columns(self, loaded: Loaded, settings: Plan, file: str) -> Columns:
        """One row for each of this host's images.

        Raises:
          ValueError: if the network gives NaN.
        """
        examples, model = self.subject.examples(loaded.geometry), loaded.model
        found = parallel.map_examples(
            parallel.Bound(measure, (nameless(model), settings)),
            loaded.variables,
            examples.batches(self._batch_size(loaded, settings, file)),
            self.subject.mesh,
            noise.key(self.config.seed),
            on_batch=self.meter.advance,
            sharding=self.subject.sharding,
        )
        image, classes = found["index"], list(examples.classes)
        bad = image[np.isnan(found["true_none"])]
        if bad.size:
            raise ValueError(
                f"{model.name} gives NaN for {bad.size} of {len(image)} images, the first "
                f"{examples.names[bad[0]]}; its weights or config.dtype are not usable"
            )
        named = {
            "model": Category(0 * image, [model.name]),
            "dataset": Category(0 * image, [self.config.data.name]),
            "example": Category(image, list(examples.names)),
            "label": Category(examples.labels[image], classes),
            "method": Category(0 * image, [settings.method]),
            "target": Category(found["target"], classes),
            "predicted": Category(found["predicted"], classes),
        }
        regions = (f"{of}_{region}" for of in ("true", "target") for region in REGIONS)
        return named | {k: found[k] for k in ("flat", *METRICS, "area", "greyed", *regions)}

    def _batch_size(self, loaded: Loaded, settings: Plan, file: str) -> int:
        """A CPU has no memory to be filled, and compiles for as long."""
        size, devices = self.config.batch_size, self.subject.mesh.devices

        def pick() -> dict[str, int]:
            if size != "auto":
                return {"images": int(size)}
            if devices.flat[0].platform == "cpu":
                return {"images": TYPICAL_BATCH * devices.size}
            cost = self.costs.of(loaded, settings)
            return {"images": self.subject.batch(cost, loaded.geometry, 1, 1)[0]}

        images = len(self.subject.examples(loaded.geometry))
        return self.plans.of(file, pick, images=images, **dataclasses.asdict(settings))["images"]

    def _pictures(self, loaded: Loaded, settings: Plan, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Photos, masks, maps and salient backgrounds [k, h, w] of some rows, as bytes."""
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


@functools.lru_cache(maxsize=64)
def _looking(model: Model, settings: Plan) -> Callable[..., Seen]:
    return jax.jit(functools.partial(look, model, settings))


def nameless(model: Model) -> Model:
    """Equal for all networks of one make, so that they share what is compiled."""
    return dataclasses.replace(model, name="")
