"""Which feature of a network stands for which attribute: top images, and maps against masks."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num, Shaped

from rival_jax import maps
from rival_jax.types import Model, Variables

MOST_UNITS = 64  # features of an image whose maps are made together, at most


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


def wanted(index: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The features to look at in the top images, as rows of equal width.

    An image has several rows if more features want it than fit into one.

    Args:
      index: of `neurons.Top`, [c, networks x f, k].
      count: of networks.

    Returns:
      each row's image, ascending [r]; its features and their places in `index`, int32
      [r, networks, u], -1 where there is none.
    """
    slot = np.flatnonzero(index >= 0)
    image = index.ravel()[slot].astype(np.int64)
    column = slot // index.shape[2] % index.shape[1]
    network, unit = np.divmod(column, index.shape[1] // count)
    order = np.lexsort((network, image))
    slot, image, network, unit = (part[order] for part in (slot, image, network, unit))
    pair = image * count + network
    many = np.bincount(pair, minlength=(index.max() + 1) * count).reshape(-1, count).max(1)
    width = int(np.clip(np.quantile(many[many > 0], 0.9), 1, MOST_UNITS))
    turn, place = np.divmod(np.arange(len(slot)) - np.searchsorted(pair, pair), width)
    key = image * (turn.max() + 1) + turn
    _, first, row = np.unique(key, return_index=True, return_inverse=True)
    tables = np.full((2, len(first), count, width), -1, np.int32)
    tables[:, row, network, place] = unit, slot
    return image[first], tables[0], tables[1]


def cross_iou(inside: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """IoU [n, n] of every map with every mask, of pixels packed as bits, uint8 [n, bytes]."""
    count = lambda bits: np.bitwise_count(bits).sum(-1, dtype=np.int64)  # noqa: E731
    both = count(inside[:, None] & masks)
    either = count(inside)[:, None] + count(masks) - both
    return (both / np.maximum(either, 1)).astype(np.float32)


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
