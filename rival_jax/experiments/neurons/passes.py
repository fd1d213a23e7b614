"""The passes over the data behind `neurons`: top images, IoU on them, IoU on held-out images.

All networks of a search (the one in question and those with its weights shuffled) go through each
pass together, one after the other on every batch, so that photos and masks are decoded once.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from rival_jax import maps, neurons
from rival_jax.runtime import hosts, parallel
from rival_jax.types import Array, Batch, Forward, Model, Variables

STEPS = 16  # batches whose results are held at once
MOST_UNITS = 64  # features of one image whose maps are held at once

Batches = Callable[[], Iterable[Batch]]


@dataclasses.dataclass(frozen=True)
class Search:
    """What the compiled programs are made for: equal for equal networks, whatever their names."""

    forward: Forward
    to_grid: Callable[[Array], Array]
    cam_tap: str
    feature_tap: str
    pooled: bool  # see `neurons.is_pooled`
    threshold: float

    @classmethod
    def of(cls, model: Model, pooled: bool, threshold: float) -> Search:
        return cls(
            model.forward, model.to_grid, model.cam_tap, model.feature_tap, pooled, threshold
        )


def features(search: Search, networks: Variables, batch: Batch) -> dict[str, Array]:
    """Penultimate features of every network, [b, networks, f], and the label.

    Leaves of `networks` are stacked.
    """
    image = jnp.asarray(batch["image"])

    def one(variables: Variables) -> Array:
        return search.forward(variables, image, {})[1][search.feature_tap]

    found = jnp.moveaxis(jax.lax.map(one, networks), 0, 1)
    return {"features": found, "label": jnp.asarray(batch["label"])}


def unit_maps(
    search: Search, variables: Variables, image: Array, units: Array
) -> tuple[Array, Array]:
    """Activation, and GradCAM on the network's grid, of some features of each image.

    With global average pooling the map of a feature is its own channel. Else the forward pass is
    run once, and the gradient of each feature back to the layer that class maps read, the last
    block of a ViT; `saliency.explain` with `taps.unit_score` gives the same, a forward pass each.

    Args:
      image: [b, h, w, 3]. units: features [b, u].

    Returns:
      ([b, u], raw maps [b, u, h', w']).
    """
    tap = search.cam_tap
    if search.pooled:
        _, found = search.forward(variables, image, {})
        grid, values = search.to_grid(found[tap]), found[search.feature_tap]
        channels = jnp.take_along_axis(grid, units[:, None, None], axis=-1)
        return jnp.take_along_axis(values, units, axis=1), jnp.moveaxis(channels, -1, 1)
    shape = jax.eval_shape(lambda x: search.forward(variables, x, {})[1][tap], image)

    def forward(added: Array) -> tuple[Array, Array]:
        found = search.forward(variables, image, {tap: added})[1]
        return found[search.feature_tap], found[tap]

    values, back, activations = jax.vjp(forward, jnp.zeros(shape.shape, shape.dtype), has_aux=True)
    activations = search.to_grid(activations)

    def one(unit: Array) -> Array:
        (gradient,) = back(jax.nn.one_hot(unit, values.shape[1], dtype=values.dtype))
        return maps.gradcam(activations, search.to_grid(gradient))

    raw = jnp.moveaxis(jax.lax.map(one, units.T), 0, 1)
    return jnp.take_along_axis(values, units, axis=1), raw


def ious(search: Search, networks: Variables, batch: Any) -> dict[str, Array]:
    """IoU of features' maps with attributes' masks.

    Args:
      batch: with `attribute_masks` and `units`, int [b, networks, u], below 0 where there is none;
        `slot` of the same shape is passed through.

    Returns:
      `iou` [b, networks, u, a], and `slot`.
    """
    _, iou = _looked_at(search, networks, batch, neurons.attribute_iou)
    return {"iou": jnp.moveaxis(iou, 0, 1), "slot": jnp.asarray(batch["slot"])}


def held_out(search: Search, networks: Variables, batch: Any) -> dict[str, Array]:
    """Each attribute's feature on images that had no part in choosing it.

    Args:
      batch: as for `ious`, `units` [b, networks, a] being one feature per attribute.

    Returns:
      `iou` and `activation` [b, networks, a]; as bits, uint8 [b, a, pixels / 8], `inside`, the
      salient pixels of the first network's features, and `masks`.
    """

    def own(inside: Array, masks: Array) -> tuple[Array, Array]:
        iou = neurons.attribute_iou(inside[:, None], masks[:, None])
        return iou[:, 0, 0], jnp.packbits(inside, axis=-1)

    activation, (iou, inside) = _looked_at(search, networks, batch, own)
    found = {"iou": jnp.moveaxis(iou, 0, 1), "activation": jnp.moveaxis(activation, 0, 1)}
    return found | {"inside": inside[0], "masks": jnp.packbits(_flat_masks(batch), axis=-1)}


def _flat_masks(batch: Any) -> Array:
    """bool [b, a, pixels]."""
    masks = jnp.asarray(batch["attribute_masks"]) > 0.5
    return masks.reshape(*masks.shape[:2], -1)


def _looked_at(
    search: Search, networks: Variables, batch: Any, rated: Callable[[Array, Array], Any]
) -> tuple[Array, Any]:
    """Activations [networks, b, u], and `rated(salient pixels [u, p], masks [a, p])` likewise."""
    image, units = jnp.asarray(batch["image"]), jnp.asarray(batch["units"])
    masks, (height, width) = _flat_masks(batch), image.shape[1:3]

    def one(network: tuple[Variables, Array]) -> tuple[Array, Any]:
        variables, units = network
        activation, raw = unit_maps(search, variables, image, jnp.maximum(units, 0))

        def of_image(pair: tuple[Array, Array]) -> Any:
            inside = neurons.salient(pair[0], (height, width), threshold=search.threshold)
            return rated(inside.reshape(len(inside), -1), pair[1])

        return activation, jax.lax.map(of_image, (raw, masks))

    return jax.lax.map(one, (networks, jnp.moveaxis(units, 1, 0)))


class Passes(NamedTuple):
    """A search over stacked networks, [networks, ...] in every leaf."""

    search: Search
    networks: Variables
    count: int
    mesh: Mesh
    advance: Callable[[int], None]  # called with the number of images x networks done

    def top(self, batches: Batches, num_classes: int, k: int) -> neurons.Top:
        """The top images of every class and feature, [c, networks x f, k]."""
        fn, found = parallel.Bound(features, (self.search,)), None
        plain = ({k: v for k, v in b.items() if "mask" not in k} for b in batches())
        for rows in self._mapped(fn, plain):
            values, labels = rows["features"].reshape(len(rows["index"]), -1), rows["label"]
            if found is None:
                found = neurons.no_top(num_classes, values.shape[1], k)
            found = neurons.merge_top(found, *map(jnp.asarray, (values, labels, rows["index"])))
        assert found is not None  # `map_examples` refuses an empty data set
        return found

    def ious_of_top(
        self, batches: Batches, of_hosts: Sequence[range], top: neurons.Top, num_attributes: int
    ) -> np.ndarray:
        """IoU [c, networks x f, k, a] on the top images, computed for those pairs alone."""
        wanted = Wanted.of(np.asarray(top.index), self.count)
        found = np.zeros((top.index.size, num_attributes), np.float32)
        fn = parallel.Bound(ious, (self.search,))
        for rows in self._mapped(fn, wanted.batches(batches(), of_hosts)):
            slots = rows["slot"].reshape(-1)
            real = slots >= 0
            found[slots[real]] = rows["iou"].reshape(len(slots), -1)[real]
        return found.reshape(*top.index.shape, num_attributes)

    def held_out(self, batches: Batches, best: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
        """`held_out` of all images, some batches at a time, of features `best` [networks, c, a]."""
        units = (
            {**b, "units": np.moveaxis(best[:, np.asarray(b["label"])], 0, 1)} for b in batches()
        )
        return self._mapped(parallel.Bound(held_out, (self.search,)), units)

    def _mapped(
        self, fn: parallel.PerExample, batches: Iterable[Any]
    ) -> Iterator[dict[str, np.ndarray]]:
        """All hosts' rows of `STEPS` batches at a time, so that memory does not grow."""
        done = lambda images: self.advance(images * self.count)  # noqa: E731
        iterator = iter(batches)
        for first in iterator:
            part = itertools.chain([first], itertools.islice(iterator, STEPS - 1))
            rows = parallel.map_examples(fn, self.networks, part, self.mesh, on_batch=done)
            yield hosts.gathered_rows(rows)


class Wanted(NamedTuple):
    """Which features of which images have to be looked at, sorted by (image, network)."""

    start: np.ndarray  # [images x networks + 1], into the two below
    unit: np.ndarray
    slot: np.ndarray  # position in the flat array of top images
    count: int  # networks

    @classmethod
    def of(cls, index: np.ndarray, count: int) -> Wanted:
        """From `Top.index`, [c, networks x f, k]."""
        per_network = index.shape[1] // count
        slot = np.flatnonzero(index.reshape(-1) >= 0)
        feature = slot // index.shape[2] % index.shape[1]
        key = index.reshape(-1)[slot].astype(np.int64) * count + feature // per_network
        order = np.argsort(key, kind="stable")
        images = index.max() + 1
        start = np.searchsorted(key[order], np.arange(images * count + 1))
        return cls(start, (feature % per_network)[order], slot[order], count)

    def batches(self, batches: Iterable[Batch], of_hosts: Sequence[range]) -> Iterator[Any]:
        """Batches of the images that are wanted, with `units` and `slot` [b, networks, u].

        An image that more features want than fit into one step comes again. All hosts, whose images
        are `of_hosts`, have equally many batches.
        """
        counts = np.diff(self.start).reshape(-1, self.count).max(1)
        width = int(np.clip(np.quantile(counts[counts > 0], 0.9), 1, MOST_UNITS))
        pending: list[tuple[Batch, int, int]] = []
        size, done, batch = 1, 0, None
        for batch in batches:
            size, index = len(batch["index"]), np.asarray(batch["index"])
            many = np.where((index >= 0) & (index < len(counts)), counts[index % len(counts)], 0)
            pending += [(batch, i, k) for i in range(size) for k in range(0, many[i], width)]
            while len(pending) >= size:
                yield self._packed(pending[:size], size, width)
                pending, done = pending[size:], done + 1
        most = max(int((-(-counts[rows.start : rows.stop] // width)).sum()) for rows in of_hosts)
        for _ in range(done, -(-most // size)):
            yield self._packed(pending, size, width, batch)
            pending = []

    def _packed(
        self, items: list[tuple[Batch, int, int]], size: int, width: int, other: Any = None
    ) -> Any:
        """One batch of (batch, row, first unit), filled up with its first at index -1.

        Without any, with the first row of `other`.
        """
        full = items + (items[:1] or [(other, 0, 0)]) * (size - len(items))
        packed: dict[str, Any] = {
            key: np.stack([np.asarray(batch[key])[row] for batch, row, _ in full])
            for key in ("image", "attribute_masks", "label", "index")
        }
        packed["index"][len(items) :] = packed["index"][0] if items else 0
        key = packed["index"][:, None] * self.count + np.arange(self.count)
        place = (self.start[key] + np.array([k for *_, k in full])[:, None])[..., None]
        place = place + np.arange(width)
        real = place < self.start[key + 1][..., None]
        place = np.where(real, place, 0)
        packed["units"] = np.where(real, self.unit[place], -1).astype(np.int32)
        packed["slot"] = np.where(real, self.slot[place], -1)
        packed["index"][len(items) :] = -1
        return packed
