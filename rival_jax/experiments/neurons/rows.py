"""The rows of one network: top images of the training split, and held-out images."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.compute as pc
from jax.sharding import Mesh

from rival_jax import data, neurons
from rival_jax.configs.neurons import Neurons
from rival_jax.experiments.neurons.passes import Passes, Search
from rival_jax.runtime import hosts, placement, row_files
from rival_jax.runtime.results import Category, Columns
from rival_jax.types import Array, Model, Variables


@dataclasses.dataclass(frozen=True)
class Studied:
    """One network with its data, and how it is searched."""

    model: Model
    variables: Variables
    train: data.Examples
    test: data.Examples
    pairs: np.ndarray  # bool [c, a], classes and attributes with enough images in both splits
    batch_size: int
    settings: Neurons
    seed: int  # of the shuffled networks
    mesh: Mesh
    advance: Callable[[int], None]  # told how many images x networks were done

    @functools.cached_property
    def search(self) -> Search:
        """What the passes are compiled for; looks at two images to see if features are pooled."""
        model = dataclasses.replace(self.model, name="")
        images = jnp.asarray(next(iter(self.test.batches(2, everywhere=True)))["image"])
        _, found = jax.jit(model.forward)(self.variables, images, {})
        grid = model.to_grid(found[model.cam_tap])
        pooled = neurons.is_pooled(grid, found[model.feature_tap])
        return Search(model, pooled, float(self.settings.threshold))

    @functools.cached_property
    def passes(self) -> Passes:
        """By the network and its shuffled ones, which are made when this is first asked for."""
        count = self.settings.shuffled
        networks = neurons.with_shuffled(self.variables, count, self.seed)
        placed = placement.placed(networks, self.mesh, "replicated")
        return Passes(self.search, placed, 1 + count, self.mesh, self.advance)

    def shown(self, name: str, feature: int, attribute: str) -> tuple[np.ndarray, ...]:
        """A held-out photo uint8 [h, w, 3], and bool [h, w]: salient pixels, attribute's mask."""
        example = self.test.example(self.test.names.index(name))
        image = jnp.asarray(example["image"][None], jnp.float32) / 255
        salient = _salient(self.search, self.variables, image, jnp.full((1, 1), feature))
        mask = example["attribute_masks"][self.test.attributes.index(attribute)] > 127
        return example["image"], np.asarray(salient), mask

    def names(self, label: np.ndarray, attribute: np.ndarray) -> dict[str, Category]:
        """The columns that all rows begin with."""
        return {
            "model": Category(0 * label, [self.model.name]),
            "label": Category(label, list(self.test.classes)),
            "attribute": Category(attribute, list(self.test.attributes)),
        }


@functools.partial(jax.jit, static_argnums=0)
def _salient(search: Search, variables: Variables, image: Array, unit: Array) -> Array:
    """Bool [h, w] of one image [1, h, w, 3] and feature [1, 1]."""
    _, raw = neurons.unit_maps(search.model, variables, image, unit, pooled=search.pooled)
    size = (image.shape[1], image.shape[2])
    return neurons.salient(raw[0, 0], size, threshold=search.threshold)


def search_rows(studied: Studied) -> Columns:
    """One row per network, class, feature, top image and attribute of the class's pairs.

    Of the shuffled networks the best features only, for each its own attribute.
    """
    examples, passes, settings = studied.train, studied.passes, studied.settings
    batches = functools.partial(examples.batches, studied.batch_size)
    attributes, classes = len(examples.attributes), len(examples.classes)
    top = passes.top(batches, classes, settings.top)
    iou = passes.ious_of_top(batches, examples.rows_of_hosts, top, attributes)
    shape = (classes, passes.count, -1, settings.top)
    value, index = (np.moveaxis(np.asarray(part).reshape(shape), 1, 0) for part in top)
    iou = np.moveaxis(iou.reshape(*shape, attributes), 1, 0)  # [n, c, f, k, a]
    found = index >= 0
    present = examples.attribute_labels[index].astype(bool)
    score = [
        neurons.score(*map(jnp.asarray, one), absent=settings.absent)
        for one in zip(iou, present, found, strict=True)
    ]
    best = np.where(studied.pairs, [neurons.best_feature(s) for s in score], -1)  # [n, c, a]
    kept = np.zeros(iou.shape, bool)
    kept[0] = found[0, ..., None] & studied.pairs[:, None, None]
    network, label, attribute = np.nonzero(best >= 0)
    chosen = (network, label, best[network, label, attribute])
    kept[*chosen, :, attribute] = found[chosen]
    n, c, f, k, a = np.nonzero(kept)
    return {
        **studied.names(c, a),
        "network": n.astype(np.int16),
        "feature": f.astype(np.int32),
        "rank": k.astype(np.int16),
        "example": Category(index[n, c, f, k], list(examples.names)),
        "activation": value[n, c, f, k],
        "present": present[n, c, f, k, a],
        "iou": iou[n, c, f, k, a],
        "score": np.stack(score)[n, c, f, a],
        "best": best[n, c, a] == f,
    }


def _best(path: Path, studied: Studied) -> np.ndarray:
    """The best features [networks, c, a] in the rows of a search; -1 where there is none.

    Process 0 reads them for every host.
    """
    best = np.full((1 + studied.settings.shuffled, *studied.pairs.shape), -1)
    if hosts.first():
        columns = ["network", "label", "attribute", "feature"]
        rows = row_files.read(path, [*columns, "best"]).filter(pc.field("best"))
        classes, attributes = studied.train.classes, studied.train.attributes
        for n, c, a, f in zip(*(rows[name].to_pylist() for name in columns), strict=True):
            best[n, classes.index(c), attributes.index(a)] = f
    return hosts.agreed_arrays({"best": best})["best"]


def held_out_rows(studied: Studied, search: Path) -> tuple[Columns, Columns]:
    """Rows of the best features on held-out images, and of maps against other images' masks.

    The first: one row per network, class, attribute and image of the class with the attribute. The
    second: one per class, attribute and two of the first `permuted_images` such images.

    Args:
      search: the file of `search_rows`.
    """
    examples, best = studied.test, _best(search, studied)
    shown = studied.pairs[examples.labels] & (examples.attribute_labels > 0)  # [n, a]
    members, few = {}, np.zeros(shown.shape, bool)
    for c, a in np.argwhere(studied.pairs & (best[0] >= 0)).tolist():
        images = np.flatnonzero(shown[:, a] & (examples.labels == c))
        members[c, a] = images[: studied.settings.permuted_images]
        few[members[c, a], a] = True
    iou = np.zeros((len(examples), *best.shape[::2]), np.float32)
    activation = iou.copy()
    bits: dict[tuple[int, int], tuple[np.ndarray, ...]] = {}  # of (image, attribute)
    batches = functools.partial(examples.batches, studied.batch_size)
    for rows in studied.passes.held_out(batches, best):
        index = rows["index"]
        iou[index], activation[index] = rows["iou"], rows["activation"]
        for row, a in np.argwhere(few[index]).tolist():
            bits[int(index[row]), a] = rows["inside"][row, a], rows["masks"][row, a]
    # no feature, no saliency: IoU 0
    feature = np.moveaxis(best[:, examples.labels], 0, 1)  # [images, networks, a]
    i, n, a = np.nonzero(np.broadcast_to(shown[:, None], feature.shape))
    test = {
        **studied.names(examples.labels[i], a),
        "network": n.astype(np.int16),
        "feature": feature[i, n, a].astype(np.int32),
        "example": Category(i, list(examples.names)),
        "activation": activation[i, n, a],
        "iou": np.where(feature[i, n, a] >= 0, iou[i, n, a], 0),
    }
    return test, _pairing(studied, members, bits)


def _pairing(
    studied: Studied,
    members: Mapping[tuple[int, int], np.ndarray],
    bits: Mapping[tuple[int, int], Sequence[np.ndarray]],
) -> Columns:
    """IoU of every map with every mask of the `members` of a pair; `bits`: map and mask."""
    parts, most = [], max(map(len, members.values()), default=0)  # one shape, compiled once
    for (c, a), images in members.items():
        both = zip(*(bits[i, a] for i in images.tolist()), strict=True)
        pixels = (np.unpackbits(np.stack(some), axis=1) for some in both)
        full = (np.pad(p, ((0, most - len(images)), (0, 0))) for p in pixels)
        cross = np.asarray(_cross_iou(*full))[: len(images), : len(images)]
        first, second = np.indices(cross.shape).reshape(2, -1)
        parts.append((first * 0 + c, first * 0 + a, images[first], images[second], cross.ravel()))
    empty = (np.zeros(0, int),) * 4 + (np.zeros(0, np.float32),)
    label, attribute, of_map, of_mask, iou = map(np.concatenate, zip(empty, *parts, strict=True))
    names = list(studied.test.names)
    told = {"map_of": Category(of_map, names), "mask_of": Category(of_mask, names)}
    return {**studied.names(label, attribute), **told, "iou": np.asarray(iou)}


@jax.jit
def _cross_iou(inside: Array, masks: Array) -> Array:
    """[images, images], of zeros and ones [images, pixels]."""
    return neurons.attribute_iou(inside > 0, masks)
