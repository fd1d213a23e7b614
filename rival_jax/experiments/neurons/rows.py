"""The rows of one network: on the training images that activate features most, and held out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pyarrow.compute as pc

from rival_jax import neurons
from rival_jax.experiments.neurons.passes import Search, held_out
from rival_jax.runtime import hosts, row_files
from rival_jax.runtime.results import Category, Columns


def _names(search: Search, label: np.ndarray, attribute: np.ndarray) -> dict[str, Category]:
    """The columns that all rows begin with."""
    return {
        "model": Category(0 * label, [search.loaded.model.name]),
        "label": Category(label, list(search.test.classes)),
        "attribute": Category(attribute, list(search.test.attributes)),
    }


def search_rows(search: Search) -> Columns:
    """One row for each network, class, attribute that is tested there, feature, and top image.

    Shuffled networks have only the rows of each attribute's best feature.
    """
    examples, top = search.train, search.top()
    each = (len(examples.classes), search.count, -1)  # the networks' features apart
    value, index, iou = (
        np.moveaxis(np.asarray(part).reshape(*each, *part.shape[2:]), 1, 0)
        for part in (*top, search.ious_of_top(top))
    )  # [n, c, f, k], iou [n, c, f, k, a]
    found = index >= 0
    present = examples.attribute_labels[index].astype(bool)
    score = [
        neurons.score(*map(jnp.asarray, one), absent=search.config.neurons.absent)
        for one in zip(iou, present, found, strict=True)
    ]
    best = np.where(search.pairs, [neurons.best_feature(s) for s in score], -1)  # [n, c, a]
    kept = np.zeros(iou.shape, bool)
    kept[0] = found[0, ..., None] & search.pairs[:, None, None]
    network, label, attribute = np.nonzero(best >= 0)
    chosen = (network, label, best[network, label, attribute])
    kept[*chosen, :, attribute] = found[chosen]
    n, c, f, k, a = np.nonzero(kept)
    return {
        **_names(search, c, a),
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


def _best(path: Path, search: Search) -> np.ndarray:
    """The best features [networks, c, a], from a file of `search_rows`; -1 where there is none.

    Process 0 reads them for every host.
    """
    best = np.full((search.count, *search.pairs.shape), -1)
    if hosts.first():
        columns = ["network", "label", "attribute", "feature"]
        rows = row_files.read(path, [*columns, "best"]).filter(pc.field("best"))
        classes, attributes = search.train.classes, search.train.attributes
        for n, c, a, f in zip(*(rows[name].to_pylist() for name in columns), strict=True):
            best[n, classes.index(c), attributes.index(a)] = f
    return hosts.agreed_arrays({"best": best})["best"]


def held_out_rows(search: Search, path: Path) -> tuple[Columns, Columns]:
    """Rows of the best features on held-out images, and of maps against other images' masks.

    The first have one row for each network, class, attribute, and image of the class with the
    attribute. The second have one for each class, attribute, and two of the first
    `permuted_images` of these images.

    Args:
      path: the file with `search_rows`.
    """
    examples, best = search.test, _best(path, search)
    shown = search.pairs[examples.labels] & (examples.attribute_labels > 0)  # [images, a]
    few = shown & (best[0] >= 0)[examples.labels]
    for label in range(len(examples.classes)):
        mine = examples.labels == label
        few[mine] &= few[mine].cumsum(0) <= search.config.neurons.permuted_images
    iou = np.zeros((len(examples), *best.shape[::2]), np.float32)
    activation = iou.copy()
    bits: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}  # map and mask
    feature = np.moveaxis(best[:, examples.labels], 0, 1)  # [images, networks, a]
    batches = ({**b, "units": feature[b["index"]]} for b in examples.batches(search.size))
    for rows in search.rows(held_out, batches):
        index = rows["index"]
        iou[index], activation[index] = rows["iou"], rows["activation"]
        for row, a in np.argwhere(few[index]).tolist():
            bits[int(index[row]), a] = rows["inside"][row, a], rows["masks"][row, a]
    i, n, a = np.nonzero(np.broadcast_to(shown[:, None], feature.shape))
    test = {
        **_names(search, examples.labels[i], a),
        "network": n.astype(np.int16),
        "feature": feature[i, n, a].astype(np.int32),
        "example": Category(i, list(examples.names)),
        "activation": activation[i, n, a],
        "iou": np.where(feature[i, n, a] >= 0, iou[i, n, a], 0),  # without a feature, 0
    }
    return test, _pairing(search, few, bits)


def _pairing(
    search: Search, few: np.ndarray, bits: Mapping[tuple[int, int], tuple[np.ndarray, np.ndarray]]
) -> Columns:
    """IoU of maps with masks, for every two images of a class with an attribute.

    Args:
      few: bool [images, a], which ones take part.
      bits: map and mask of each of them.
    """
    examples = search.test
    places, ious = [np.zeros((0, 4), int)], [np.zeros(0, np.float32)]
    for c, a in itertools.product(range(len(examples.classes)), range(few.shape[1])):
        images = np.flatnonzero(few[:, a] & (examples.labels == c))
        if len(images):
            both = map(np.stack, zip(*(bits[i, a] for i in images.tolist()), strict=True))
            ious.append(neurons.cross_iou(*both).ravel())
            first, second = np.meshgrid(images, images, indexing="ij")
            places.append(
                np.stack([first * 0 + c, first * 0 + a, first, second], -1).reshape(-1, 4)
            )
    label, attribute, of_map, of_mask = np.concatenate(places).T
    names = list(examples.names)
    told = {"map_of": Category(of_map, names), "mask_of": Category(of_mask, names)}
    return {**_names(search, label, attribute), **told, "iou": np.concatenate(ious)}
