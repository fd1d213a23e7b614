"""The rows of `neurons`: top images of the training split, and held-out images."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import data, neurons
from rival_jax.experiments.neurons.passes import Passes, Search, unit_maps
from rival_jax.runtime import hosts, row_files
from rival_jax.runtime.results import Category, Columns
from rival_jax.types import Array, Model, Variables

Bits = dict[tuple[int, int], np.ndarray]
"""(image, attribute) -> pixels as bits."""


@dataclasses.dataclass(frozen=True)
class Studied:
    """One network with its data.

    Attributes:
      pairs: bool [c, a], classes and attributes with enough images in both splits.
      settings: `config.neurons`.
      depends_on: everything that determines the contents of its files of rows.
    """

    model: Model
    variables: Variables
    train: data.Examples
    test: data.Examples
    pairs: np.ndarray
    batch_size: int
    settings: Any
    depends_on: Mapping[str, Any]

    @functools.cached_property
    def search(self) -> Search:
        """What the passes are compiled for; looks at two images to see if features are pooled."""
        model, few = self.model, next(iter(self.test.batches(2, everywhere=True)))["image"]

        @jax.jit
        def layers(variables: Variables, images: Array) -> tuple[Array, Array]:
            found = model.forward(variables, images, {})[1]
            return model.to_grid(found[model.cam_tap]), found[model.feature_tap]

        pooled = neurons.is_pooled(*layers(self.variables, jnp.asarray(few)))
        return Search.of(model, pooled, float(self.settings.threshold))

    @functools.cached_property
    def _salient(self) -> Callable[..., Array]:
        @jax.jit
        def salient(variables: Variables, image: Array, unit: Array) -> Array:
            _, raw = unit_maps(self.search, variables, image, unit)
            size = (image.shape[1], image.shape[2])
            return neurons.salient(raw[0, 0], size, threshold=self.search.threshold)

        return salient

    def shown(self, name: str, feature: int, attribute: str) -> tuple[np.ndarray, ...]:
        """A held-out photo uint8 [h, w, 3], and bool [h, w]: salient pixels, attribute's mask."""
        example = self.test.example(self.test.names.index(name))
        image = jnp.asarray(example["image"][None], jnp.float32) / 255
        salient = self._salient(self.variables, image, jnp.full((1, 1), feature))
        mask = example["attribute_masks"][self.test.attributes.index(attribute)] > 127
        return example["image"], np.asarray(salient), mask


def with_shuffled(variables: Variables, count: int, seed: int) -> Variables:
    """The network, then `count` with its weights permuted within every tensor, stacked.

    A network whose weights are exchangeable within each tensor, as any initialised at random, is
    one draw more of these; what training put into a network is gone, and the size and spread of
    its weights stay.
    """
    generators = [np.random.default_rng([seed, i]) for i in range(count)]

    def stacked(leaf: Array) -> Array:
        own = np.asarray(leaf)
        drawn = [rng.permutation(own.ravel()).reshape(own.shape) for rng in generators]
        return jnp.asarray(np.stack([own, *drawn]))

    return jax.tree.map(stacked, dict(variables))


def search_rows(studied: Studied, passes: Passes) -> Columns:
    """One row per network, class, feature, top image and attribute of the class's pairs.

    Of the shuffled networks the best features only, for each its own attribute.
    """
    examples, count, settings = studied.train, passes.count, studied.settings
    batches = functools.partial(examples.batches, studied.batch_size)
    attributes, classes = len(examples.attributes), len(examples.classes)
    top = passes.top(batches, classes, settings.top)
    iou = passes.ious_of_top(batches, examples.rows_of_hosts, top, attributes)
    shape = (classes, count, -1, settings.top)
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
    kept[0] = (found[0, ..., None]) & studied.pairs[:, None, None]
    network, label, attribute = np.nonzero(best >= 0)
    chosen = (network, label, best[network, label, attribute])
    kept[*chosen, :, attribute] = found[chosen]
    n, c, f, k, a = np.nonzero(kept)
    return {
        **_names(studied, c, a),
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


def best_of(path: Path, studied: Studied, count: int) -> np.ndarray:
    """The best features [networks, c, a] in the rows of a search; -1 where there is none.

    Process 0 reads them for every host.
    """
    classes, attributes = studied.train.classes, studied.train.attributes
    best = np.full((count, len(classes), len(attributes)), -1)
    if hosts.first():
        columns = ("network", "label", "attribute", "feature")
        rows = row_files.read(path, [*columns, "best"])
        rows = rows.filter(rows["best"])
        for n, c, a, f in zip(*(rows[name].to_pylist() for name in columns), strict=True):
            best[n, classes.index(c), attributes.index(a)] = f
    return hosts.agreed_arrays({"best": best})["best"]


def held_out_rows(studied: Studied, passes: Passes, best: np.ndarray) -> tuple[Columns, Columns]:
    """Rows of the best features on held-out images, and of maps against other images' masks.

    The first: one row per network, class, attribute and image of the class with the attribute. The
    second: one per class, attribute and two of the first `permuted_images` such images.
    """
    examples = studied.test
    shown = studied.pairs[examples.labels] & (examples.attribute_labels > 0)  # [n, a]
    few = shown & (_running(examples, shown) <= studied.settings.permuted_images)
    iou = np.zeros((len(examples), *best.shape[::2]), np.float32)
    activation = iou.copy()
    bits: dict[str, Bits] = {"inside": {}, "masks": {}}
    for rows in passes.held_out(functools.partial(examples.batches, studied.batch_size), best):
        index = rows["index"]
        iou[index], activation[index] = rows["iou"], rows["activation"]
        for row, a in np.argwhere(few[index]).tolist():
            for name, kept in bits.items():
                kept[int(index[row]), a] = rows[name][row, a]
    # no feature, no saliency: IoU 0
    feature = np.moveaxis(best[:, examples.labels], 0, 1)  # [images, networks, a]
    i, n, a = np.nonzero(np.broadcast_to(shown[:, None], feature.shape))
    test = {
        **_names(studied, examples.labels[i], a),
        "network": n.astype(np.int16),
        "feature": feature[i, n, a].astype(np.int32),
        "example": Category(i, list(examples.names)),
        "activation": activation[i, n, a],
        "iou": np.where(feature[i, n, a] >= 0, iou[i, n, a], 0),
    }
    return test, _pairing(studied, best[0], few, bits)


def _running(examples: data.Examples, shown: np.ndarray) -> np.ndarray:
    """How many images of the class with the attribute there are up to each, itself included."""
    members = examples.labels[:, None] == np.arange(len(examples.classes))  # [n, c]
    counts = (members[..., None] & shown[:, None]).cumsum(0)  # [n, c, a]
    return counts[np.arange(len(counts)), examples.labels]


@jax.jit
def _cross_iou(inside: Array, masks: Array) -> Array:
    """IoU of every map with every mask, [images, images], of zeros and ones [images, pixels]."""
    return neurons.attribute_iou(inside > 0, masks)


def _pairing(
    studied: Studied, best: np.ndarray, few: np.ndarray, bits: Mapping[str, Bits]
) -> Columns:
    labels, parts = studied.test.labels, []
    pairs = np.argwhere(studied.pairs & (best >= 0)).tolist()
    images = [np.flatnonzero(few[:, a] & (labels == c)) for c, a in pairs]
    most = max(map(len, images), default=0)  # one shape for all pairs, so that one is compiled
    for (c, a), rows in zip(pairs, images, strict=True):
        stacked = (
            np.stack([bits[name][i, a] for i in rows.tolist()]) for name in ("inside", "masks")
        )
        pixels = (np.unpackbits(some, axis=1) for some in stacked)
        full = (np.pad(p, ((0, most - len(rows)), (0, 0))) for p in pixels)
        cross = np.asarray(_cross_iou(*full))[: len(rows), : len(rows)]
        first, second = np.indices(cross.shape).reshape(2, -1)
        parts.append((first * 0 + c, first * 0 + a, rows[first], rows[second], cross.ravel()))
    empty = (np.zeros(0, int),) * 4 + (np.zeros(0, np.float32),)
    label, attribute, of_map, of_mask, iou = map(np.concatenate, zip(empty, *parts, strict=True))
    names = list(studied.test.names)
    return {
        **_names(studied, label, attribute),
        "map_of": Category(of_map, names),
        "mask_of": Category(of_mask, names),
        "iou": np.asarray(iou),
    }


def _names(studied: Studied, label: np.ndarray, attribute: np.ndarray) -> dict[str, Category]:
    return {
        "model": Category(0 * label, [studied.model.name]),
        "label": Category(label, list(studied.test.classes)),
        "attribute": Category(attribute, list(studied.test.attributes)),
    }
