"""Which feature of a network stands for which attribute: top images, maps against masks, tests."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num, Shaped

from rival_jax import maps, significance
from rival_jax.types import Model, Variables


class Top(NamedTuple):
    """The k images of each class that activate each feature most, strongest first."""

    value: Float[Array, "c f k"]  # -inf where a class has fewer than k images
    index: Int[Array, "c f k"]  # int32, -1 there


def no_top(num_classes: int, num_features: int, k: int) -> Top:
    """What `merge_top` starts from."""
    shape = (num_classes, num_features, k)
    return Top(jnp.full(shape, -jnp.inf), jnp.full(shape, -1, jnp.int32))


@jax.jit
def merge_top(
    top: Top, features: Float[Array, "b f"], labels: Int[Array, " b"], index: Int[Array, " b"]
) -> Top:
    """`top` after more images: memory does not grow with the number of images seen.

    Images may come in any order and in batches of any size; ties go to the lower index.

    Args:
      top: so far, see `no_top`.
      features: activations; NaN never enters the top.
      labels: classes in [0, c).
      index: the images' ids, >= 0; a negative one marks padding.

    >>> top = no_top(1, 1, 2)
    >>> features = jnp.array([[1.0], [3.0], [2.0]])
    >>> merge_top(top, features, jnp.zeros(3, int), jnp.arange(3)).index[0, 0].tolist()
    [1, 2]
    """
    place = jnp.arange(top.value.shape[-1])

    def insert(top: Top, image: tuple[Array, Array, Array]) -> tuple[Top, None]:
        found, label, name = image
        found, values, names = found[:, None], top.value[label], top.index[label]
        ahead = (values > found) | ((values == found) & (names < name) & (names >= 0))
        taken = jnp.isnan(found) | (name < 0)
        rank = jnp.where(taken, len(place), ahead.sum(-1, keepdims=True))

        def inserted(old: Array, new: Array) -> Array:
            return jnp.where(
                place < rank, old, jnp.where(place == rank, new, jnp.roll(old, 1, axis=-1))
            )

        row = Top(inserted(values, found), inserted(names, name.astype(jnp.int32)))
        return Top(*(old.at[label].set(new) for old, new in zip(top, row, strict=True))), None

    return jax.lax.scan(insert, top, (features, labels, index))[0]


def is_pooled(grid: Num[Array, "b h w c"], features: Num[Array, "b f"]) -> bool:
    """Whether the features are the spatial means of a layer's channels.

    GradCAM of such a feature is its own channel, so no gradient is needed. False for features that
    are linear in the pooled channels. Not for use under jit.
    """
    if grid.shape[::3] != features.shape:
        return False
    mean = np.asarray(grid, np.float32).mean((1, 2))
    return np.allclose(mean, features, rtol=1e-2, atol=1e-2 * np.abs(mean).max())


def unit_maps(
    model: Model, variables: Variables, image: Array, units: Int[Array, "b u"], *, pooled: bool
) -> tuple[Float[Array, "b u"], Float[Array, "b u h w"]]:
    """Activation, and raw GradCAM on the network's grid, of some features of each image.

    With global average pooling, the map of a feature is its own channel. Otherwise one forward pass
    is run, and each feature's gradient to the layer that class maps read; `saliency.explain` with
    `taps.unit_score` gives the same, with one forward pass per feature.

    Args:
      image: [b, H, W, 3]. pooled: see `is_pooled`.
    """
    tap = model.cam_tap
    if pooled:
        _, found = model.forward(variables, image, {})
        grid, values = model.to_grid(found[tap]), found[model.feature_tap]
        channels = jnp.take_along_axis(grid, units[:, None, None], axis=-1)
        return jnp.take_along_axis(values, units, axis=1), jnp.moveaxis(channels, -1, 1)
    shape = jax.eval_shape(lambda x: model.forward(variables, x, {})[1][tap], image)

    def forward(added: Array) -> tuple[Array, Array]:
        found = model.forward(variables, image, {tap: added})[1]
        return found[model.feature_tap], found[tap]

    values, back, activations = jax.vjp(forward, jnp.zeros(shape.shape, shape.dtype), has_aux=True)
    activations = model.to_grid(activations)

    def one(unit: Array) -> Array:
        (gradient,) = back(jax.nn.one_hot(unit, values.shape[1], dtype=values.dtype))
        return maps.gradcam(activations, model.to_grid(gradient))

    raw = jnp.moveaxis(jax.lax.map(one, units.T), 0, 1)
    return jnp.take_along_axis(values, units, axis=1), raw


def salient(
    raw: Float[Array, "*b h w"], size: tuple[int, int], *, threshold: float = 0.5
) -> Bool[Array, "*b H W"]:
    """A feature's saliency: the pixels of `size` where its map exceeds `threshold` of its range.

    That is `maps.cam_scaled(...) > threshold` of the map's peak: negative values cut off, resized
    bilinearly, from 0 at the lowest to 1 at the highest pixel. A flat map, or one with NaN, has
    none.

    Args:
      raw: maps on a network's grid.
    """
    raw = jax.nn.relu(jnp.nan_to_num(raw, nan=0.0))
    low, high = raw.min((-2, -1), keepdims=True), raw.max((-2, -1), keepdims=True)
    raw = (raw - low) / jnp.where(high > low, high - low, 1)
    axes = list(zip(raw.shape[-2:], size, strict=True))
    rows, columns = (_weights(old, new) for old, new in axes)
    ends = (rows[_ends(*axes[0])], columns[_ends(*axes[1])])
    # Bilinear: between four grid points, extremes are at the outermost pixels, so the range needs
    # only those.
    corners = _resized(raw, *ends)
    low, high = corners.min((-2, -1), keepdims=True), corners.max((-2, -1), keepdims=True)
    return _resized(raw, rows, columns) > low + threshold * (high - low)


def attribute_iou(
    inside: Bool[Array, "*b u p"], masks: Shaped[Array, "*b a p"], *, empty: float = 0.0
) -> Float[Array, "*b u a"]:
    """Intersection over union of every map with every mask of the same image.

    Counted on words of 32 pixels, several times faster than a product of matrices, and exact.

    Args:
      inside: pixels of u maps (`salient`, flattened). masks: of a attributes, > 0 is inside.
      empty: the value if both are empty. The study's metric gives 1, so that a feature that is flat
        on images without the attribute beats any that marks it on the others.

    Returns:
      in [0, 1]; 0 if one of the two is empty.
    """
    inside, masks = _bits(inside), _bits(masks > 0)
    both = _count(inside[..., :, None, :] & masks[..., None, :, :])
    either = _count(inside)[..., :, None] + _count(masks)[..., None, :] - both
    return jnp.where(either > 0, both / jnp.maximum(either, 1), empty)


def score(
    iou: Float[Array, "*b k a"],
    present: Bool[Array, "*b k a"],
    found: Bool[Array, "*b k"],
    *,
    absent: str = "empty",
) -> Float[Array, "*b a"]:
    """How well a feature marks each attribute: its mean IoU on its top images (study, section 6).

    Args:
      iou: of the feature's map with each attribute's mask, on each of its k top images.
      present: whether the image has the attribute.
      found: whether the image exists (a class may have fewer than k).
      absent: an image without the attribute counts with its "empty" mask, or is "left_out".

    Returns:
      in [0, 1]; NaN if no image counts.

    Raises:
      ValueError: for another value of `absent`.
    """
    if absent not in ("empty", "left_out"):
        raise ValueError(f"absent: got {absent!r}, expected one of empty, left_out")
    counts = jnp.broadcast_to(found[..., None], iou.shape)
    counts = counts & present if absent == "left_out" else counts
    return jnp.where(counts, iou, 0).sum(-2) / counts.sum(-2)  # 0 / 0 is NaN


def best_feature(scores: Float[Array, "*b f a"]) -> Int[Array, "*b a"]:
    """The feature with the highest score for each attribute; ties go to the lowest index.

    -1 if no feature has a score above 0, as when all are dead (flat on all images).
    """
    clean = jnp.nan_to_num(scores, nan=0.0)
    return jnp.where(clean.max(-2) > 0, jnp.argmax(clean, axis=-2), -1)


def with_shuffled(variables: Variables, count: int, seed: int) -> Variables:
    """A network, then `count` copies with weights permuted within every tensor, stacked.

    The copies lose what training learned, but keep the size and spread of the weights.
    """
    generators = [np.random.default_rng([seed, i]) for i in range(count)]

    def stacked(leaf: Array) -> Array:
        own = np.asarray(leaf)
        drawn = [rng.permutation(own.ravel()).reshape(own.shape) for rng in generators]
        return jnp.asarray(np.stack([own, *drawn]))

    return jax.tree.map(stacked, dict(variables))


def pairing_p_value(
    cross: Float[np.ndarray, "n n"], *, permutations: int = 9999, seed: int = 0
) -> float:
    """Permutation test of whether a feature follows an attribute from image to image.

    Null: which image's map goes with which image's mask does not matter, as for a feature that
    marks the place where the attribute of this class usually is. The statistic is the mean IoU.

    Args:
      cross: IoU of image i's map with image j's mask; n images of one class.
      permutations: random ones, besides the identity.

    Returns:
      (1 + permutations as good as the identity) / (1 + permutations), never below the truth on
      average; 1 for fewer than two images.
    """
    cross = np.asarray(cross, np.float64)
    rng, rows = np.random.default_rng(seed), np.arange(len(cross))
    observed = cross[rows, rows].mean() if len(cross) else 0.0
    orders = rng.permuted(np.tile(rows, (permutations, 1)), axis=1)
    as_good = (cross[rows, orders].mean(1) >= observed - 1e-12).sum() if len(cross) else orders.size
    return float((1 + as_good) / (1 + permutations)) if len(cross) > 1 else 1.0


def shuffled_p_values(scores: Float[np.ndarray, "networks t"]) -> Float[np.ndarray, " t"]:
    """Permutation test of whether a network has detectors that shuffled weights do not have.

    Null: weights are exchangeable within each tensor, as in any randomly initialised network: the
    network is one more draw of the shuffled ones, and any row could have been the first. Features
    of random convolutions do follow bright, dark or large parts from image to image, so
    `pairing_p_value` alone reports many of them; here all rows contain them. A task's excess is its
    score minus the mean of all networks on it; the excesses of all tasks form one reference
    distribution, so a few networks resolve small p-values.

    Args:
      scores: of the network in question, then of shuffled ones; t tasks, such as the held-out IoU
        of the best feature for each class and attribute, with the feature selected anew per
        network.

    Returns:
      (1 + shuffled excesses as large) / (1 + shuffled excesses); all 1 if there are none. Uniform
      over the tasks under the null. If only some tasks are null and spreads differ, the average
      over tasks is controlled, as in SAM (Tusher et al., PNAS 2001).
    """
    excess = np.asarray(scores, np.float64)
    excess = excess - excess.mean(0, keepdims=True)
    reference = np.sort(excess[1:].ravel())
    as_large = len(reference) - np.searchsorted(reference, excess[0] - 1e-12)
    return (1 + as_large) / (1 + len(reference))


def false_alarms(scores: Float[np.ndarray, "networks t"], rate: float) -> int:
    """In how many shuffled networks `shuffled_p_values` finds something, each put in first place.

    `rate` is the false discovery rate.
    """
    others = scores[1:]
    found = [shuffled_p_values(np.roll(others, -i, axis=0)) for i in range(len(others))]
    return sum(bool((significance.benjamini_hochberg(p) <= rate).any()) for p in found)


def _bits(pixels: Array) -> Array:
    """bool [*, p] as words uint32 [*, ceil(p / 32)]."""
    pixels = jnp.pad(pixels, [(0, 0)] * (pixels.ndim - 1) + [(0, -pixels.shape[-1] % 32)])
    # A word's bits lie far apart, so that neighbouring words are made together.
    pixels = pixels.reshape(*pixels.shape[:-1], 32, -1).astype(jnp.uint32)
    return (pixels << jnp.arange(32, dtype=jnp.uint32)[:, None]).sum(-2, dtype=jnp.uint32)


def _count(words: Array) -> Array:
    """The number of bits that are 1, int32 [*]."""
    return jax.lax.population_count(words).sum(-1, dtype=jnp.int32)


def _resized(raw: Array, rows: Array, columns: Array) -> Array:
    return jnp.einsum("Hh,...hw,Ww->...HW", rows, raw, columns, precision="highest")


def _weights(old: int, new: int) -> Array:
    """[new, old]: what each old value contributes to each new one in a bilinear resize."""
    return jax.image.resize(jnp.eye(old), (new, old), "bilinear", antialias=False)


def _ends(old: int, new: int) -> np.ndarray:
    """The first and last new pixel between each two neighbours of the old grid."""
    between = np.floor((np.arange(new) + 0.5) * old / new - 0.5)
    _, first = np.unique(between, return_index=True)
    return np.unique([*first, *(first[1:] - 1), new - 1])
