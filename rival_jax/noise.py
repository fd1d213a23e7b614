"""Noise in a region of an image, keyed so that draws do not depend on how work is split."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Key, UInt32

from rival_jax.metrics import check_unit

REGIONS = ("foreground", "background", "all")
NORMS = ("linf", "l2")
GENERATOR = "threefry2x32"  # of every random number; part of the identity of every unit of results
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def key(seed: int) -> Key[Array, ""]:
    """The key of a seed, for `GENERATOR` whatever JAX_DEFAULT_PRNG_IMPL is."""
    return jax.random.key(seed, impl=GENERATOR)


def level_key(key: Key[Array, ""], level: Float[Array, ""] | float) -> Key[Array, ""]:
    """The key of the draws at one level of noise, from `noise.key(seed)` and the level's value.

    Draws of different levels are independent, so that errors do not add up in a mean over levels,
    and do not depend on which other levels there are. `level`: as for `corrupt`, in float32.
    """
    word = lax.bitcast_convert_type(jnp.asarray(level, jnp.float32), jnp.uint32)
    return jax.random.fold_in(key, word)


def gaussian(
    key: Key[Array, ""],
    noise_id: UInt32[Array, " b"],
    trial: Int[Array, ""] | int,
    shape: tuple[int, ...],
) -> Float[Array, "b ..."]:
    """Unit normal noise of every example: a pure function of (key, noise_id, trial).

    Counter-based Threefry-2x32 (20 rounds; Salmon et al., "Parallel random numbers: as easy as
    1, 2, 3", SC 2011), both words of a block used, then the inverse normal distribution function.
    The numbers are the same for any split over batches, devices or hosts.

    Args:
      key: `noise.key(seed)`, which is `jax.random.key(seed)` in jax's default configuration, or its
        `level_key`.
      noise_id: uint32 [b]; `Batch["noise_id"]`.
      trial: integer scalar.
      shape: of one example, `(h, w, 3)`.

    Returns:
      float32 [b, *shape].

    Raises:
      ValueError: for a key of another generator, whose draws would differ.

    >>> key = jax.random.key(0)
    >>> ids = jnp.arange(4, dtype=jnp.uint32)
    >>> whole = gaussian(key, ids, 3, (8, 8, 3))
    >>> bool((whole[2:] == gaussian(key, ids[2:], 3, (8, 8, 3))).all())
    True
    """
    kind = str(jax.random.key_impl(key))
    if kind != GENERATOR:
        raise ValueError(
            f"key: got one of {kind!r}, expected {GENERATOR!r}; rival_jax.noise.key(seed) makes it"
        )
    size = math.prod(shape)
    counter = lax.iota(jnp.uint32, (size + 1) // 2)

    def draw(one: Array) -> Array:
        words = jax.random.key_data(jax.random.fold_in(jax.random.fold_in(key, one), trial))
        bits = jnp.concatenate(threefry(words[0], words[1], jnp.zeros_like(counter), counter))
        return _normal(bits[:size]).reshape(shape)

    return jax.vmap(draw)(noise_id)


def threefry(key0: Array, key1: Array, word0: Array, word1: Array) -> tuple[Array, Array]:
    """Threefry-2x32-20 of counters (word0, word1), uint32.

    Written out, not looped: XLA fuses the rounds into one vectorised pass over the counters, on a
    CPU five times faster than `jax.random.bits`, with the same result.
    """
    keys = (key0, key1, key0 ^ key1 ^ np.uint32(0x1BD11BDA))
    word0, word1 = word0 + keys[0], word1 + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            word0 = word0 + word1
            left, right = np.uint32(rotation), np.uint32(32 - rotation)
            word1 = word0 ^ ((word1 << left) | (word1 >> right))
        word0 = word0 + keys[(group + 1) % 3]
        word1 = word1 + keys[(group + 2) % 3] + np.uint32(group + 1)
    return word0, word1


def _normal(bits: Array) -> Array:
    """uint32 -> N(0, 1): the top 23 bits as a uniform number in (-1, 1), then erf's inverse."""
    mantissa = (bits >> np.uint32(9)) | np.uint32(0x3F800000)
    unit = lax.bitcast_convert_type(mantissa, jnp.float32) - 1.0  # [0, 1), steps of 2**-23
    return np.float32(np.sqrt(2)) * lax.erf_inv(2.0 * unit - np.float32(1 - 2**-23))


def region_weight(mask: Float[Array, "*b h w"], region: str) -> Float[Array, "*b h w"]:
    """The mask of `region` [*, h, w]: the mask, its complement, or ones."""
    if region not in REGIONS:
        raise ValueError(f"region got {region!r}, expected one of {', '.join(REGIONS)}")
    return {"foreground": mask, "background": 1 - mask, "all": jnp.ones_like(mask)}[region]


def corrupt(
    image: Float[Array, "*b h w c"],
    mask: Float[Array, "*b h w"],
    noise: Float[Array, "*b h w c"],
    *,
    region: str,
    level: Float[Array, ""] | Float[Array, "*b"] | float,
    norm: str,
) -> Float[Array, "*b h w c"]:
    """The image with noise in one region, clipped to [0, 1] (RIVAL10 study, section 5.1).

    `norm="linf"`: `x + level * n * m`, the same strength at every pixel. `norm="l2"`: the region's
    noise `n * m` of each example is first scaled to unit Euclidean norm, so a small object gets
    stronger noise per pixel and large regions are not favoured; an empty region leaves the image.

    Args:
      image: [*, h, w, c] in [0, 1].
      mask: [*, h, w] in [0, 1], 1 on the object; soft edges scale the noise.
      noise: [*, h, w, c], unit normal; share it between regions and models.
      region: "foreground", "background" or "all".
      level: sigma in pixel units of [0, 1] (study: 30/255 ... 210/255), or the l2 norm
        (study: 25 ... 200); a scalar or one per leading axis.
      norm: "linf" or "l2".

    Raises:
      ValueError: for shapes that do not match, an image or mask of integers or beyond [0, 1], an
        unknown region or norm.

    >>> image, mask = jnp.full((2, 2, 1), 0.5), jnp.eye(2)
    >>> noise = jnp.ones((2, 2, 1))
    >>> corrupt(image, mask, noise, region="background", level=0.25, norm="linf")[..., 0]
    Array([[0.5 , 0.75],
           [0.75, 0.5 ]], dtype=float32)
    """
    _check_shapes(image, mask, noise)
    if norm not in NORMS:
        raise ValueError(f"norm got {norm!r}, expected one of {', '.join(NORMS)}")
    delta = noise * region_weight(mask, region)[..., None]
    if norm == "l2":
        length = jnp.sqrt(jnp.sum(delta**2, axis=(-3, -2, -1), keepdims=True))
        delta = delta / jnp.where(length > 0, length, 1)
    level = jnp.asarray(level, image.dtype)
    return jnp.clip(image + level[(..., *(None,) * (3 if level.ndim else 0))] * delta, 0, 1)


def grey_out(
    image: Float[Array, "*b h w c"], region: Float[Array, "*b h w"], value: float = 0.5
) -> Float[Array, "*b h w c"]:
    """The image with `region` replaced by grey (RIVAL10 study, section 5.3).

    Args:
      image: [*, h, w, c] in [0, 1].
      region: [*, h, w] in [0, 1]; 1 = replace, fractions blend.
      value: the grey, in [0, 1].

    Raises:
      ValueError: for shapes that do not match, integers, values beyond [0, 1].

    >>> grey_out(jnp.ones((1, 2, 1)), jnp.array([[0.0, 1.0]]))[..., 0]
    Array([[1. , 0.5]], dtype=float32)
    """
    _check_shapes(image, region, image)
    weight = region[..., None]
    return image * (1 - weight) + value * weight


def _check_shapes(image: Array, mask: Array, noise: Array) -> None:
    if mask.shape != image.shape[:-1]:
        raise ValueError(f"mask: got {mask.shape}, expected {image.shape[:-1]} (image without c)")
    if noise.shape != image.shape:
        raise ValueError(f"noise: got {noise.shape}, expected the image's {image.shape}")
    check_unit("image", image)
    check_unit("mask", mask)
