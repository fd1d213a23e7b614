"""A region of an image taken away: blurred, shuffled, its mean colour, another image's pixels.

The study's own way is `noise.grey_out`. Here too, regions are weights in [0, 1], 1 = replace.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key, UInt32

from rival_jax import maps, noise
from rival_jax.metrics import check_unit

_TINY = 1e-12  # weights below it count as 0
_CELLS = (8, 8)  # of a smooth random field
_WIDTHS = (1 / 4, 1 / 16, 1 / 64)  # of the Gaussians that fill in, as shares of the height


def composite(
    image: Float[Array, "*b h w c"], region: Float[Array, "*b h w"], other: Float[Array, "*b h w c"]
) -> Float[Array, "*b h w c"]:
    """The image with `region` replaced by the pixels of `other`; fractions blend.

    Args:
      image, other: [*, h, w, c] in [0, 1].
      region: [*, h, w] in [0, 1].

    Raises:
      ValueError: for shapes that do not match.

    >>> composite(jnp.ones((1, 2, 1)), jnp.array([[0.0, 1.0]]), jnp.zeros((1, 2, 1)))[..., 0]
    Array([[1., 0.]], dtype=float32)
    """
    _check(image, region, other)
    weight = region[..., None]
    return image * (1 - weight) + other * weight


def mean_colour(
    image: Float[Array, "*b h w c"], region: Float[Array, "*b h w"]
) -> Float[Array, "*b h w c"]:
    """The image with `region` replaced by its own mean colour; an empty region leaves the image.

    Args:
      image: [*, h, w, c] in [0, 1].
      region: [*, h, w] in [0, 1]; also the weights of the mean.
    """
    _check(image, region, image)
    return composite(image, region, jnp.broadcast_to(_mean(image, region), image.shape))


def blur(
    image: Float[Array, "*b h w c"], region: Float[Array, "*b h w"], sigma: float
) -> Float[Array, "*b h w c"]:
    """The image with `region` blurred by a Gaussian that sees this region alone.

    A normalised convolution (Knutsson and Westin, CVPR 1993): weights outside the region are 0, so
    a blurred background holds none of the object's colours. Blurring the whole photo and pasting
    the object back, as is often done, leaves a halo that gives the object away.

    Args:
      image: [*, h, w, c] in [0, 1].
      region: [*, h, w] in [0, 1].
      sigma: standard deviation in pixels, > 0.

    Raises:
      ValueError: for shapes that do not match, or sigma <= 0.
    """
    _check(image, region, image)
    if sigma <= 0:
        raise ValueError(f"sigma got {sigma}, expected > 0; leave the image alone instead")
    found, mass = _smoothed(image, region, sigma)
    return composite(image, region, jnp.where(mass > _TINY, found, image))


def shuffle_patches(
    image: Float[Array, "*b h w c"],
    region: Float[Array, "*b h w"],
    draw: Float[Array, "*b p"],
    *,
    patch: int,
) -> Float[Array, "*b h w c"]:
    """The image with the square patches of `region` in another order: its colours, no layout.

    Patches with at least half of their area in the region trade places among themselves; whatever
    they hold from outside the region is first replaced by the region's mean colour, so that nothing
    of the object moves into the background or the other way round. The rim of an image whose side
    is not a multiple of `patch` stays.

    Args:
      image: [*, h, w, c] in [0, 1].
      region: [*, h, w] in [0, 1].
      draw: [*, (h // patch) * (w // patch)], random numbers whose order decides the patches'.
      patch: side in pixels.

    Raises:
      ValueError: for shapes that do not match.
    """
    _check(image, region, image)
    rows, columns = (size // patch for size in region.shape[-2:])
    if not rows * columns or draw.shape != (*region.shape[:-2], rows * columns):
        raise ValueError(
            f"draw: got {draw.shape}, expected {(*region.shape[:-2], rows * columns)}, one number "
            f"for each whole patch of side {patch}"
        )
    colour = jnp.broadcast_to(_mean(image, region), image.shape)
    alone = composite(colour, region, image)

    def one(pixels: Array, weight: Array, number: Array) -> Array:  # [h, w, c], [h, w], [p]
        shape = rows, patch, columns, patch
        cut = pixels[: rows * patch, : columns * patch]
        patches = cut.reshape(*shape, -1).swapaxes(1, 2).reshape(rows * columns, patch, patch, -1)
        share = weight[: rows * patch, : columns * patch].reshape(shape).mean((1, 3)).ravel()
        moves, place = share >= 0.5, jnp.arange(rows * columns)
        # Both lists end with the patches that stay, in the same order, so these map to themselves.
        to = jnp.argsort(jnp.where(moves, place, place + place.size))
        start = jnp.argsort(jnp.where(moves, jnp.argsort(jnp.argsort(number)), place + place.size))
        moved = patches[place.at[to].set(start)]
        moved = moved.reshape(rows, columns, patch, patch, -1).swapaxes(1, 2)
        return pixels.at[: rows * patch, : columns * patch].set(moved.reshape(cut.shape))

    shuffled = jnp.vectorize(one, signature="(h,w,c),(h,w),(p)->(h,w,c)")(alone, region, draw)
    return composite(image, region, shuffled)


def fill(
    image: Float[Array, "*b h w c"], known: Float[Array, "*b h w"]
) -> Float[Array, "*b h w c"]:
    """The image with its unknown pixels filled in from the known ones around.

    Coarse to fine, as push-pull interpolation does it (Gortler et al., "The Lumigraph", SIGGRAPH
    1996, section 3.4), with Gaussians for its pyramid: narrower ones override wider ones where they
    see enough known pixels. The result is smooth far from known pixels, and no texture is invented;
    with no known pixels it is black.

    Args:
      image: [*, h, w, c] in [0, 1].
      known: [*, h, w] in [0, 1]; fractions blend with what is filled in.
    """
    _check(image, known, image)
    total = jnp.sum(known, (-2, -1))[..., None, None, None]
    mean = (image * known[..., None]).sum((-3, -2), keepdims=True)
    filled = mean / jnp.where(total > _TINY, total, 1)
    for share in _WIDTHS:
        found, mass = _smoothed(image, known, share * known.shape[-2])
        sure = jnp.minimum(mass, 1)  # the mass of one pixel, at the Gaussian's peak, is enough
        filled = found * sure + filled * (1 - sure)
    return composite(filled, known, image)


def random_region(
    within: Float[Array, "*b h w"], area: Float[Array, "*b"], draw: Float[Array, "*b"]
) -> Float[Array, "*b h w"]:
    """A compact region of a given area inside another one, around a random pixel of it.

    It holds the pixels nearest to that one, with their weights in `within`; the farthest weigh
    less, so that the area is exact. It is the control for a part of an object: the same size, in
    the same object.

    Args:
      within: [*, h, w] in [0, 1]; the random pixel is one above 1/2.
      area: [*], the wanted sum of weights; if `within` has less, all of it is taken.
      draw: [*] in [0, 1), which pixel.

    Returns:
      [*, h, w], nowhere above `within`.

    >>> jax.jit(random_region)(jnp.ones((1, 5)), jnp.float32(2), jnp.float32(0.5))
    Array([[0. , 0.5, 1. , 0.5, 0. ]], dtype=float32)
    """
    return jnp.vectorize(_random_region, signature="(h,w),(),()->(h,w)")(within, area, draw)


def _random_region(within: Array, area: Array, draw: Array) -> Array:
    height, width = within.shape
    inside = within > 0.5
    count = inside.sum()
    # The chosen pixel: how many rows end before it, and how many places of its row come before it.
    before = jnp.floor(draw * count).astype(count.dtype)
    ends = jnp.cumsum(inside.sum(1))
    row = jnp.minimum((ends <= before).sum(), height - 1)
    line = inside[row]
    column = (jnp.cumsum(line) + ends[row] - line.sum() <= before).sum()
    y, x = jnp.arange(height)[:, None] - row, jnp.arange(width) - column
    distance, farthest = y**2 + x**2, height**2 + width**2
    wanted = jnp.minimum(area, within.sum())

    def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds  # the radius squared is in (low, high]
        middle = (low + high) // 2
        enough = (within * (distance <= middle)).sum() >= wanted
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

    steps = math.ceil(math.log2(farthest + 1)) + 1
    _, radius = lax.fori_loop(0, steps, halve, (jnp.array(-1), jnp.array(farthest)))
    closer, rim = within * (distance < radius), within * (distance == radius)
    share = (wanted - closer.sum()) / jnp.maximum(rim.sum(), _TINY)
    return closer + jnp.clip(share, 0, 1) * rim


def random_fields(
    key: Key[Array, ""], ids: UInt32[Array, " b"], draws: int, size: tuple[int, int]
) -> Float[Array, "d b h w"]:
    """Smooth random fields of every image, whose highest pixels are blotches.

    No two pixels are equal, so that `sorting.highest` takes exactly as many as it is asked for.

    Args:
      key, ids: see `noise.gaussian`; an image's fields depend on nothing else.
    """
    draw = lambda trial: noise.gaussian(key, ids, trial, _CELLS)  # noqa: E731
    fields = maps.upsample(jax.vmap(draw)(jnp.arange(draws)), size)
    ramp = jnp.arange(size[0] * size[1]).reshape(size) / (size[0] * size[1])
    return fields + 0.01 * ramp  # a resize clamps at the edges, where pixels would be equal


def fit_onto(
    image: Float[Array, "*b h w c"], source: Float[Array, "*b h w"], target: Float[Array, "*b h w"]
) -> Float[Array, "*b h w c"]:
    """The image moved and stretched so that the box around `source` falls onto the one of `target`.

    Bilinear; where the image does not reach, 0. An empty mask's box is the whole image.

    Args:
      image: [*, h, w, c].
      source, target: [*, h, w]; above 1/2 counts.
    """

    def one(pixels: Array, source: Array, target: Array) -> Array:
        (start, size), (to, wanted) = _box(source), _box(target)
        scale = wanted / size
        return jax.image.scale_and_translate(
            pixels, pixels.shape, (0, 1), scale, to - start * scale, "bilinear", antialias=False
        )

    return jnp.vectorize(one, signature="(h,w,c),(h,w),(h,w)->(h,w,c)")(image, source, target)


def example_keys(key: Key[Array, ""], ids: Array) -> Key[Array, " b"]:
    """One key per example: a function of (key, id), whatever the batch. ids: integer [b]."""
    return jax.vmap(lambda one: jax.random.fold_in(key, one))(ids)


def _box(mask: Array) -> tuple[Array, Array]:
    """(top left corner [2], size [2]) of the pixels above 1/2."""
    starts, sizes = [], []
    for axis in (1, 0):
        hit = (mask > 0.5).any(axis)
        hit = hit | ~hit.any()
        start = jnp.argmax(hit)
        starts.append(start)
        sizes.append(hit.size - jnp.argmax(hit[::-1]) - start)
    return jnp.stack(starts).astype(jnp.float32), jnp.stack(sizes).astype(jnp.float32)


def _mean(image: Array, region: Array) -> Array:
    weight = region[..., None]
    total = weight.sum((-3, -2), keepdims=True)
    mean = (image * weight).sum((-3, -2), keepdims=True) / jnp.where(total > _TINY, total, 1)
    return jnp.where(total > _TINY, mean, image.mean((-3, -2), keepdims=True))


def _gaussian(size: int, sigma: float) -> Array:
    place = jnp.arange(size)
    return jnp.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))


def _smoothed(image: Array, weight: Array, sigma: float) -> tuple[Array, Array]:
    """Weighted means around every pixel by a Gaussian of peak 1, and the sums of the weights."""
    weight = weight[..., None]
    down, across = (_gaussian(size, sigma) for size in image.shape[-3:-1])
    both = jnp.concatenate([image * weight, weight], axis=-1)
    both = jnp.einsum("Hh,...hwc->...Hwc", down, both, precision=lax.Precision.HIGHEST)
    both = jnp.einsum("Ww,...hwc->...hWc", across, both, precision=lax.Precision.HIGHEST)
    total, mass = both[..., :-1], both[..., -1:]
    return total / jnp.where(mass > _TINY, mass, 1), mass


def _check(image: Array, region: Array, other: Array) -> None:
    if region.shape != image.shape[:-1]:
        raise ValueError(f"region: got {region.shape}, expected {image.shape[:-1]}, without c")
    if other.shape != image.shape:
        raise ValueError(f"other: got {other.shape}, expected the image's {image.shape}")
    check_unit("image", image)
    check_unit("region", region)
