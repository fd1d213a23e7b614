"""k nearest neighbours in a network's features, searched exactly, and their votes on classes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, UInt8, UInt32

BLOCK = 8192  # features compared at once: a block of similarities, not all, is in memory


def neighbours(
    queries: Float[Array, "b f"],
    bank: Float[Array, "n f"],
    k: int,
    *,
    own: Int[Array, "b"] | None = None,
    block: int = BLOCK,
) -> tuple[Float[Array, "b k"], Int[Array, "b k"]]:
    """The `k` features of the bank that are most like each query, the nearest first.

    Args:
      queries, bank: of any length; compared by their directions, a feature of zeros is like none.
      k: of equally similar features, those first in the bank.
      own: the place of each query's own photo in the bank, which is left out; -1: it is not there.
        If k is n, there is then no last neighbour: its cosine is -inf, and its place -1.
      block: features of the bank that are compared at once; results do not depend on it.

    Returns:
      Cosines in [-1, 1], and places in the bank.

    Raises:
      ValueError: unless 1 <= k <= n.

    >>> bank = jnp.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    >>> neighbours(jnp.array([[0.0, 1.0]]), bank, 2)[1].tolist()
    [[1, 2]]
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f"k: got {k}, expected 1 to {len(bank)}, the size of the bank")
    queries, bank = _unit(queries), _unit(bank)
    block = min(block, len(bank))
    padded = jnp.pad(bank, ((0, -len(bank) % block), (0, 0))).reshape(-1, block, bank.shape[1])
    own = jnp.full(len(queries), -1) if own is None else own

    def nearer(best: tuple[Array, Array], part: tuple[Array, Array]) -> tuple[tuple, None]:
        some, start = part
        place = start + jnp.arange(block)
        cosine = jnp.matmul(queries, some.T, precision="highest")
        out = (place >= len(bank)) | (place == own[:, None])
        every = jnp.concatenate([best[0], jnp.where(out, -jnp.inf, cosine)], axis=1)
        places = jnp.concatenate([best[1], jnp.broadcast_to(place, cosine.shape)], axis=1)
        cosine, kept = lax.top_k(every, k)  # earlier ones first
        return (cosine, jnp.take_along_axis(places, kept, axis=1)), None

    none = jnp.full((len(queries), k), -jnp.inf, bank.dtype), jnp.full((len(queries), k), -1)
    starts = jnp.arange(0, len(padded) * block, block)
    (cosine, place), _ = lax.scan(nearer, none, (padded, starts))
    return cosine, place


def weighted_vote(
    cosine: Float[Array, "b k"],
    labels: Int[Array, "b k"],
    num_classes: int,
    *,
    temperature: float | Float[Array, ""] = 0.07,
) -> Float[Array, "b c"]:
    """Each class's share of the votes, a neighbour's weighing exp(cosine / temperature).

    The exponents are shifted by their maximum, so that none overflows, in any precision.

    Source: Wu et al., CVPR 2018; DINO's evaluation.

    >>> weighted_vote(jnp.array([[1.0, 1.0, 0.0]]), jnp.array([[1, 0, 0]]), 2)[0].round(3).tolist()
    [0.5, 0.5]
    """
    weight = jax.nn.softmax(cosine / temperature, axis=1)
    return (weight[..., None] * jax.nn.one_hot(labels, num_classes, dtype=weight.dtype)).sum(1)


def majority_vote(labels: Int[Array, "b k"], num_classes: int) -> Float[Array, "b c"]:
    """Each class's share of the neighbours.

    >>> majority_vote(jnp.array([[1, 0, 1, 1]]), 2)[0].tolist()
    [0.25, 0.75]
    """
    return jax.nn.one_hot(labels, num_classes).mean(1)


def elected(shares: Float[Array, "b c"], labels: Int[Array, "b k"]) -> Int[Array, "b"]:
    """The class with the largest share; of several, that of the nearest neighbour among them.

    >>> elected(jnp.array([[0.5, 0.5]]), jnp.array([[1, 0]])).tolist()
    [1]
    """
    among = jnp.take_along_axis(shares, labels, axis=1) == shares.max(1, keepdims=True)
    return jnp.take_along_axis(labels, among.argmax(1, keepdims=True), axis=1)[:, 0]


def elections(
    cosine: Float[Array, "b k"],
    labels: Int[Array, "b k"],
    num_classes: int,
    *,
    votes: Sequence[str],
    numbers: Sequence[int],
    temperature: float = 0.07,
) -> tuple[Float[Array, "b v n c"], Int[Array, "b v n"]]:
    """The classes' shares and the class `elected`, for each kind of vote and number of neighbours.

    Args:
      cosine, labels: of the nearest neighbours, at least as many as the largest of `numbers`.
      votes: "weighted" or "majority". temperature: of the first.
    """
    parts = []
    for vote, k in itertools.product(votes, numbers):
        near, like = labels[:, :k], cosine[:, :k]
        if vote == "weighted":
            shares = weighted_vote(like, near, num_classes, temperature=temperature)
        else:
            shares = majority_vote(near, num_classes)
        parts.append((shares, elected(shares, near)))
    shares, found = (jnp.stack(part, axis=1) for part in zip(*parts, strict=True))
    shape = (len(labels), len(votes), len(numbers))
    return shares.reshape(*shape, num_classes), found.reshape(shape)


def pixel_hash(images: UInt8[Array, "b h w c"]) -> UInt32[Array, "b 2"]:
    """64 bits of every photo: equal for equal pixels, and as good as never for others.

    >>> pixel_hash(jnp.zeros((2, 1, 1, 3), jnp.uint8)).tolist()
    [[0, 0], [0, 0]]
    """
    flat = images.reshape(len(images), -1).astype(jnp.uint32)
    place = jnp.arange(1, flat.shape[1] + 1, dtype=jnp.uint32)
    weights = _mixed(jnp.stack([place, place ^ jnp.uint32(0x9E3779B9)], axis=1))
    return (flat[..., None] * weights).sum(1, dtype=jnp.uint32)


def _mixed(x: Array) -> Array:
    """Odd numbers without a pattern, from counters (Murmur3's last steps)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return (x ^ (x >> 16)) | 1


def _unit(features: Array) -> Array:
    length = jnp.linalg.norm(features, axis=1, keepdims=True)
    return features / jnp.where(length > 0, length, 1)
