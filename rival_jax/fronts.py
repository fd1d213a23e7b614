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


def cross_fitted(
    price: Float[Array, "*b 2 n"], gain: Float[Array, "*b 2 n"], *, bound: float
) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    """Price and gain of the point chosen by `within`, on images that had no part in choosing it.

    The best of many points, judged on the images that it was chosen on, looks better than it is.
    Here each half of the images chooses a point for the other half, and both are averaged; a half
    on which no point within the bound gains anything takes none, at no price and without gain.

    Args:
      price, gain: of every point on each half.

    >>> price, gain = jnp.zeros((2, 2)), jnp.array([[0.1, 0.3], [0.4, 0.2]])
    >>> [round(float(value), 2) for value in cross_fitted(price, gain, bound=0.02)]
    [0.0, 0.15]
    """
    point = jnp.flip(within(price, gain, bound=bound), -1)[..., None]
    taken = (jnp.where(point < 0, 0, _at(values, point)) for values in (price, gain))
    price_taken, gain_taken = (values.mean((-2, -1)) for values in taken)
    return price_taken, gain_taken


def _at(values: Array, place: Array) -> Array:
    return jnp.take_along_axis(values, jnp.maximum(place, 0), axis=-1)
