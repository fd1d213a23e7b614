"""Sufficient input subsets (RobustViT, appendix A).

Networks x methods x explained classes; each is a unit of work.
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

from rival_jax import noise, sis
from rival_jax.configs import options, typed
from rival_jax.configs.sis import Config
from rival_jax.experiments.cures import Pair, compared_networks
from rival_jax.experiments.rows import tidy
from rival_jax.experiments.runner import Pass, Unit
from rival_jax.experiments.sis.page import page
from rival_jax.experiments.subject import Loaded, Subject, one_of
from rival_jax.metrics import answers
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.report.study import Means, Measure, Study, compared
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Category, Columns, Run, read_rows
from rival_jax.types import Array, Batch, Model, Variables

ROWS_VERSION = 1  # part of every unit's hash: raise it when the same inputs give other rows
TARGETS = ("predicted", "second", "label")
NUMBERS = ("reached", "size", "inside", "area")
SHOWN = 6  # images on the page, each of another class


def measures(means: Means, pairs: list[Pair]) -> Iterator[Measure]:
    """How often a subset suffices, its size and its share on the object; differences."""
    for name in NUMBERS:
        level = means[name].mean("class")
        yield from compared(name, level, pairs)
        yield Measure(name, level.differences("method"))


STUDY = Study(
    "sis",
    axes=("model", ("method", "target")),
    columns=NUMBERS,
    measures=measures,
    alone=lambda config: ([],),
    apart="each",
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How subsets are found; hashable."""

    method: str
    target: str
    threshold: float
    pixels: int

    def forwards(self, model: Model) -> int:
        """About how many forward passes an image takes; a backward pass counts as two.

        Raises:
          ValueError: if the network has no patches, and they are to be removed.
        """
        if self.method == "patches":
            if not model.attention_taps:
                raise ValueError(f"config.sis.methods: {model.name} has no 'patches'; omit them")
            images = jnp.zeros((1, *model.image_size, 3))
            found = jax.eval_shape(lambda key: cells(model, model.init(key), images), noise.key(0))
            return round(0.625 * (found.shape[1] * found.shape[2]) ** 2)
        steps = -(-model.image_size[0] * model.image_size[1] // self.pixels)
        return steps * (3 if self.method == "gradient" else 1)


def cells(model: Model, variables: Variables, images: Array) -> Array:
    """A transformer's patches, [b, rows, columns, c]."""
    return model.to_grid(model.forward(variables, images, {})[1][model.cam_tap])


def measure(
    model: Model, plan: Plan, variables: Variables, batch: Batch, key: Array, which: Array
) -> dict[str, Array]:
    """The sufficient subset of every image, for one class.

    Args:
      key: of the random order. which: the class, a place in `TARGETS` and then the classes.

    Returns:
      [b] each: the `answers` on the photo; the class `explained`; `reached`, whether a subset
      suffices; its `size`, a share of the pixels, and `inside`, its pixels' share on the object,
      NaN without a subset; `area`, the object's share. `kept` uint8 [b, pixels / 8], as bits.
    """
    image, mask, label = (jnp.asarray(batch[name]) for name in ("image", "mask", "label"))
    logits, _ = model.forward(variables, image, {})
    ranks, mean = jnp.argsort(-logits, axis=1), jnp.asarray(model.mean)
    known = jnp.stack([ranks[:, 0], ranks[:, 1], label])  # in the order of `TARGETS`
    target = jnp.where(which < len(known), known[which], which - len(known)).astype(jnp.int32)

    def confidence(removed: Array) -> Array:
        shown = mean + (image - mean) * (1 - removed[..., None])
        found, _ = model.forward(variables, shown, {})
        return jnp.take_along_axis(jax.nn.softmax(found), target[:, None], axis=1)[:, 0]

    shape: Any = mask.shape  # (b, h, w)
    if plan.method == "patches":
        grid: Any = cells(model, variables, image).shape[1:3]
        order, curve = sis.patch_order(confidence, shape, grid)
    else:
        random = noise.gaussian(key, jnp.asarray(batch["noise_id"]), 0, shape[1:])
        score = random if plan.method == "random" else None
        order, curve = sis.order_in_steps(confidence, shape, plan.pixels, score=score)
    kept, reached = sis.sufficient(order, curve, plan.threshold)
    inside = (kept * mask).sum((1, 2)) / jnp.maximum(kept.sum((1, 2)), 1)
    without = jnp.where(reached, 0, jnp.nan)
    return {
        **answers(logits, label),
        "size": kept.mean((1, 2)) + without,
        "inside": inside + without,
        "explained": target,
        "reached": reached.astype(jnp.float32),
        "area": mask.mean((1, 2)),
        "kept": jnp.packbits(kept.reshape(len(image), -1), axis=1),
    }


class Experiment:
    """Networks, methods and classes, checked."""

    def __init__(self, config: Any, console: Console):
        self.config = config = typed(Config, config)
        self.subject = Subject(config, console)
        c, self.classes = config.sis, self.subject.first_examples().classes
        for target in c.targets:
            one_of("sis.targets", target, (*TARGETS, *self.classes))
        of = [(method, target) for method in c.methods for target in c.targets]
        self.plans = [Plan(*each, c.threshold, c.pixels) for each in of]
        of_plans = lambda model: [plan.forwards(model) for plan in self.plans]  # noqa: E731
        self.forwards_of = {model.name: of_plans(model) for model in self.subject.models}
        called = dict(zip(config.models, self.forwards_of, strict=True))
        self.pairs = compared_networks(config.pairs, called).pairs

    def forwards(self) -> int:
        """About how many forward passes an image and network take."""
        return sum(next(iter(self.forwards_of.values())))

    def pick(self, loaded: Loaded) -> dict[str, Any]:
        """A plan of step sizes: a backward pass holds all blocks, about four forward passes."""
        return self.subject.pick(loaded, regions=4)

    def units(self, loaded: Loaded, plan: Mapping[str, Any], head: str) -> Iterator[Unit]:
        """A unit for each method and class."""
        c, model = self.config, loaded.model
        base = self.subject.identity(loaded, ROWS_VERSION, head=head, seed=c.seed)
        for one, each in zip(self.plans, self.forwards_of[model.name], strict=True):
            alike = dataclasses.replace(one, target="")  # one program for all classes
            fn = parallel.Bound(measure, (dataclasses.replace(model, name=""), alike))
            args = noise.key(c.seed), np.int32((*TARGETS, *self.classes).index(one.target))
            columns = functools.partial(self._columns, loaded, one)
            rows = Pass(self.subject, loaded, plan["images"], fn, args, columns, each)
            clean = model.name if one == self.plans[0] else ""
            name = f"{model.name}/{one.method}_{one.target}"
            yield Unit(name, base | dataclasses.asdict(one), rows, plan["flops"], clean)

    def _columns(self, loaded: Loaded, plan: Plan, found: dict[str, Any]) -> Columns:
        """One row for each image; what is kept, as hex digits, of those on the page."""
        bits = np.where(np.isin(found["index"], self._shown())[:, None], found["kept"], 0)
        kept = [row.tobytes().hex() if row.any() else "" for row in bits]
        words, place = np.unique(kept, return_inverse=True)
        found["explained"] = Category(found["explained"], list(self.classes))
        found["kept"] = Category(place, words.tolist())
        named = {"method": plan.method, "target": plan.target}
        return tidy(self.subject, loaded, named, found)

    def _shown(self) -> np.ndarray:
        """The first image of some classes."""
        return np.unique(self.subject.first_examples().labels, return_index=True)[1][:SHOWN]

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it."""
        found = STUDY.read(list(files.values()), self.classes)
        results = STUDY.results(found, self.pairs, **options(self.config, "statistics"))
        return results, page(self.config, results, lambda: self._pictures(files))

    def _pictures(self, files: Mapping[str, Path]) -> list[tuple[str, str, dict[str, np.ndarray]]]:
        """Photos, and what each network is content with; grey if that is nothing."""
        examples, rows = self.subject.first_examples(), read_rows(*files.values()).to_pylist()
        shown = []
        for item in (examples.example(int(place)) for place in self._shown()):
            pictures, shape = {"photo": item["image"]}, (*item["mask"].shape, 1)
            for row in rows:
                if row["example"] == item["name"] and row["method"] != "random":
                    bits = np.frombuffer(bytes.fromhex(row["kept"]), np.uint8)
                    kept = np.unpackbits(bits, count=item["mask"].size).reshape(shape)
                    what = row["model"], row["method"], row["target"]
                    pictures[" ".join(what)] = np.where(kept, item["image"], np.uint8(127))
            shown.append((examples.classes[item["label"]], item["name"], pictures))
        return shown
