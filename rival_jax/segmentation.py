"""Maps cut into object and background, and pooled into the numbers of segmentation tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rival_jax.alignment import average_precision
from rival_jax.metrics import check_same

BINS = 256  # of Otsu's histogram


def otsu(maps: Float[Array, "*b h w"]) -> Float[Array, "*b"]:
    """Otsu's threshold of maps in [0, 1], [*, h, w] -> [*]: it parts values into two classes.

    Of 256 equal bins, the lowest edge at which the variance between the classes is largest; values
    above it are object. A flat map gets its own bin's edge, so that nothing is above it.

    >>> maps = jnp.array([[0.0, 0.1, 0.1, 0.8, 0.9, 1.0]])
    >>> bool(0.1 < otsu(maps) < 0.8)
    True

    Source: Otsu, IEEE Transactions on Systems, Man, and Cybernetics, 1979.
    """
    flat = maps.reshape(*maps.shape[:-2], -1)
    place = jnp.clip(jnp.ceil(BINS * flat) - 1, 0, BINS - 1).astype(jnp.int32)
    count = jnp.vectorize(lambda one: jnp.bincount(one, length=BINS), signature="(n)->(k)")(place)
    share = count / flat.shape[-1]
    below = jnp.cumsum(share, -1)
    moment = jnp.cumsum(share * (jnp.arange(BINS) + 0.5) / BINS, -1)
    room = below * (1 - below)
    between = (moment[..., -1:] * below - moment) ** 2 / jnp.where(room > 0, room, 1)
    found = jnp.argmax(jnp.where(room > 1e-6, between, 0), -1)
    alone = jnp.argmax(count, -1)  # of a flat map
    return (jnp.where((room > 1e-6).any(-1), found, alone) + 1) / BINS


RULES: Mapping[str, Callable[[Array], Array]] = {
    "mean": lambda maps: maps.mean((-2, -1)),  # RobustViT, table 3
    "otsu": otsu,
}
"""Thresholds of maps in [0, 1], [*, h, w] -> [*]."""


def shares(
    marked: Bool[Array, "*b h w"], target: Bool[Array, "*b h w"], labelled: Bool[Array, "*b h w"]
) -> Float[Array, "*b 2"]:
    """What all pixel metrics are made of: (marked object, marked), as shares of all pixels [*, 2].

    Args:
      marked: what a map says, [*, h, w].
      target: the object.
      labelled: pixels that count; others are in neither share.

    Raises:
      ValueError: for shapes that differ.
    """
    check_same("target", target, "marked", marked)
    check_same("labelled", labelled, "marked", marked)
    marked = marked & labelled
    return jnp.stack([(marked & target).mean((-2, -1)), marked.mean((-2, -1))], axis=-1)


def shares_above(
    maps: Float[Array, "*b h w"],
    target: Bool[Array, "*b h w"],
    labelled: Bool[Array, "*b h w"],
    levels: Float[Array, " t"],
) -> Float[Array, "*b t 2"]:
    """`shares` of the pixels at or above each of some levels: points of precision and recall."""
    found = jax.lax.map(lambda level: shares(maps >= level, target, labelled), levels)
    return jnp.moveaxis(found, 0, -2)


def precision_by_averaging(
    maps: Float[Array, "*b h w"],
    target: Bool[Array, "*b h w"],
    labelled: Bool[Array, "*b h w"],
    averaging: Literal["micro", "class"],
) -> Float[Array, "*b"]:
    """Average precision of both classes, object and background, per map; [*].

    Args:
      maps: [*, h, w] in [0, 1], the score of the object; the background's is 1 minus it. A map that
        is 0 everywhere has both scores 0, as released.
      target, labelled: see `shares`.
      averaging: "micro": one ranking of all pixels' both scores against both classes, as released
        with RobustViT and called mAP. "class": the mean of the two classes' own.

    Returns:
      [*] in [0, 1].

    >>> maps, labelled = jnp.array([[0.0, 0.4, 1.0]]), jnp.ones((1, 3), bool)
    >>> given = maps, maps > 0.3, labelled
    >>> [round(float(precision_by_averaging(*given, kind)), 2) for kind in ("micro", "class")]
    [0.92, 1.0]
    """
    empty = maps.max((-2, -1), keepdims=True) == 0
    scores = maps, jnp.where(empty, 0, 1 - maps)
    scores = [jnp.where(labelled, score, jnp.nan) for score in scores]  # NaN ranks last
    targets = [(right & labelled).astype(maps.dtype) for right in (target, ~target)]
    if averaging == "micro":
        both = (jnp.concatenate(parts, axis=-1) for parts in (scores, targets))
        return average_precision(*both)
    each = [average_precision(*pair) for pair in zip(scores, targets, strict=True)]
    return (each[0] + each[1]) / 2


def parts(
    maps: Float[Array, "b h w"],
    mask: Float[Array, "b h w"],
    *,
    rules: Sequence[str] = ("mean",),
    levels: Sequence[float] = (),
    flat_is_nan: bool = False,
) -> dict[str, Array]:
    """What pixel metrics are made of, and average precisions, per map.

    Args:
      maps: [b, h, w] in [0, 1].
      mask: [b, h, w], 1 on the object, 0 on the background, 1/2 where nothing is labelled: such
        pixels count nowhere.
      rules: names in `RULES`, of thresholds that maps are cut above.
      levels: that maps are also cut at, or above.
      flat_is_nan: whether flat maps (also those that are all NaN) give NaN, or what a map of zeros
        does, as released.

    Returns:
      `hit` and `marked` [b, rules + levels], the pixels that are object and marked, and marked;
      `object` and `labelled` [b]: all as shares of all pixels. `map` and `map_class_wise` [b], see
      `precision_by_averaging`. `flat`, bool [b].
    """
    check_same("mask", mask, "maps", maps)
    flat = ~(maps.max((1, 2)) > maps.min((1, 2)))  # NaN is not above anything
    maps = jnp.where(flat[:, None, None], 0, jnp.nan_to_num(maps))
    target, labelled = mask > 0.75, abs(mask - 0.5) > 0.25
    found = [maps > RULES[rule](maps)[:, None, None] for rule in rules]
    found = [shares(marked, target, labelled) for marked in found]
    cuts = jnp.stack(found, axis=1) if found else jnp.zeros((len(maps), 0, 2))
    if levels:
        above = shares_above(maps, target, labelled, jnp.asarray(levels, maps.dtype))
        cuts = jnp.concatenate([cuts, above], axis=1)
    values = {
        "hit": cuts[..., 0],
        "marked": cuts[..., 1],
        "object": target.mean((1, 2)),
        "labelled": labelled.mean((1, 2)),
        "map": precision_by_averaging(maps, target, labelled, "micro"),
        "map_class_wise": precision_by_averaging(maps, target, labelled, "class"),
    }
    drop = (flat & flat_is_nan)[:, None]
    for name, value in values.items():
        values[name] = jnp.where(drop if value.ndim > 1 else drop[:, 0], jnp.nan, value)
    return {"flat": flat, **values}


def pixel_accuracy(hit: Array, marked: Array, target: Array, labelled: Array) -> Array:
    """Share of the labelled pixels that are right, of pooled shares (sums or means of `shares`)."""
    return _ratio(labelled - marked - target + 2 * hit, labelled)


def mean_iou(hit: Array, marked: Array, target: Array, labelled: Array) -> Array:
    """Mean of the IoU of object and of background, of pooled shares; RobustViT, table 3.

    A class that is neither there nor marked has IoU 1.

    >>> float(mean_iou(*(jnp.array(share) for share in (0.25, 0.25, 0.5, 1.0))))
    0.5833333730697632
    """
    both = [(hit, marked + target - hit), (labelled - marked - target + hit, labelled - hit)]
    return (_ratio(*both[0]) + _ratio(*both[1])) / 2


def precision(hit: Array, marked: Array) -> Array:
    """Share of the marked pixels that are object, of pooled shares; 1 where none is marked."""
    return _ratio(hit, marked)


def _ratio(part: Array, whole: Array) -> Array:
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1), 1)
