"""The passes over the data: top images, IoU on them, IoU on held-out images.

All networks of a search (the one in question and those with its weights shuffled) go through each
pass together, one after the other on every batch, so that photos and masks are decoded once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from rival_jax import neurons
from rival_jax.runtime import hosts, parallel
from rival_jax.types import Array, Batch, Model, Variables

STEPS = 16  # batches whose results are held at once
MOST_UNITS = 64  # features of one image whose maps are held at once

Batches = Callable[[], Iterable[Batch]]


class Search(NamedTuple):
    """What programs are compiled for."""

    model: Model  # without its name, so that equal networks share them
    pooled: bool  # see `neurons.is_pooled`
    threshold: float  # see `neurons.salient`


def features(model: Model, networks: Variables, batch: Batch) -> dict[str, Array]:
    """Penultimate features [b, networks, f], and the label; leaves of `networks` are stacked."""
    image = jnp.asarray(batch["image"])
    one = lambda variables: model.forward(variables, image, {})[1][model.feature_tap]  # noqa: E731
    found = jnp.moveaxis(jax.lax.map(one, networks), 0, 1)
    return {"features": found, "label": jnp.asarray(batch["label"])}


def ious(search: Search, networks: Variables, batch: Any) -> dict[str, Array]:
    """IoU [b, networks, u, a] of features' maps with attributes' masks.

    Args:
      batch: with `attribute_masks` and `units`, int [b, networks, u], below 0 where there is none;
        `slot` of the same shape is passed through.
    """
    _, iou = _looked_at(search, networks, batch, neurons.attribute_iou)
    return {"iou": iou, "slot": jnp.asarray(batch["slot"])}


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
    masks = jnp.packbits(_flat_masks(batch), axis=-1)
    return {"iou": iou, "activation": activation, "inside": inside[:, 0], "masks": masks}


def _looked_at(
    search: Search, networks: Variables, batch: Any, rated: Callable[[Array, Array], Any]
) -> Any:
    """Activations [b, networks, u], and `rated(salient pixels [u, p], masks [a, p])` likewise."""
    image, masks = jnp.asarray(batch["image"]), _flat_masks(batch)
    size = (image.shape[1], image.shape[2])

    def one(network: tuple[Variables, Array]) -> tuple[Array, Any]:
        variables, units = network
        units = jnp.maximum(units, 0)
        found = neurons.unit_maps(search.model, variables, image, units, pooled=search.pooled)

        def of_image(pair: tuple[Array, Array]) -> Any:
            inside = neurons.salient(pair[0], size, threshold=search.threshold)
            return rated(inside.reshape(len(inside), -1), pair[1])

        return found[0], jax.lax.map(of_image, (found[1], masks))

    found = jax.lax.map(one, (networks, jnp.moveaxis(jnp.asarray(batch["units"]), 1, 0)))
    return jax.tree.map(lambda value: jnp.moveaxis(value, 0, 1), found)


def _flat_masks(batch: Any) -> Array:
    """bool [b, a, pixels]."""
    masks = jnp.asarray(batch["attribute_masks"]) > 0.5
    return masks.reshape(*masks.shape[:2], -1)


class Passes(NamedTuple):
    """A search over stacked networks, [networks, ...] in every leaf."""

    search: Search
    networks: Variables
    count: int
    mesh: Mesh
    advance: Callable[[int], None]  # called with the number of images x networks done

    def top(self, batches: Batches, num_classes: int, k: int) -> neurons.Top:
        """The top images of every class and feature, [c, networks x f, k]."""
        found = None
        plain = ({k: v for k, v in b.items() if "mask" not in k} for b in batches())
        for rows in self._mapped(features, self.search.model, plain):
            values, labels = rows["features"].reshape(len(rows["index"]), -1), rows["label"]
            found = found or neurons.no_top(num_classes, values.shape[1], k)
            found = neurons.merge_top(found, *map(jnp.asarray, (values, labels, rows["index"])))
        assert found is not None  # `map_examples` refuses an empty data set
        return found

    def ious_of_top(
        self, batches: Batches, of_hosts: Sequence[range], top: neurons.Top, num_attributes: int
    ) -> np.ndarray:
        """IoU [c, networks x f, k, a] on the top images, computed for those pairs alone."""
        shown = wanted(np.asarray(top.index), self.count, batches(), of_hosts)
        found = np.zeros((top.index.size, num_attributes), np.float32)
        for rows in self._mapped(ious, self.search, shown):
            slots = rows["slot"].reshape(-1)
            real = slots >= 0
            found[slots[real]] = rows["iou"].reshape(len(slots), -1)[real]
        return found.reshape(*top.index.shape, num_attributes)

    def held_out(self, batches: Batches, best: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
        """`held_out` of all images, some batches at a time, of features `best` [networks, c, a]."""
        units = (
            {**b, "units": np.moveaxis(best[:, np.asarray(b["label"])], 0, 1)} for b in batches()
        )
        return self._mapped(held_out, self.search, units)

    def _mapped(
        self, fn: Callable[..., Any], given: Any, batches: Iterable[Any]
    ) -> Iterator[dict[str, np.ndarray]]:
        """All hosts' rows of `STEPS` batches at a time, so that memory does not grow."""
        bound, iterator = parallel.Bound(fn, (given,)), iter(batches)
        done = lambda images: self.advance(images * self.count)  # noqa: E731
        for first in iterator:
            part = itertools.chain([first], itertools.islice(iterator, STEPS - 1))
            rows = parallel.map_examples(bound, self.networks, part, self.mesh, on_batch=done)
            yield hosts.gathered_rows(rows)


def wanted(
    index: np.ndarray, count: int, batches: Iterable[Batch], of_hosts: Sequence[range]
) -> Iterator[dict[str, np.ndarray]]:
    """Batches of the top images, with the features to look at: `units` [b, networks, u].

    An image that more features want than fit into one step comes again. All hosts, whose images
    are `of_hosts`, have equally many batches.

    Args:
      index: of `neurons.Top`, [c, networks x f, k]; `slot`, shaped as `units`, are places in it.
      count: of networks.
    """
    slot = np.flatnonzero(index.reshape(-1) >= 0)
    network, unit = np.divmod(slot // index.shape[2] % index.shape[1], index.shape[1] // count)
    key = index.reshape(-1)[slot].astype(np.int64) * count + network
    order = np.argsort(key, kind="stable")
    starts = np.searchsorted(key[order], np.arange((index.max() + 1) * count + 1))
    counts = np.diff(starts).reshape(-1, count).max(1)  # of each image
    width = int(np.clip(np.quantile(counts[counts > 0], 0.9), 1, MOST_UNITS))

    def of_images(batch: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for row, image in enumerate(np.asarray(batch["index"]).tolist()):
            ends = starts[image * count : (image + 1) * count + 1, None]
            for first in range(0, counts[image] if 0 <= image < len(counts) else 0, width):
                place = ends[:-1] + np.arange(first, first + width)
                mine = np.where(place < ends[1:], order[place % len(order)], -1)
                found = {"units": unit[mine], "slot": slot[mine]}
                told = {k: np.where(mine < 0, -1, v).astype(np.int32) for k, v in found.items()}
                yield {k: batch[k][row] for k in ("image", "attribute_masks", "index")} | told

    pending: list[dict[str, Any]] = []
    size, done, batch = 1, 0, {}
    for batch in batches:
        size = len(batch["index"])
        pending += of_images(batch)
        while len(pending) >= size:
            yield _packed(pending[:size])
            pending, done = pending[size:], done + 1
    none = np.full((count, width), -1, np.int32)
    blank = {k: batch[k][0] for k in ("image", "attribute_masks")}
    blank |= {"index": np.int32(-1), "units": none, "slot": none}
    most = max(int((-(-counts[rows.start : rows.stop] // width)).sum()) for rows in of_hosts)
    for _ in range(done, -(-most // size)):
        yield _packed(pending + [blank] * (size - len(pending)))
        pending = []


def _packed(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
