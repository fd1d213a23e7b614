"""Networks' maps: which methods each network allows, what they cost, and the maps themselves."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from rival_jax import noise, saliency, taps
from rival_jax.data.donors import lent
from rival_jax.experiments.cures import compared_networks
from rival_jax.experiments.subject import TYPICAL_BATCH, Loaded, Subject
from rival_jax.models.network import shapes
from rival_jax.report.grids import Shown, heated, outlined, thumb
from rival_jax.runtime import footprint, parallel
from rival_jax.runtime.plugins import plugin
from rival_jax.types import Array, Batch, Model, Variables

PHOTOS, MAPS = 6, 6  # on a sheet, and networks and methods
RANDOM = "random"  # in the place of a method: no map, but an order of pixels by `key`
Draw = Callable[[str, np.ndarray, Array], Mapping[str, np.ndarray]]
"""Pictures by name, of a name, a photo uint8 [h, w, 3] and a map [h, w] in [0, 1]."""


class Way(Protocol):
    """How maps are made; hashable."""

    method: str  # "gradcam", or "gradcam@layer3" with the tap that class maps read
    target: str  # "predicted" | "label"
    scaling: str  # see `saliency.explain`


class Explained(NamedTuple):
    """A network's maps of a batch."""

    maps: Array  # [b, h, w], in [0, 1] by most scalings; NaN if the scaling leaves NaN
    logits: Array  # [b, c]
    target: Array  # int32 [b], the class explained


def explained(
    way: Any, model: Model, variables: Variables, batch: Batch, key: Array | None = None
) -> Explained:
    """The maps of a batch by a `Way`, which may be `RANDOM`. Raises as the method does."""
    image = jnp.asarray(batch["image"])
    logits, _ = model.forward(variables, image, {})
    predicted = jnp.argmax(logits, axis=1).astype(jnp.int32)
    target = predicted if way.target == "predicted" else jnp.asarray(batch["label"])
    if way.method == RANDOM:
        if key is None:
            raise ValueError("a random order needs a key")
        size, ids = (image.shape[1], image.shape[2]), jnp.asarray(batch["noise_id"])
        return Explained(noise.gaussian(key, ids, 0, size), logits, target)
    method, _, tap = way.method.partition("@")
    read, score = dataclasses.replace(model, cam_tap=tap or model.cam_tap), taps.class_score(target)
    found = saliency.explain(method, read, variables, image, score, scaling=way.scaling)
    return Explained(found, logits, target)


def allowed(
    c: Any, networks: Sequence[Model], console: Console, way: Callable[[str], Any]
) -> dict[str, tuple[Any, ...]]:
    """How each model's maps are made, by its name: one `Way` per method.

    Args:
      c: a block of a config with `methods` and `unfit`.
      way: of a method.

    Raises:
      ValueError: a network does not allow a method and may not be skipped, or no network allows
        any.
    """
    found: dict[str, tuple[Any, ...]] = {model.name: () for model in networks}
    for method in c.methods:
        plugin("saliency", method.partition("@")[0])
        one = way(method)
        faults = {model.name: fault(nameless(model), one) for model in networks}
        for name, why in faults.items():
            if why and (c.unfit == "error" or all(faults.values())):
                raise ValueError(f"config.saliency.methods: {method} of {name}: {why}")
            if why:
                console.print(f"{name}: no {method}: {why.partition(';')[0]}")
            else:
                found[name] += (one,)
    if without := [name for name, ways in found.items() if not ways]:
        raise ValueError(f"config.saliency.methods: none is left for {', '.join(without)}")
    return found


@functools.lru_cache(maxsize=64)
def fault(model: Model, way: Any) -> str:
    """Why a network does not allow a way to make maps, "" if it does; traced, without weights."""
    batch = {"image": jax.ShapeDtypeStruct((1, *model.image_size, 3), jnp.float32)}
    batch["label"] = jax.ShapeDtypeStruct((1,), jnp.int32)
    try:
        variables = shapes(model.init)
        jax.eval_shape(functools.partial(explained, way, model), variables, batch)
    except ValueError as error:
        return str(error).strip()
    return ""


_explained = jax.jit(explained, static_argnums=(0, 1))


def seen_again(
    subject: Subject, loaded: Loaded, way: Any, rows: np.ndarray
) -> Iterator[tuple[dict[str, Any], Array]]:
    """Some of the evaluated images, as `Examples.example`, each with its map; NaNs are 0."""
    examples = subject.examples(loaded.geometry)
    items = lent(examples, rows)
    images = np.stack([item["image"] for item in items]).astype(np.float32) / 255
    batch = {"image": images, "label": examples.labels[rows]}
    seen = _explained(way, nameless(loaded.model), loaded.variables, batch)
    return zip(items, jnp.nan_to_num(seen.maps), strict=True)


def nameless(model: Model) -> Model:
    """Equal for all networks of one architecture, so that they share compiled programs."""
    return dataclasses.replace(model, name="")


class Explaining:
    """What experiments on networks' maps, before and after a cure, have in common.

    Args:
      way: of a method, see `allowed`.
      make: what is done for an image of a network by a way, as a function and its arguments after
        variables and batch; its cost is measured once.
      weights: from a network's to the function's.

    Attributes:
      pairs: of networks to compare, see `cures.pairs`; none if the config has no such key.
      ways: of each network, by its name.
    """

    counted = "images"

    def __init__(
        self,
        config: Any,
        console: Console,
        way: Callable[[str], Any],
        make: Callable[[Loaded, Any], tuple[parallel.Bound, tuple[Any, ...]]],
        weights: Callable[[Variables], Any] = lambda variables: variables,
    ):
        self.config, self.subject = config, Subject(config, console)
        names = [model.name for model in self.subject.models]
        called = dict(zip(config.models, names, strict=True))
        named = getattr(config, "pairs", None)
        self.pairs = [] if named is None else compared_networks(named, called).pairs
        self.ways = allowed(config.saliency, self.subject.models, console, way)
        self._make, self._weights = make, weights
        self._shown: list[tuple[Loaded, Any, Draw]] = []  # on the sheet
        self._costs: dict[Any, footprint.Cost] = {}

    def total(self) -> int:
        """Images, counted as often as they are looked at."""
        return len(self.subject.first_examples()) * sum(map(len, self.ways.values()))

    def pick(self, loaded: Loaded) -> dict[str, Any]:
        """Images per step, for all methods.

        Large steps gain nothing on a CPU, and take as long to compile.
        """
        subject, size = self.subject, self.config.batch_size
        if size == "auto" and subject.mesh.devices.flat[0].platform == "cpu":
            size = TYPICAL_BATCH * subject.mesh.size
        elif size == "auto":
            cost = self._cost(loaded, self.ways[loaded.model.name][0])
            size, _ = subject.batch(cost, loaded.geometry)
        return {"images": int(size), "flops": loaded.cost().flops}

    def costs(self) -> Iterator[tuple[str, float]]:
        """The cost of each network by each way, for a dry run."""
        images = len(self.subject.first_examples())
        for name in self.config.models:
            loaded = self.subject.load(name)
            for way in self.ways[loaded.model.name]:
                cost = self._cost(loaded, way)
                work = f"{images} images, {images * cost.flops / 1e12:,.2f} TFLOP"
                seconds = images * cost.seconds / self.subject.mesh.size
                yield f"{loaded.model.name}, {way.method}: {work}", seconds

    def _cost(self, loaded: Loaded, way: Any) -> footprint.Cost:
        """Of one image; the same for all networks of one architecture."""
        subject, (fn, args) = self.subject, self._make(loaded, way)
        key = fn, loaded.geometry
        if key not in self._costs:
            examples = subject.examples(loaded.geometry)
            batch = next(examples.batches(min(TYPICAL_BATCH, len(examples)), everywhere=True))
            everything = lambda v, b: fn(v, b, *args)  # noqa: E731
            given = self._weights(loaded.variables), dict(batch)
            place = subject.mesh, subject.sharding
            self._costs[key] = footprint.measure(everything, *given, *place)
        return self._costs[key]

    def show(self, loaded: Loaded, way: Any, draw: Draw) -> None:
        """Puts maps on the sheet; `draw`: what else is drawn of each, beside it on the photo."""
        if len(self._shown) < MAPS:
            self._shown.append((loaded, way, draw))

    def sheet(self) -> Shown:
        """Maps on one photo of each class, or on the first photos of few."""
        examples = self.subject.first_examples()
        rows = np.sort(np.unique(examples.labels, return_index=True)[1])[:PHOTOS]
        rows = rows if len(rows) == PHOTOS else np.arange(len(examples))[:PHOTOS]
        pictures: list[dict[str, np.ndarray]] = [{} for _ in rows]
        for loaded, way, draw in self._shown:
            name = f"{loaded.model.name} {way.method}"
            seen = seen_again(self.subject, loaded, way, rows)
            for drawn, (item, one) in zip(pictures, seen, strict=True):
                drawn["photo and object"] = outlined(
                    thumb(item["image"]), thumb(item["mask"] > 127)
                )
                drawn[name] = heated(item["image"], np.asarray(one))
                drawn |= draw(name, item["image"], one)
        titles = [examples.classes[examples.labels[row]] for row in rows]
        return list(zip(titles, (examples.names[row] for row in rows), pictures, strict=True))
