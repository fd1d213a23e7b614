"""The rows of `neurons`: top images of the training split, and held-out images."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import data, neurons
from rival_jax.experiments._neuron_passes import Passes
from rival_jax.report.neurons import positions
from rival_jax.runtime import hosts
from rival_jax.runtime.results import Category, Columns, read_rows
from rival_jax.types import Array, Batch, Model, Variables


class Studied(NamedTuple):
    """One network with its data."""

    model: Model
    variables: Variables
    train: data.Examples
    test: data.Examples
    pairs: np.ndarray  # bool [c, a]: class and attribute with enough images in both splits
    batch_size: int
    depends_on: dict[str, Any]  # all that the rows' bytes follow from


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


def search_rows(config: Any, studied: Studied, passes: Passes) -> Columns:
    """One row per network, class, feature, top image and attribute of the class's pairs.

    Of the shuffled networks the best features only, for each its own attribute.
    """
    examples, count = studied.train, passes.count
    batches = functools.partial(examples.batches, studied.batch_size)
    attributes, classes = len(examples.attributes), len(examples.classes)
    top = passes.top(batches, classes, config.neurons.top)
    iou = passes.ious_of_top(batches, examples.rows_of_hosts, top, attributes)
    shape = (classes, count, -1, config.neurons.top)
    value, index = (np.moveaxis(np.asarray(part).reshape(shape), 1, 0) for part in top)
    iou = np.moveaxis(iou.reshape(*shape, attributes), 1, 0)  # [n, c, f, k, a]
    found = index >= 0
    present = examples.attribute_labels[index].astype(bool)
    score = [
        neurons.score(*map(jnp.asarray, one), absent=config.neurons.absent)
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
    """The best features [networks, c, a] in the rows of a search; -1 where there is none."""
    rows = read_rows(path)
    rows = rows.filter(rows["best"])
    shape = (count, len(studied.train.classes), len(studied.train.attributes))
    best = np.full(shape, -1)
    place = (
        rows["network"].to_numpy(),
        positions(rows["label"], studied.train.classes),
        positions(rows["attribute"], studied.train.attributes),
    )
    best[place] = rows["feature"].to_numpy()
    return best


def held_out_rows(
    config: Any, studied: Studied, passes: Passes, best: np.ndarray
) -> tuple[Columns, Columns]:
    """Rows of the best features on held-out images, and of maps against other images' masks.

    The first: one row per network, class, attribute and image of the class with the attribute. The
    second: one per class, attribute and two of the first `permuted_images` such images.
    """
    examples = studied.test
    shown = studied.pairs[examples.labels] & (examples.attribute_labels > 0)  # [n, a]
    iou = np.zeros((len(examples), *best.shape[::2]), np.float32)
    activation = iou.copy()
    bits: dict[tuple[int, int], np.ndarray] = {}
    masks: dict[tuple[int, int], np.ndarray] = {}
    few = shown & (_running(examples, shown) <= config.neurons.permuted_images)

    def noted() -> Iterator[Batch]:
        for batch in examples.batches(studied.batch_size):
            index, drawn = np.asarray(batch["index"]), np.asarray(batch["attribute_masks"])
            for row, i in enumerate(index.tolist()):
                for a in np.flatnonzero(few[i]).tolist() if i >= 0 else ():
                    masks[i, a] = np.packbits(drawn[row, a] > 0.5)
            yield batch

    for rows in passes.held_out(noted, best):
        index = rows["index"]
        iou[index], activation[index] = rows["iou"], rows["activation"]
        for row, i in enumerate(index.tolist()):
            for a in np.flatnonzero(few[i]).tolist():
                bits[i, a] = rows["inside"][row, a]
    masks = _of_all_hosts(masks)
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
    return test, _pairing(studied, best[0], few, bits, masks)


def _of_all_hosts(masks: dict[tuple[int, int], np.ndarray]) -> dict[tuple[int, int], np.ndarray]:
    """Bits by image and attribute, of every host's images."""
    if hosts.count() == 1:
        return masks
    keys = np.array([*masks], np.int32).reshape(-1, 2)
    width = max(hosts.gathered(max((len(bits) for bits in masks.values()), default=0)))
    bits = np.array([*masks.values()], np.uint8).reshape(-1, width)
    found = hosts.gathered_rows({"key": keys, "bits": bits})
    return {(i, a): row for (i, a), row in zip(found["key"].tolist(), found["bits"], strict=True)}


def _running(examples: data.Examples, shown: np.ndarray) -> np.ndarray:
    """How many images of the class with the attribute there are up to each, itself included."""
    running = np.zeros(shown.shape, int)
    for label in range(len(examples.classes)):
        of_class = examples.labels == label
        running[of_class] = shown[of_class].cumsum(0)
    return running


@jax.jit
def _cross_iou(inside: Array, masks: Array) -> Array:
    """IoU of every map with every mask, [images, images], of zeros and ones [images, pixels]."""
    return neurons.attribute_iou(inside > 0, masks)


def _pairing(
    studied: Studied,
    best: np.ndarray,
    few: np.ndarray,
    bits: dict[Any, np.ndarray],
    masks: dict[Any, np.ndarray],
) -> Columns:
    labels, parts = studied.test.labels, []
    pairs = np.argwhere(studied.pairs & (best >= 0)).tolist()
    images = [np.flatnonzero(few[:, a] & (labels == c)) for c, a in pairs]
    most = max(map(len, images), default=0)  # one shape for all pairs, so that one is compiled
    for (c, a), rows in zip(pairs, images, strict=True):
        pixels = (np.unpackbits(np.stack([v[i, a] for i in rows]), axis=1) for v in (bits, masks))
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
