"""What is measured of a network before and after finetuning: accuracy, where it looks, RFS."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import alignment, noise, saliency, taps
from rival_jax.configs.finetune import Config
from rival_jax.data import Examples
from rival_jax.experiments.finetune.jobs import Job
from rival_jax.experiments.noise_trials import Sweep, noise_trials
from rival_jax.experiments.plans import Plans
from rival_jax.experiments.rows import answers, tidy
from rival_jax.experiments.runner import OnBatch, Pass, Unit
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Category, Columns
from rival_jax.types import Array, Batch, Model, Variables

ROWS_VERSION = 2  # in every unit's hash: raise it when the same inputs give other rows
REGIONS = ("foreground", "background")
SHOWN = 8  # images among the pictures
MAP_COST = 3  # forward passes that take as long as a relevance map
Plan = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Look:
    """How relevance maps are made and read; the named values of `config.evaluate`."""

    method: str
    explained: str  # "predicted" | "label"


def maps_of(model: Model, look: Look, variables: Variables, batch: Batch) -> tuple[Array, Array]:
    """Maps [b, h, w] in [0, 1], and logits [b, c]."""
    image, label = jnp.asarray(batch["image"]), jnp.asarray(batch["label"])
    logits, _ = model.forward(variables, image, {})
    score = taps.predicted_score if look.explained == "predicted" else taps.class_score(label)
    return saliency.explain(look.method, model, variables, image, score), logits


def scored(model: Model, look: Look, variables: Variables, batch: Batch) -> dict[str, Array]:
    """[b] each: the `answers`, and how well the map finds the object.

    The map is cut at its mean (RobustViT, table 3); an object is a mask above 1/2.
    """
    found, logits = maps_of(model, look, variables, batch)
    inside = (jnp.asarray(batch["mask"]) > 0.5).astype(jnp.float32)
    marked = (found > found.mean((1, 2), keepdims=True)).astype(jnp.float32)
    both, either = alignment.intersection_and_union(marked, inside)
    return {
        **answers(logits, batch["label"]),
        "iou": both[:, 1] / jnp.maximum(either[:, 1], 1),
        "pixel_accuracy": alignment.pixel_accuracy(marked, inside),
        "average_precision": alignment.average_precision(found, inside),
    }


@dataclasses.dataclass(frozen=True)
class Network:
    """A network whose tests are units of rows."""

    name: str
    variant: str
    seed: int | None  # None: the original
    alpha: float  # share of the finetuned weights
    masked: tuple[str, ...]  # classes whose masks it was trained with
    depends_on: dict[str, Any]
    job: Job | None = None


class Shown(NamedTuple):
    """An image, and what some networks say of it."""

    name: str
    label: str
    image: np.ndarray  # uint8 [h, w, 3]
    mask: np.ndarray  # uint8 [h, w]
    seen: list[tuple[np.ndarray, str]]  # of each network: map in [0, 1] [h, w], predicted class


@dataclasses.dataclass(frozen=True)
class Tests:
    """All test sets, and noise in the first of them."""

    config: Config
    original: Loaded
    subjects: dict[str, Subject]  # by name of the test set

    @property
    def look(self) -> Look:
        """How maps are made."""
        return Look(self.config.evaluate.method, self.config.evaluate.explained)

    def forwards(self) -> int:
        """Noisy forward passes per image of the first test set."""
        c = self.config.noise
        return sum(len(c.levels(norm)) for norm in c.norms) * c.trials * len(REGIONS)

    def plans(self, plans: Plans) -> dict[str, Plan]:
        """Images per step of "maps" and of "noise", and how many of its trials at once."""
        subject, loaded = next(iter(self.subjects.values())), self.original
        trials, images = self.config.noise.trials, len(subject.first_examples())

        def noisy() -> Plan:
            cost = loaded.cost()
            size, at_once = subject.batch(cost, loaded.geometry, trials, len(REGIONS))
            return {"images": size, "trials": at_once, "flops": cost.flops}

        def maps() -> Plan:
            return {"images": subject.batch(loaded.cost(), loaded.geometry, 1, MAP_COST)[0]}

        found = {"noise": plans.of("noise", noisy, images=images, trials=trials)}
        return found | {"maps": plans.of("scores", maps, images=images)}

    def units(
        self, network: Network, plans: Mapping[str, Plan], weights: Callable[[], Variables]
    ) -> Iterator[Unit]:
        """The units of one network, without noise if it is a mixture.

        Args:
          plans: see `plans`.
          weights: reads the network's; asked for when a unit is computed.
        """
        model = dataclasses.replace(self.original.model, name=network.name)
        named, clean = dataclasses.replace(self.original, model=model), network.name
        fn = parallel.Bound(scored, (self.original.model, self.look))
        for test, subject in self.subjects.items():
            examples = subject.examples(named.geometry)
            columns = functools.partial(self._columns, named, examples, test, network.masked)
            settled = {"version": ROWS_VERSION, "data": examples.fingerprint}
            settled |= dataclasses.asdict(self.look) | {"masked": list(network.masked)}
            task = _lent(weights, Pass(subject, named, plans["maps"]["images"], fn, (), columns))
            depends_on = network.depends_on | settled
            yield Unit(f"{network.name}/{test}", depends_on, task, clean=clean)
            clean = ""
        if network.alpha == 1:
            for norm in self.config.noise.norms:
                for level in self.config.noise.levels(norm):
                    yield self._noisy(network, named, plans["noise"], norm, level, weights)

    def _noisy(
        self,
        network: Network,
        named: Loaded,
        plan: Plan,
        norm: str,
        level: float,
        weights: Callable[[], Variables],
    ) -> Unit:
        config, c = self.config, self.config.noise
        subject = next(iter(self.subjects.values()))
        examples = subject.examples(named.geometry)
        sweep = Sweep(norm, REGIONS, c.trials, plan["trials"], config.data.mask == "binary")
        fn = parallel.Bound(noise_trials, (self.original.model.forward, sweep))
        args = (noise.key(config.seed), jnp.float32(level))
        words = {"norm": norm, "level": f"{level:.6g}"}
        columns = functools.partial(self._noise_columns, named, examples, words)
        each = c.trials * len(REGIONS)
        task = Pass(subject, named, plan["images"], fn, args, columns, each)
        settled = {"version": ROWS_VERSION, "data": examples.fingerprint, "mask": config.data.mask}
        settled |= {"norm": norm, "level": level, "trials": c.trials, "seed": config.seed}
        depends_on, name = network.depends_on | settled, f"{network.name}/{norm}_{level:.6g}"
        return Unit(name, depends_on, _lent(weights, task), plan["flops"])

    def _columns(
        self,
        named: Loaded,
        examples: Examples,
        test: str,
        masked: tuple[str, ...],
        found: parallel.Rows,
    ) -> Columns:
        """Also "A" for images of the classes whose masks were trained on, "B" for the others."""
        image = found["index"]
        rows = tidy(self.config.data.name, named, examples, image, {"test": test}, found)
        outside = np.array([name not in masked for name in examples.classes])
        inside = Category(outside[examples.labels[image]].astype(np.int32), ["A", "B"])
        return {**rows, "class_set": inside}

    def _noise_columns(
        self, named: Loaded, examples: Examples, words: dict[str, str], found: parallel.Rows
    ) -> Columns:
        """Means over trials, for each region."""
        image = np.repeat(found["index"], len(REGIONS))
        values = {
            key: found[key].mean(1, dtype=np.float64).astype(np.float32).ravel()
            for key in ("probability", "correct")
        }
        rows = tidy(self.config.data.name, named, examples, image, words, values)
        region = np.tile(np.arange(len(REGIONS)), len(found["index"]))
        return {**rows, "region": Category(region, list(REGIONS))}

    def shown(self, *weights: Variables) -> Iterator[Shown]:
        """Images of the last test set, of `SHOWN` classes at most, as some networks see them."""
        examples = list(self.subjects.values())[-1].first_examples()
        _, rows = np.unique(examples.labels, return_index=True)
        rows = rows[np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).round().astype(int)]
        items = [examples.example(int(row)) for row in rows]
        batch = {
            "image": np.stack([item["image"] for item in items]) / np.float32(255),
            "label": examples.labels[rows],
        }
        show = jax.jit(parallel.Bound(maps_of, (self.original.model, self.look)))
        found = [jax.device_get(show(variables, batch)) for variables in weights]
        for k, (row, item) in enumerate(zip(rows, items, strict=True)):
            seen = [(maps[k], examples.classes[logits[k].argmax()]) for maps, logits in found]
            label = examples.classes[examples.labels[row]]
            yield Shown(examples.names[row], label, item["image"], item["mask"], seen)


def _lent(weights: Callable[[], Variables], task: Pass) -> Callable[[OnBatch], Columns]:
    """A pass with other weights, which are read when it is computed."""

    def compute(on_batch: OnBatch) -> Columns:
        loaded = dataclasses.replace(task.loaded, variables=weights())
        return dataclasses.replace(task, loaded=loaded)(on_batch)

    return compute


@jax.jit
def mixed(original: Variables, tuned: Variables, alpha: Array | float) -> Variables:
    """Weights on the straight line between two networks (WiSE-FT); 1 is the finetuned one."""
    mix = lambda a, b: ((1 - alpha) * a + alpha * b).astype(a.dtype)  # noqa: E731
    return {**original, "params": jax.tree.map(mix, original["params"], tuned["params"])}
