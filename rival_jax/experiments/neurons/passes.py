"""The passes over the data: top images, IoU on them, IoU on held-out images.

The network that is searched and its shuffled copies, with weights permuted within every tensor, go
through each pass together, one after the other on every batch, so that photos and masks are decoded
once.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from rival_jax import data, neurons
from rival_jax.configs.neurons import Config
from rival_jax.experiments.changed import repacked
from rival_jax.experiments.subject import Loaded
from rival_jax.runtime import hosts, parallel, placement
from rival_jax.types import Array, Batch, Model, Variables

STEPS = 16  # batches whose results are held at once


class Program(NamedTuple):
    """What passes are compiled for."""

    model: Model  # without its name, so that equal networks share programs
    pooled: bool  # see `neurons.is_pooled`
    threshold: float  # see `neurons.salient`


def features(program: Program, networks: Variables, batch: Batch) -> dict[str, Array]:
    """Penultimate features [b, networks, f], and the label; leaves of `networks` are stacked."""
    model, image = program.model, jnp.asarray(batch["image"])
    one = lambda variables: model.forward(variables, image, {})[1][model.feature_tap]  # noqa: E731
    found = jnp.moveaxis(jax.lax.map(one, networks), 0, 1)
    return {"features": found, "label": jnp.asarray(batch["label"])}


def ious(program: Program, networks: Variables, batch: Any) -> dict[str, Array]:
    """IoU [b, networks, u, a] of features' maps with the masks of all attributes.

    Args:
      batch: with `attribute_masks` and `units`, the features, int [b, networks, u], below 0 where
        there is none; `slot` of the same shape is passed through.
    """
    _, iou = _rated(program, networks, batch, neurons.attribute_iou)
    return {"iou": iou, "slot": jnp.asarray(batch["slot"])}


def held_out(program: Program, networks: Variables, batch: Any) -> dict[str, Array]:
    """Each attribute's feature on images that had no part in choosing it.

    Args:
      batch: as for `ious`, but `units` [b, networks, a] has one feature for each attribute.

    Returns:
      `iou` and `activation` [b, networks, a]; as bits, uint8 [b, a, pixels / 8], the `masks`, and
      `inside`, the salient pixels of the first network's features.
    """

    def own(inside: Array, masks: Array) -> tuple[Array, Array]:
        iou = neurons.attribute_iou(inside[:, None], masks[:, None])
        return iou[:, 0, 0], jnp.packbits(inside, axis=-1)

    activation, (iou, inside) = _rated(program, networks, batch, own)
    masks = jnp.packbits(_flat_masks(batch), axis=-1)
    return {"iou": iou, "activation": activation, "inside": inside[:, 0], "masks": masks}


def _rated(
    program: Program, networks: Variables, batch: Any, rate: Callable[[Array, Array], Any]
) -> Any:
    """Activations [b, networks, u], and `rate(salient pixels [u, p], masks [a, p])` likewise."""
    image, masks = jnp.asarray(batch["image"]), _flat_masks(batch)
    size = (image.shape[1], image.shape[2])

    def of_network(network: tuple[Variables, Array]) -> tuple[Array, Any]:
        variables, units = network
        units = jnp.maximum(units, 0)
        found = neurons.unit_maps(program.model, variables, image, units, pooled=program.pooled)

        def of_image(pair: tuple[Array, Array]) -> Any:
            inside = neurons.salient(pair[0], size, threshold=program.threshold)
            return rate(inside.reshape(len(inside), -1), pair[1])

        return found[0], jax.lax.map(of_image, (found[1], masks))

    found = jax.lax.map(of_network, (networks, jnp.moveaxis(jnp.asarray(batch["units"]), 1, 0)))
    return jax.tree.map(lambda value: jnp.moveaxis(value, 0, 1), found)


def _flat_masks(batch: Any) -> Array:
    """bool [b, a, pixels]."""
    masks = jnp.asarray(batch["attribute_masks"]) > 0.5
    return masks.reshape(*masks.shape[:2], -1)


@dataclasses.dataclass(frozen=True)
class Search:
    """One network, its shuffled copies, and the data that features are chosen and judged on."""

    loaded: Loaded
    train: data.Examples
    test: data.Examples
    pairs: np.ndarray  # bool [c, a], classes and attributes with enough images in both splits
    size: int  # images per step
    config: Config
    mesh: Mesh
    advance: Callable[[int], None]  # called with the number of images x networks done

    @functools.cached_property
    def program(self) -> Program:
        """What passes are compiled for; runs two images to see whether features are pooled."""
        model = dataclasses.replace(self.loaded.model, name="")
        images = jnp.asarray(next(iter(self.test.batches(2, everywhere=True)))["image"])
        _, found = jax.jit(model.forward)(self.loaded.variables, images, {})
        grid = model.to_grid(found[model.cam_tap])
        pooled = neurons.is_pooled(grid, found[model.feature_tap])
        return Program(model, pooled, float(self.config.neurons.threshold))

    @functools.cached_property
    def networks(self) -> Variables:
        """The network and its shuffled copies, stacked; made when this is first asked for."""
        count = self.config.neurons.shuffled
        networks = neurons.with_shuffled(self.loaded.variables, count, self.config.seed)
        return placement.placed(networks, self.mesh, "replicated")

    @property
    def count(self) -> int:
        """The number of networks."""
        return 1 + self.config.neurons.shuffled

    def top(self) -> neurons.Top:
        """The top training images of every class and feature, [c, networks x f, k]."""
        classes, k, found = len(self.train.classes), self.config.neurons.top, None
        plain = (
            {name: value for name, value in batch.items() if "mask" not in name}
            for batch in self.train.batches(self.size)
        )
        for rows in self.rows(features, plain):
            values, labels = rows["features"].reshape(len(rows["index"]), -1), rows["label"]
            found = found or neurons.no_top(classes, values.shape[1], k)
            found = neurons.merge_top(found, *map(jnp.asarray, (values, labels, rows["index"])))
        assert found is not None  # `map_examples` refuses an empty data set
        return found

    def ious_of_top(self, top: neurons.Top) -> np.ndarray:
        """IoU [c, networks x f, k, a] on the top images, computed for those pairs alone."""
        index = np.asarray(top.index)
        owner, units, slots = neurons.wanted(index, self.count)

        def made(row: int, item: Mapping[str, Any]) -> dict[str, Any]:
            shown = {name: item[name] for name in ("image", "attribute_masks", "index")}
            return {**shown, "units": units[row], "slot": slots[row]}

        batches = repacked(self.train, self.size, owner, made)
        found = np.zeros((index.size, len(self.train.attributes)), np.float32)
        for rows in self.rows(ious, batches):
            slot = rows["slot"].reshape(-1)
            real = slot >= 0
            found[slot[real]] = rows["iou"].reshape(len(slot), -1)[real]
        return found.reshape(*index.shape, -1)

    def rows(
        self, fn: Callable[..., Any], batches: Iterable[Any]
    ) -> Iterator[dict[str, np.ndarray]]:
        """All hosts' rows of `STEPS` batches at a time, so that memory does not grow."""
        bound, iterator = parallel.Bound(fn, (self.program,)), iter(batches)
        done = lambda images: self.advance(images * self.count)  # noqa: E731
        for first in iterator:
            part = itertools.chain([first], itertools.islice(iterator, STEPS - 1))
            rows = parallel.map_examples(bound, self.networks, part, self.mesh, on_batch=done)
            yield hosts.gathered_rows(rows)

    def shown(self, name: str, feature: int, attribute: str) -> tuple[np.ndarray, ...]:
        """A held-out photo uint8 [h, w, 3], and bool [h, w]: salient pixels, attribute's mask."""
        example = self.test.example(self.test.names.index(name))
        mask = example["attribute_masks"][self.test.attributes.index(attribute)] > 127
        batch = {"image": np.divide(example["image"][None], 255, dtype=np.float32)}
        batch |= {"attribute_masks": mask[None, None], "units": np.full((1, 1, 1), feature)}
        alone = jax.tree.map(lambda leaf: leaf[None], self.loaded.variables)
        inside = np.unpackbits(_held_out(self.program, alone, batch)["inside"], count=mask.size)
        return example["image"], inside.reshape(mask.shape) > 0, mask


_held_out = jax.jit(held_out, static_argnums=0)
