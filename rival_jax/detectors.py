"""Features of a network and of shuffled copies, against masks of attributes; what beats chance.

A network's variables and its copies', see `neurons.with_shuffled`, are stacked along a first axis.
They see each batch one after the other, so that photos and masks are decoded once.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rival_jax import neurons, significance
from rival_jax.types import Batch, Model, Variables


class Program(NamedTuple):
    """What passes are compiled for."""

    model: Model  # without its name, so that equal networks share programs
    pooled: bool  # see `neurons.is_pooled`
    threshold: float  # see `neurons.salient`


def program(model: Model, variables: Variables, image: Array, threshold: float) -> Program:
    """A network's `Program`; runs some images [b, h, w, 3] to see if its features are pooled."""
    model = dataclasses.replace(model, name="")
    _, found = jax.jit(model.forward)(variables, image, {})
    pooled = neurons.is_pooled(model.to_grid(found[model.cam_tap]), found[model.feature_tap])
    return Program(model, pooled, threshold)


def features(program: Program, networks: Variables, batch: Batch) -> dict[str, Array]:
    """Penultimate features [b, networks, f], and the label."""
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


class Chosen(NamedTuple):
    """Each attribute's feature, by its top images."""

    score: np.ndarray  # [n, c, f, a], see `neurons.score`
    best: np.ndarray  # int [n, c, a], -1 where there is none
    kept: np.ndarray  # bool [n, c, f, k, a]: the network's features, and the copies' best ones


def chosen(
    iou: np.ndarray, present: np.ndarray, found: np.ndarray, pairs: np.ndarray, absent: str
) -> Chosen:
    """Chooses features of n networks, of which the first is the one in question.

    Args:
      iou: of maps and attributes' masks on top images [n, c, f, k, a].
      present: whether an image has the attribute, likewise.
      found: whether the image exists [n, c, f, k].
      pairs: bool [c, a], the classes and attributes that count.
      absent: see `neurons.score`.
    """
    score = [
        neurons.score(*map(jnp.asarray, one), absent=absent)
        for one in zip(iou, present, found, strict=True)
    ]
    best = np.where(pairs, [neurons.best_feature(one) for one in score], -1)
    kept = np.zeros(iou.shape, bool)
    kept[0] = found[0, ..., None] & pairs[:, None, None]
    network, label, attribute = np.nonzero(best >= 0)
    place = (network, label, best[network, label, attribute])
    kept[*place, :, attribute] = found[place]
    return Chosen(np.stack(score), best, kept)


class Crossed(NamedTuple):
    """IoU of an image's map with another's mask, for two images of a class with an attribute."""

    label: np.ndarray  # [r] each
    attribute: np.ndarray
    of_map: np.ndarray  # positions of images
    of_mask: np.ndarray
    iou: np.ndarray


def crossed(
    labels: np.ndarray,
    some: np.ndarray,
    bits: Mapping[tuple[int, int], tuple[np.ndarray, np.ndarray]],
) -> Crossed:
    """Every two images of a class with an attribute, also each with itself.

    Args:
      labels: of the images [n].
      some: bool [n, a], which images take part.
      bits: of (image, attribute), map and mask as bits, see `held_out`.
    """
    nothing = np.zeros(0, int)
    parts = [(*[nothing] * 4, nothing.astype(np.float32))]
    for c, a in itertools.product(range(labels.max() + 1), range(some.shape[1])):
        images = np.flatnonzero(some[:, a] & (labels == c))
        if n := len(images):
            both = map(np.stack, zip(*(bits[i, a] for i in images.tolist()), strict=True))
            place = np.full(n * n, c), np.full(n * n, a), np.repeat(images, n), np.tile(images, n)
            parts.append((*place, neurons.cross_iou(*both).ravel()))
    return Crossed(*map(np.concatenate, zip(*parts, strict=True)))


def pair_means(values: np.ndarray, labels: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Means [networks] by (class, attribute), over the images of the class that have a value.

    Args:
      values: of held-out images [n, networks, a], see `held_out`; NaN where one does not count.
      labels: the images' classes [n].

    >>> values = np.array([[[0.5, 0.25]], [[np.nan, 0.75]]])
    >>> {pair: mean.tolist() for pair, mean in pair_means(values, np.zeros(2, int)).items()}
    {(0, 0): [0.5], (0, 1): [0.5]}
    """
    found = {}
    for label, a in itertools.product(np.unique(labels).tolist(), range(values.shape[2])):
        mine = values[labels == label, :, a]
        if len(mine := mine[np.isfinite(mine[:, 0])]):
            found[label, a] = mine.mean(0)
    return found


class Assessed(NamedTuple):
    """What the tests of a network's detectors say."""

    each: dict[str, np.ndarray]  # of every pair [t]: p-values, q, whether it is reported, ...
    whole: dict[str, float]  # of all pairs together


def assessed(
    scores: np.ndarray,
    cross: Sequence[np.ndarray],
    rate: float,
    *,
    permutations: int = 9999,
    seed: int = 0,
) -> Assessed:
    """Tests each pair of a class and an attribute once, against two nulls.

    A pair's p-value is the larger of `significance.pairing_p_value`'s and `shuffled_p_values`', so
    both have to be small; all pairs together are adjusted for false discovery.

    Args:
      scores: mean held-out IoU of each pair's best feature [networks, t]: of the network in
        question, then of shuffled ones, if there are any.
      cross: IoU of every image's map with every image's mask, of each pair, as for
        `pairing_p_value`; [0, 0] without a feature.
      rate: of false discovery.
      permutations, seed: of `pairing_p_value`.

    Returns:
      of every pair `p_pairing`, `q` and `reported`; `tested` and `reported`, numbers of pairs. With
      shuffled networks also their mean score (`shuffled_iou`) of every pair and over all pairs,
      `p_shuffled`, and in how many of them, each in the network's place, some pair would pass
      (`shuffled_reporting`).
    """
    options = {"permutations": permutations, "seed": seed}
    pairing = np.array([significance.pairing_p_value(one, **options) for one in cross])
    several = len(scores) > 1
    shuffled = significance.shuffled_p_values(scores) if several else 0 * pairing
    q = significance.benjamini_hochberg(np.maximum(pairing, shuffled))
    each = {"p_pairing": pairing, "q": q, "reported": q <= rate}
    whole = {"tested": float(len(q)), "reported": float((q <= rate).sum())}
    if several:
        alarms = significance.false_alarms(scores, rate)
        each |= {"shuffled_iou": scores[1:].mean(0), "p_shuffled": shuffled}
        whole |= {"shuffled_iou": float(scores[1:].mean()), "shuffled_reporting": float(alarms)}
    return Assessed(each, whole)
