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
from jax import lax
from rich.console import Console

from rival_jax import ablation, alignment, maps, noise, sorting
from rival_jax.configs import options, typed
from rival_jax.configs.groups import groups, with_singles
from rival_jax.configs.saliency import Config
from rival_jax.experiments.explained import Explaining, explained, nameless, seen_again
from rival_jax.experiments.rows import outputs, tidy
from rival_jax.experiments.runner import Pass, Unit
from rival_jax.experiments.saliency.measures import HIT, REGIONS, STUDY, hits_of, tabled
from rival_jax.experiments.saliency.page import GALLERIES, flat, named, page
from rival_jax.experiments.subject import Loaded
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.report.tables import write_csv
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Category, Columns, Run
from rival_jax.runtime.row_arrays import read_images
from rival_jax.types import Array, Batch, Model, Variables

ROWS_VERSION = 2  # part of every unit's hash: raise it when the same inputs give other rows


@dataclasses.dataclass(frozen=True)
class Plan:
    """How maps are made and read; the named values of `config.saliency`."""

    method: str  # "gradcam", or "gradcam@layer3" with the tap that class maps read
    target: str  # "predicted" | "label"
    scaling: str
    threshold: float  # of the map's maximum
    ties_inside: bool
    flat_is_nan: bool
    tolerance: int
    draws: int
    binary_mask: bool

    def object(self, mask: Array) -> Array:
        """Where the object is, bool like the mask."""
        return mask > (0.5 if self.binary_mask else 0)

    def salient(self, found: Array, inside: Array) -> Array:
        """The background that maps [*, h, w] mark, bool; `inside`: the object."""
        share = maps.max_normalise(jnp.nan_to_num(found))
        marked = share >= self.threshold if self.ties_inside else share > self.threshold
        return marked & ~inside


def measure(
    model: Model, plan: Plan, variables: Variables, batch: Batch, key: Array
) -> dict[str, Array]:
    """Alignment of every map, and the probabilities before and after greying.

    Returns:
      [b] each: `alignment.every`; `area`, the object's share of the image; `greyed`, the greyed
      region's; `predicted` and `target`; `true_<region>` and `target_<region>`, the probability of
      the true and the explained class, NaN for images without a salient background.
    """
    image, label = jnp.asarray(batch["image"]), jnp.asarray(batch["label"])
    mask = plan.object(jnp.asarray(batch["mask"]))
    found, logits, target = explained(plan, model, variables, batch)
    salient = plan.salient(found, mask)

    def probabilities(logits: Array) -> Array:  # [b, 2], of the true and of the explained class
        both = jnp.stack([label, target], axis=1)
        return jnp.take_along_axis(jax.nn.softmax(logits.astype(jnp.float32)), both, axis=1)

    def without(region: Array) -> Array:
        greyed = noise.grey_out(image, region.astype(image.dtype))
        return probabilities(model.forward(variables, greyed, {})[0])

    ids = jnp.asarray(batch["noise_id"])
    after = lax.map(without, regions(found, mask, salient, plan.draws, ids, key))
    after = jnp.where(salient.any((1, 2))[:, None], after, jnp.nan)
    after = (probabilities(logits), after[0], after[1:-1].mean(0), after[-1])
    ways = {"threshold": plan.threshold, "ties_inside": plan.ties_inside}
    ways |= {"tolerance": plan.tolerance, "flat_is_nan": plan.flat_is_nan}
    return {
        **alignment.every(found, mask.astype(jnp.float32), **ways),
        "area": mask.mean((1, 2)),
        "greyed": salient.mean((1, 2)),
        "predicted": jnp.argmax(logits, axis=1).astype(jnp.int32),
        "target": target,
        **{f"true_{name}": p[:, 0] for name, p in zip(REGIONS, after, strict=True)},
        **{f"target_{name}": p[:, 1] for name, p in zip(REGIONS, after, strict=True)},
    }


def regions(found: Array, mask: Array, salient: Array, draws: int, ids: Array, key: Array) -> Array:
    """Background to be greyed, bool [1 + draws + 1, b, h, w], of equal area within an image.

    The salient part, random blotches, and the least salient part. The blotches of (key, image,
    draw) come from the same field for every model and method, so that differences are paired.
    """
    fields = ablation.random_fields(key, ids, draws, (mask.shape[1], mask.shape[2]))
    least = 1e-3 * fields[0] - jnp.nan_to_num(found)  # most maps are 0 in many places
    count = salient.sum((1, 2))
    rest = [sorting.highest(field, ~mask, count) for field in (*fields, least)]
    return jnp.stack([salient, *rest])


class Experiment(Explaining):
    """Networks and the methods that each allows, checked."""

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        c = config.saliency
        read = (c.target, c.scaling, c.threshold, c.ties == "inside", c.flat == "nan", c.tolerance)
        read += (c.draws, config.data.mask == "binary")
        self.groups = groups(config.groups)
        super().__init__(config, console, lambda method: Plan(method, *read), self._measured)
        with_singles(list(self.ways), self.groups)
        self.shown: dict[tuple[str, str], tuple[Loaded, Plan]] = {}  # in galleries

    def units(self, loaded: Loaded, plan: Mapping[str, Any], head: str) -> Iterator[Unit]:
        """The units of one network, one per method."""
        name = loaded.model.name
        for number, way in enumerate(self.ways[name]):
            if len(self.shown) < GALLERIES:
                self.shown[name, way.method] = loaded, way
            columns = functools.partial(self._columns, loaded, way)
            given = self.subject, loaded, plan["images"], *self._measured(loaded, way), columns
            known = dataclasses.asdict(way) | {"seed": self.config.seed}
            known = self.subject.identity(loaded, ROWS_VERSION, **known)
            clean = "" if number else name  # predictions are the same for all methods
            yield Unit(f"{name}/{way.method}", known, Pass(*given), clean=clean)

    def _measured(self, loaded: Loaded, plan: Plan) -> tuple[parallel.Bound, tuple[Array]]:
        bound = parallel.Bound(measure, (nameless(loaded.model), plan))
        return bound, (noise.key(self.config.seed),)

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
        c, classes = self.config, self.subject.first_examples().classes
        raw = read_images(list(files.values()), STUDY.axes, STUDY.columns, classes, whole=True)
        results = tabled(raw, self.groups, c.saliency, **options(c, "statistics"))
        for sentence in flat(named(results).where(filed="true", subset="all")):
            self.subject.console.print(f"note: {sentence}", markup=False)
        hits = hits_of(raw, c.saliency)
        write_csv(run.path / "hits.csv", HIT, [list(hit.values()) for hit in hits])
        return results, page(c, raw, results, hits, self.seen)
