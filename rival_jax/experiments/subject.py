"""What an experiment measures: data set, networks and their heads, checked before any work."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from rich.console import Console

from rival_jax import configs, data, models
from rival_jax.experiments import head_context as _heads
from rival_jax.experiments.preprocessing import check_treatment, preprocessing
from rival_jax.runtime import footprint, parallel
from rival_jax.runtime.footprint import step_size
from rival_jax.runtime.plugins import no_such, plugin
from rival_jax.runtime.progress import Meter
from rival_jax.runtime.results import tree_digest
from rival_jax.types import Geometry, Model, Variables
from rival_jax.weights import told_apart

TYPICAL_BATCH = 8  # images to measure a forward pass on


@dataclasses.dataclass(frozen=True)
class Loaded:
    """One network, ready: its head attached, its identity and its cost known."""

    model: Model
    variables: Variables
    geometry: Geometry
    digest: str  # of weights, head and treatment of the input
    cost: Callable[[], footprint.Cost]  # of one image's forward pass; measured on first use
    facts: dict[str, Any]  # for models.json and the report


class Material:
    """What a run is about: its config, its devices, and its notes to the reader, see `note`."""

    def __init__(self, config: Any, console: Console):
        self.config, self.console, self.mesh = config, console, parallel.data_mesh()
        self.notices: list[str] = []
        self.titles = told_apart(getattr(config, "models", ()))  # else a path's last part

    def note(self, *texts: str) -> None:
        """Tells the reader something once, on the console and at the top of the page.

        For what was assumed, and for what makes a number doubtful: one or two sentences that name
        the thing, the place and the cure.
        """
        for text in texts:
            if text and text not in self.notices:
                self.notices.append(text)
                self.console.print(f"note: {text}", markup=False)

    def distinct(self, names: Sequence[str]) -> None:
        """Raises ValueError if two networks have one name."""
        if len(set(names)) < len(names):
            raise ValueError(f"two of config.models have one name: {names}")

    def read(
        self, source: data.Source, geometry: Geometry, said: str, *, attributes: bool = False
    ) -> data.Examples:
        """All of a source in one geometry, decoded and checked; `said` names it to the user.

        Raises:
          ValueError: naming the bad examples.
        """
        with Meter(len(source), "images", self.console) as meter:
            meter.say(f"reading {said}")
            options = {k: getattr(self.config.data, k) for k in ("on_bad", "mask", "held_gib")}
            options |= {"attributes": attributes, "on_item": lambda *_: meter.advance(1)}
            examples = data.Examples(source, geometry, **options)
        if examples.streamed:
            self.console.print(examples.streamed, markup=False)
        for name, reason in examples.skipped:
            self.console.print(f"skipped {name}: {reason}")
        self.note(*examples.notices)
        return examples

    def described(
        self,
        classes: Sequence[str],
        labels: np.ndarray,
        skipped: Sequence[tuple[str, str]],
        fingerprint: str,
        name: str = "",
    ) -> dict[str, Any]:
        """What data.json and the report say about the data.

        Args:
          skipped: (name, reason) of each.
          name: of the data, if the config has none.
        """
        c = self.config.data
        place = {"name": name or c.name, "root": str(c.root), "split": c.split}
        return place | {
            "classes": list(classes),
            "counts": np.bincount(labels, minlength=len(classes)).tolist(),
            "images": len(labels),
            "skipped": [list(item) for item in skipped],
            "fingerprint": fingerprint,
            "notices": list(self.notices),
        }


class Subject(Material):
    """The data set and the networks named in a config.

    Construction finds everything that can be wrong: unknown names, weights that fit no network,
    unreadable photos, bad masks.

    Args:
      heads: whether networks get a head; if so, what heads need is checked at once.

    Raises:
      ValueError, FileNotFoundError: naming the thing, the place and the cure.
    """

    def __init__(self, config: Any, console: Console, *, heads: bool = True):
        super().__init__(config, console)
        self.headed = heads
        self.clean: dict[str, dict[str, Any]] = {}  # see `clean.check`
        check_treatment(config)
        self.sharding = str(getattr(config, "sharding", "replicated"))
        self.trains = bool(getattr(plugin("heads", config.head), "TRAINS", False))
        splits = {config.data.split} | ({config.data.train_split} if self.trains else set())
        self.sources = {split: source_of(config.data, split) for split in splits}
        if heads and self.trains:
            _heads.check_splits(self)
        loaded = [self._load(name)[0] for name in config.models]
        self.distinct([model.name for model in loaded])
        self.models: tuple[Model, ...] = tuple(loaded)  # without heads or weights
        self.note(*(notice for model in loaded for notice in model.notices))
        self._examples: dict[tuple[Geometry, str, bool], data.Examples] = {}
        if heads:
            head = plugin("heads", config.head)
            for model in self.models if hasattr(head, "check") else ():
                head.check(model, _heads.context(self, model))
        for geometry in dict.fromkeys(map(self.geometry, loaded)):
            self.examples(geometry)

    def examples(
        self, geometry: Geometry, split: str | None = None, *, attributes: bool = False
    ) -> data.Examples:
        """A split in one geometry, decoded and checked once; with attribute masks on request.

        Raises:
          ValueError: naming the bad examples; or the data sets that have attribute masks, if this
            one has none.
        """
        split = split or str(self.config.data.split)
        key = geometry, split, attributes
        if key not in self._examples:
            place = self.config.data
            source = source_of(place, split, attributes=True) if attributes else self.sources[split]
            said = f"{'attributes of ' if attributes else ''}{place.name} {split}"
            self._examples[key] = self.read(source, geometry, said, attributes=attributes)
        return self._examples[key]

    def read_training(self) -> None:
        """Reads and checks what heads are fitted on, as a run does before its first network runs.

        Raises:
          ValueError: naming the bad examples.
        """
        for geometry in {key[0]: None for key in self._examples}:
            if self.trains:
                self.examples(geometry, str(self.config.data.train_split))

    def bare(self, name: str) -> tuple[Model, Variables, Callable[[], footprint.Cost]]:
        """A network without a new head, and a function that measures its forward pass once."""
        model, variables = self._load(name)
        self.console.print(models.describe(model, self.geometry(model)))

        @functools.cache
        def cost() -> footprint.Cost:
            test = self.examples(self.geometry(model))
            size = min(TYPICAL_BATCH, len(test))
            images = next(test.batches(size, everywhere=True))["image"]
            forward = lambda v, x: model.forward(v, x, {})[0]  # noqa: E731
            return footprint.measure(forward, variables, images, self.mesh, self.sharding)

        return model, variables, cost

    def load(self, name: str, **probe: Any) -> Loaded:
        """A network with its head, if heads are wanted.

        Args:
          probe: options that replace those in config.probe.
        """
        model, variables, cost = self.bare(name)
        geometry, head = self.geometry(model), {}
        facts = card(model, variables, "", geometry)
        if self.headed:
            batch_size = lambda: self.batch(cost(), geometry)[0]  # noqa: E731
            context = _heads.context(self, model, batch_size, **probe)
            attach = plugin("heads", self.config.head).attach
            model, variables, head = attach(model, variables, context)
        told = [model.name, *([head] if self.headed else [])]
        identity = [*told, model.mean, model.std, tree_digest(variables), *model.settings]
        facts["head"] = "; ".join(head.values()) or "none: features alone"
        return Loaded(model, variables, geometry, str(identity), cost, facts)

    def batch(
        self, cost: footprint.Cost, geometry: Geometry, trials: int = 1, regions: int = 1
    ) -> tuple[int, int]:
        """(images per step, trials at once), see `footprint.step_size`."""
        images = len(self.examples(geometry))
        return step_size(self.config, self.mesh, cost, geometry, images, trials, regions)

    def pick(self, loaded: Loaded, trials: int = 1, regions: int = 1) -> dict[str, Any]:
        """A plan, see `Plans`: images per step, trials at once, FLOPs of a forward pass."""
        cost = loaded.cost()
        images, at_once = self.batch(cost, loaded.geometry, trials, regions)
        return {"images": images, "trials": at_once, "flops": cost.flops}

    def first_examples(self) -> data.Examples:
        """The evaluated split in the first model's geometry."""
        return next(iter(self._examples.values()))

    def identity(self, loaded: Loaded, version: int, **more: Any) -> dict[str, Any]:
        """What a unit of the network depends on; `version`: of its rows."""
        base = {"version": version, "model": loaded.digest, "dtype": self.config.dtype}
        return {**base, "data": self.examples(loaded.geometry).fingerprint, **more}

    def facts(self) -> dict[str, Any]:
        """What data.json and the report say about the data set."""
        one = self.first_examples()
        told = one.classes, one.labels, one.skipped, one.fingerprint
        return {**self.described(*told), "clean": dict(self.clean)}

    def _load(self, name: str) -> tuple[Model, Variables]:
        size = (self.config.image_size, self.config.image_size) if self.config.image_size else None
        # Weights too large for one device stay in the host's memory until they are cut.
        place = jax.local_devices(backend="cpu")[0] if self.sharding == "fsdp" else None
        with jax.default_device(place):
            model, variables = models.load(
                name,
                dtype=self.config.dtype,
                image_size=size,
                given=preprocessing(self.config),
                called=self.titles.get(name, ""),
            )
        if self.config.normalise == "none":
            model = models.without_normalisation(model)
        return model, variables

    def geometry(self, model: Model) -> Geometry:
        """How pictures are made for a network, by `config.data.resize`."""
        if self.config.data.resize == "squash":
            return Geometry(model.image_size, "squash", "bilinear")
        return Geometry(model.image_size, "crop", model.interpolation, model.crop_pct)


def card(
    model: Model, variables: Variables, head: str, geometry: Geometry | None = None
) -> dict[str, Any]:
    """A network's entry in models.json; `head`: what is read of it, in words."""
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    told = {"name": model.name, "parameters": parameters}
    return {**told, "input": models.describe(model, geometry), "head": head}


def source_of(place: Any, split: str, **options: bool) -> data.Source:
    """A split of `config.data` or a block like it, undecoded; `options` add to the block's."""
    named = configs.options(place, place.name.replace(".", "_"))
    return data.load(place.name, place.root, split, **{**named, **options})


def one_of(key: str, value: Any, known: tuple[str, ...]) -> None:
    """Raises ValueError with the config key and the nearest value, unless `value` is known."""
    if value not in known:
        raise ValueError(f"config.{key}: " + no_such(value, known))
