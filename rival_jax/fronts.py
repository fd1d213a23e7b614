"""What is gained at what price: points that no other beats, and the best one within a bound."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def on_front(price: Float[Array, "*b n"], gain: Float[Array, "*b n"]) -> Bool[Array, "*b n"]:
    """Whether no other point has a lower price and as much gain, or more gain at the same price.

    >>> on_front(jnp.array([0.0, 1.0, 2.0]), jnp.array([0.0, 3.0, 2.0])).tolist()
    [True, True, False]
    """
    dear, poor = price[..., :, None], gain[..., :, None]  # against the others, on the last axis
    cheap, rich = price[..., None, :], gain[..., None, :]
    beaten = (cheap <= dear) & (rich >= poor) & ((cheap < dear) | (rich > poor))
    return ~beaten.any(-1)


def within(
    price: Float[Array, "*b n"], gain: Float[Array, "*b n"], *, bound: float
) -> Int[Array, "*b"]:
    """The point with the largest gain among those whose price is at most `bound`.

    The first of equal ones; -1 where no such point gains anything.

    >>> price, gain = jnp.array([0.0, 0.01, 0.05]), jnp.array([0.0, 0.03, 0.09])
    >>> int(within(price, gain, bound=0.02)), int(within(price, -gain, bound=0.02))
    (1, -1)
    """
    worth = (price <= bound) & (gain > 0)
    best = jnp.where(worth, gain, -jnp.inf).argmax(-1)
    return jnp.where(worth.any(-1), best, -1)
