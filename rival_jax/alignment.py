"""How well a map sits on a mask: saliency on objects and attributes, segmentations on truths."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rival_jax import sorting
from rival_jax.metrics import check_same

METRICS = (  # of `every`
    *("iou", "dice", "average_precision", "density_gap", "precision"),
    *("coverage_25", "coverage_50", "coverage_75", "pointing_game"),
)


def iou(
    saliency: Float[Array, "*b h w"],
    mask: Num[Array, "*b h w"],
    *,
    threshold: float = 0.5,
    ties_inside: bool = False,
) -> Float[Array, "*b"]:
    """Intersection over union of the map, max-normalised and > threshold, with the mask > 0.

    Args:
      saliency: [*, h, w], >= 0; NaN counts as 0.
      mask: [*, h, w].
      ties_inside: pixels exactly at the threshold count too, as in the study's released code.

    Returns:
      [*] in [0, 1]; 1 where both are empty.

    >>> saliency = jnp.array([[[1.0, 0.9, 0.1]]])
    >>> iou(saliency, jnp.array([[[1, 0, 0]]]))
    Array([0.5], dtype=float32)
    """
    inside, mask = _binary(saliency, mask, threshold, ties_inside)
    both, either = (inside & mask).sum((-2, -1)), (inside | mask).sum((-2, -1))
    return jnp.where(either > 0, both / jnp.maximum(either, 1), 1.0)


def dice(
    saliency: Float[Array, "*b h w"],
    mask: Num[Array, "*b h w"],
    *,
    threshold: float = 0.5,
    ties_inside: bool = False,
) -> Float[Array, "*b"]:
    """Dice coefficient, `2 |A & B| / (|A| + |B|)`; arguments and edge cases as `iou`.

    >>> dice(jnp.array([[1.0, 0.9, 0.1]]), jnp.array([[1, 1, 1]]))
    Array(0.8, dtype=float32)
    """
    inside, mask = _binary(saliency, mask, threshold, ties_inside)
    both, total = (inside & mask).sum((-2, -1)), inside.sum((-2, -1)) + mask.sum((-2, -1))
    return jnp.where(total > 0, 2 * both / jnp.maximum(total, 1), 1.0)


def saliency_density_gap(
    saliency: Float[Array, "*b h w"], mask: Num[Array, "*b h w"]
) -> Float[Array, "*b"]:
    """Mean saliency inside the mask (> 0) minus the mean outside; NaN for an empty or full mask.

    Saliency and mask are [*, h, w]; the study sorts by it to find spurious features (5.4).

    >>> saliency_density_gap(jnp.array([[1.0, 0.5, 0.25, 0.25]]), jnp.array([[1, 1, 0, 0]]))
    Array(0.5, dtype=float32)
    """
    saliency, mask = _saliency_and_mask(saliency, mask)
    inside = (saliency * mask).sum((-2, -1)) / mask.sum((-2, -1))
    return inside - (saliency * ~mask).sum((-2, -1)) / (~mask).sum((-2, -1))


def saliency_precision(
    saliency: Float[Array, "*b h w"], mask: Num[Array, "*b h w"]
) -> Float[Array, "*b"]:
    """Share of the map's mass that lies inside the mask (> 0), [*]; NaN for an all-zero map.

    >>> saliency_precision(jnp.array([[3.0, 0.5, 0.5]]), jnp.array([[1, 0, 0]]))
    Array(0.75, dtype=float32)
    """
    saliency, mask = _saliency_and_mask(saliency, mask)
    return (saliency * mask).sum((-2, -1)) / saliency.sum((-2, -1))


def mask_coverage(
    saliency: Float[Array, "*b h w"],
    mask: Num[Array, "*b h w"],
    *,
    energies: tuple[float, ...] = (0.25, 0.5, 0.75),
) -> Float[Array, "*b e"]:
    """Share of the mask covered by the pixels left after the weakest `energy` of the mass is cut.

    Pixels are sorted ascending; the threshold is the first value at which the running sum exceeds
    `energy` of the total; pixels at or above it count. 0 for an all-zero map, NaN for an empty
    mask.

    Args:
      saliency: [*, h, w], >= 0; NaN counts as 0.
      mask: [*, h, w].

    Returns:
      [*, len(energies)]; the first is the study's "saliency recall".

    >>> mask_coverage(jnp.array([[4.0, 3.0, 2.0, 1.0]]), jnp.array([[1, 1, 1, 1]]))
    Array([0.75, 0.5 , 0.25], dtype=float32)
    """
    check_same("mask", mask, "saliency", saliency)
    # Ranked as in `average_precision`: compiled together, the two share one sort.
    keys, positive = sorting.ranked(_flat(saliency), _flat(mask) > 0)
    values, positive = jnp.maximum(sorting.values_of(keys), 0)[..., ::-1], positive[..., ::-1]
    mass = jnp.cumsum(values, axis=-1)

    def covered(energy: float) -> Array:
        beyond = mass > energy * mass[..., -1:]
        first = jnp.take_along_axis(values, jnp.argmax(beyond, axis=-1)[..., None], axis=-1)
        kept = (values >= first) & beyond.any(-1, keepdims=True)
        return (kept & positive).sum(-1) / positive.sum(-1)

    return jnp.stack([covered(energy) for energy in energies], axis=-1)


def pointing_game(
    saliency: Float[Array, "*b h w"], mask: Num[Array, "*b h w"], *, tolerance: int = 0
) -> Float[Array, "*b"]:
    """Whether the map points at the object: 1 if its maximum lies in the mask (> 0), else 0.

    With several equal maxima, the share of them in the mask; NaN pixels count as 0. A flat map
    points nowhere: NaN. Saliency and mask are [*, h, w]; an empty mask is never hit.

    Args:
      tolerance: how many pixels off the mask the maximum may lie. The source allows 15 on photos
        about 500 wide; 0 suits exact masks.

    Source: Zhang et al., ECCV 2016, section 4.1.

    >>> pointing_game(jnp.array([[[0.2, 0.9]], [[0.9, 0.2]]]), jnp.array([[[0, 1]], [[0, 1]]]))
    Array([1., 0.], dtype=float32)
    """
    saliency, mask = _saliency_and_mask(saliency, mask)
    if tolerance > 0:
        step = jnp.arange(-tolerance, tolerance + 1)
        disc = (step[:, None] ** 2 + step**2 <= tolerance**2).astype(jnp.float32)[None, None]
        flat = mask.reshape(-1, 1, *mask.shape[-2:]).astype(jnp.float32)
        near = jax.lax.conv_general_dilated(flat, disc, (1, 1), "SAME")
        mask = (near > 0.5).reshape(mask.shape)
    peak = saliency.max((-2, -1), keepdims=True)
    at = saliency == peak
    return jnp.where(at.all((-2, -1)), jnp.nan, (at & mask).sum((-2, -1)) / at.sum((-2, -1)))


def average_precision(score: Float[Array, "*n"], target: Num[Array, "*n"]) -> Float[Array, "*b"]:
    """Area under the precision-recall curve of pixels ranked by score, ties taken together.

    `sum_k (recall_k - recall_{k-1}) precision_k` over distinct scores, descending.

    Args:
      score, target: [*, h, w], or the pixels of one map, [n]; target: > 0 is positive.

    Returns:
      [*], one value per map; 0 if no pixel is positive.

    >>> maps = jnp.array([[[4.0, 3.0], [1.0, 0.0]]])
    >>> average_precision(maps, (maps > 2).astype(float))
    Array([1.], dtype=float32)
    """
    check_same("target", target, "score", score)
    if score.ndim > 1:
        score, target = _flat(score), _flat(target)
    score, positive = sorting.ranked(score, target > 0)
    hits = jnp.cumsum(positive.astype(jnp.float32), axis=-1)
    precision = hits / jnp.arange(1, score.shape[-1] + 1)
    last_of_tie = jnp.concatenate(
        [score[..., 1:] != score[..., :-1], jnp.ones_like(score[..., :1], bool)], axis=-1
    )
    reached = jnp.where(last_of_tie, hits, 0)
    before = sorting.running_max(reached)
    before = jnp.concatenate([jnp.zeros_like(before[..., :1]), before[..., :-1]], axis=-1)
    gained = jnp.where(last_of_tie, hits - before, 0)
    return (gained * precision).sum(-1) / jnp.maximum(hits[..., -1], 1)


def every(
    saliency: Float[Array, "b h w"],
    mask: Num[Array, "b h w"],
    *,
    threshold: float = 0.5,
    ties_inside: bool = False,
    tolerance: int = 0,
    flat_is_nan: bool = True,
) -> dict[str, Array]:
    """`METRICS` of every map on its mask, [b] each, and whether the map is `flat`.

    A map without a highest place (also one that is all NaN) says nothing about where the network
    looks: its metrics are NaN, or with `flat_is_nan=False` those of a map of zeros, as released.
    """
    flat = ~(saliency.max((1, 2)) > saliency.min((1, 2)))  # NaN is not above anything
    saliency = jnp.nan_to_num(saliency)
    values = (
        iou(saliency, mask, threshold=threshold, ties_inside=ties_inside),
        dice(saliency, mask, threshold=threshold, ties_inside=ties_inside),
        average_precision(saliency, mask),
        saliency_density_gap(saliency, mask),
        saliency_precision(saliency, mask),
        *jnp.moveaxis(mask_coverage(saliency, mask), -1, 0),
        pointing_game(saliency, mask, tolerance=tolerance),
    )
    left_out, named = flat & flat_is_nan, zip(METRICS, values, strict=True)
    return {"flat": flat, **{name: jnp.where(left_out, jnp.nan, value) for name, value in named}}


def pixel_accuracy(
    prediction: Num[Array, "*b h w"], target: Num[Array, "*b h w"]
) -> Float[Array, "*b"]:
    """Share of pixels where prediction and target agree (> 0), [*, h, w] -> [*].

    >>> pixel_accuracy(jnp.array([[1, 1, 0, 0]]), jnp.array([[1, 0, 0, 0]]))
    Array(0.75, dtype=float32)
    """
    check_same("target", target, "prediction", prediction)
    return ((prediction > 0) == (target > 0)).mean((-2, -1))


def intersection_and_union(
    prediction: Num[Array, "*b h w"], target: Num[Array, "*b h w"]
) -> tuple[Int[Array, "*b 2"], Int[Array, "*b 2"]]:
    """Pixel counts of intersection and union for background and foreground.

    Args:
      prediction, target: [*, h, w], > 0 is foreground.

    Returns:
      (intersection [*, 2], union [*, 2]), last axis (background, foreground). Sum over a data set
      and divide for its mean IoU (RobustViT, table 3).

    >>> both, either = intersection_and_union(jnp.array([[1, 1, 0, 0]]), jnp.array([[1, 0, 0, 0]]))
    >>> (both / either).mean()  # the mean IoU
    Array(0.5833334, dtype=float32)
    """
    check_same("target", target, "prediction", prediction)
    prediction, target = prediction > 0, target > 0
    pairs = ((~prediction, ~target), (prediction, target))
    intersection = jnp.stack([(p & t).sum((-2, -1)) for p, t in pairs], axis=-1)
    return intersection, jnp.stack([(p | t).sum((-2, -1)) for p, t in pairs], axis=-1)


def _flat(maps: Array) -> Array:
    return maps.reshape(*maps.shape[:-2], -1)


def _saliency_and_mask(saliency: Array, mask: Array) -> tuple[Array, Array]:
    saliency, mask = jnp.asarray(saliency), jnp.asarray(mask)
    check_same("mask", mask, "saliency", saliency)
    return jnp.nan_to_num(saliency, nan=0.0), mask > 0


def _binary(saliency: Array, mask: Array, threshold: float, ties: bool) -> tuple[Array, Array]:
    saliency, mask = _saliency_and_mask(saliency, mask)
    peak = saliency.max((-2, -1), keepdims=True)
    share = saliency / jnp.where(peak > 0, peak, 1)
    return (share >= threshold if ties else share > threshold), mask
