"""Layer-wise relevance propagation: how a layer's inputs share the relevance of its output.

Each rule is for one kind of layer, of one example; biases get nothing. Signs are kept: a share may
be negative. Rules that divide do so by `divided`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

EPSILON = 1e-9  # added to every divisor


def divided(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """a / (b + 1e-9), and 0 where b is 0; broadcasts.

    >>> divided(jnp.array([1.0, 1.0]), jnp.array([2.0, 0.0])).tolist()
    [0.5, 0.0]
    """
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b + EPSILON))


def linear(
    x: Float[Array, "*n f"],
    kernel: Float[Array, "f g"],
    relevance: Float[Array, "*n g"],
    *,
    apart: bool = False,
) -> Float[Array, "*n f"]:
    """Relevance of the inputs of `x @ kernel`: in proportion to their positive contributions.

    Args:
      relevance: of the outputs.
      apart: whether contributions of positive and of negative inputs are each shared out in full,
        as in the older rules; relevance then doubles.

    Source: Chefer et al., CVPR 2021, section 3.1 (the rule with alpha 1, beta 0).

    >>> linear(jnp.array([1.0, -1.0]), jnp.array([[3.0], [-1.0]]), jnp.ones(1)).tolist()
    [0.75, 0.25]
    """
    halves = [(jax.nn.relu(s * x), jax.nn.relu(s * kernel)) for s in (1, -1)]
    sums = [one @ weights for one, weights in halves]
    sums = sums if apart else [sums[0] + sums[1]] * 2
    shares = (
        one * (divided(relevance, total) @ weights.T)
        for (one, weights), total in zip(halves, sums, strict=True)
    )
    return sum(shares, jnp.zeros_like(x))


def product(
    a: Float[Array, "*n i j"], b: Float[Array, "*n j k"], relevance: Float[Array, "*n i k"]
) -> tuple[Float[Array, "*n i j"], Float[Array, "*n j k"]]:
    """Relevance of both factors of a matrix product `a @ b`, half of it for each.

    >>> product(jnp.ones((1, 2)), jnp.array([[1.0], [3.0]]), jnp.ones((1, 1)))[0].tolist()
    [[0.125, 0.375]]
    """
    share = divided(relevance, a @ b)
    return a * (share @ b.swapaxes(-1, -2)) / 2, b * (a.swapaxes(-1, -2) @ share) / 2


def added(
    a: Float[Array, "n f"],
    b: Float[Array, "n f"],
    relevance: Float[Array, "n f"],
    *,
    balanced: bool = True,
) -> tuple[Float[Array, "n f"], Float[Array, "n f"]]:
    """Relevance of both terms of a sum `a + b`, in proportion to them.

    Args:
      balanced: whether shares are scaled so that each term gets a part of the whole relevance in
        proportion to the magnitude of its sum of shares, since the two may cancel. Not in the older
        rules.

    Source: Chefer et al., CVPR 2021, equations 9 and 10.

    >>> added(jnp.array([[3.0]]), jnp.array([[-1.0]]), jnp.ones((1, 1)), balanced=False)
    (Array([[1.5]], dtype=float32), Array([[-0.5]], dtype=float32))
    >>> added(jnp.array([[3.0]]), jnp.array([[-1.0]]), jnp.ones((1, 1)))
    (Array([[0.75]], dtype=float32), Array([[0.25]], dtype=float32))
    """
    share = divided(relevance, a + b)
    shares = a * share, b * share
    if not balanced:
        return shares
    sums = [one.sum() for one in shares]
    whole = jnp.abs(sums[0]) + jnp.abs(sums[1])
    parts = [divided(jnp.abs(one), whole) * relevance.sum() for one in sums]
    found = [
        share * divided(part, one) for share, part, one in zip(shares, parts, sums, strict=True)
    ]
    return found[0], found[1]


def copied(x: Float[Array, "*n"], *relevances: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Relevance of a value that several layers read: the sum of what each gave it; 0 where x is 0.

    >>> copied(jnp.array([2.0, 0.0]), jnp.ones(2), jnp.ones(2)).tolist()
    [2.0, 0.0]
    """
    return x * sum((divided(one, x) for one in relevances), jnp.zeros_like(x))


def patches(
    images: Float[Array, "h w c"], kernel: Float[Array, "p p c f"], relevance: Float[Array, "n f"]
) -> Float[Array, "h w c"]:
    """Relevance of the pixels of one image that is cut into square patches: the z^B rule.

    Args:
      images: normalised; its own least and largest value bound the pixels.
      kernel: of the patches' embedding; relevance: of the patches, row by row.

    Source: Montavon et al., Pattern Recognition 2017, section 4.3.
    """
    size, (h, w, c) = kernel.shape[0], images.shape
    cut = images.reshape(h // size, size, w // size, size, c).swapaxes(1, 2)
    x, flat = cut.reshape(-1, size * size * c), kernel.reshape(-1, kernel.shape[-1])
    low, high = jnp.full_like(x, images.min()), jnp.full_like(x, images.max())
    up, down = jax.nn.relu(flat), -jax.nn.relu(-flat)
    share = relevance / (x @ flat - low @ up - high @ down + EPSILON)
    found = x * (share @ flat.T) - low * (share @ up.T) - high * (share @ down.T)
    return found.reshape(cut.shape).swapaxes(1, 2).reshape(images.shape)
