"""Sufficient input subsets: the few pixels that are enough for a network to be confident.

Pixels are removed step by step, those whose loss costs least first; the confidence before each step
is recorded. A subset is sufficient if the network is as confident of it as a threshold asks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

Confidence = Callable[[Array], Array]
"""From what is removed, [b, ...] with 1 where it is gone, to the chosen class's probability [b]."""

NEVER = -1  # in an order: not removed
QUARTERS = 4  # parts of `exact_order`, each with fewer candidates than the one before


def order_in_steps(
    confidence: Confidence,
    shape: tuple[int, ...],
    per_step: int,
    *,
    score: Float[Array, "b h w"] | None = None,
    steps: int | None = None,
) -> tuple[Int[Array, "b h w"], Float[Array, "s b"]]:
    """The step in which each pixel is removed, and the confidence before each step.

    Args:
      confidence: see `Confidence`; images must not mix.
      shape: (images, height, width).
      per_step: pixels removed at once: those with the largest derivative of the confidence with
        respect to their removal; of equal ones, those first in the image.
      score: a fixed order instead, highest first: a control.
      steps: default: until all pixels are removed. Pixels that never are have the order -1.

    Returns:
      The order, and confidences; the one of step i is without i * per_step pixels.

    Raises:
      ValueError: unless 1 <= per_step <= height * width.

    Source: Carter et al., NeurIPS 2021, batched gradient SIS; RobustViT, appendix A.

    >>> weights = jnp.array([[[0.1, 0.6, 0.3]]])
    >>> left = lambda removed: ((1 - removed) * weights).sum((1, 2))
    >>> order_in_steps(left, (1, 1, 3), 1)[0].tolist()
    [[[0, 2, 1]]]
    """
    images, height, width = shape
    pixels = height * width
    if not 1 <= per_step <= pixels:
        raise ValueError(f"per_step: got {per_step}, expected 1 to {pixels}, all pixels")
    steps = -(-pixels // per_step) if steps is None else steps
    rows = jnp.arange(images)[:, None]

    def total(removed: Array) -> tuple[Array, Array]:
        each = confidence(removed)
        return each.sum(), each

    def step(order: Array, number: Array) -> tuple[Array, Array]:
        gone = order != NEVER
        removed = gone.astype(jnp.float32).reshape(shape)
        if score is None:
            slope, each = jax.grad(total, has_aux=True)(removed)
        else:
            slope, each = score, confidence(removed)
        wanted = jnp.where(gone, -jnp.inf, slope.reshape(images, pixels))
        _, chosen = lax.top_k(wanted, per_step)
        new = jnp.zeros_like(gone).at[rows, chosen].set(True) & ~gone
        return jnp.where(new, number, order), each

    start = jnp.full((images, pixels), NEVER, jnp.int32)
    order, recorded = lax.scan(step, start, jnp.arange(steps, dtype=jnp.int32))
    return order.reshape(shape), recorded


def exact_order(
    confidence: Confidence, shape: tuple[int, int]
) -> tuple[Int[Array, "b n"], Float[Array, "n b"]]:
    """The order in which n parts are removed one by one, and the confidence before each removal.

    Each time all remaining parts are tried, and the one goes without which the confidence is
    highest; of equal ones, the first. About 5/8 n^2 evaluations.

    Args:
      confidence: see `Confidence`, of parts.
      shape: (images, parts).

    Source: Carter et al., AISTATS 2019, algorithm BackSelect.

    >>> both = lambda removed: 1 - removed[:, 0] * removed[:, 2]  # the first or the third
    >>> exact_order(both, (1, 3))[0].tolist()
    [[0, 1, 2]]
    """
    images, parts = shape
    order, before = jnp.full(shape, NEVER, jnp.int32), confidence(jnp.zeros(shape))
    rows, recorded = jnp.arange(images), []

    def removal(count: int, state: tuple[Array, Array], number: Array) -> tuple[tuple, Array]:
        order, before = state
        gone = order != NEVER
        tried = jnp.argsort(gone, axis=1, stable=True)[:, :count]  # remaining parts come first

        def without(part: Array) -> Array:
            return confidence(gone.at[rows, part].set(True).astype(jnp.float32))

        found = lax.map(without, tried.T).T
        found = jnp.where(jnp.take_along_axis(gone, tried, axis=1), -jnp.inf, found)
        best = found.argmax(1)
        order = order.at[rows, tried[rows, best]].set(number)
        return (order, found[rows, best]), before

    ends = [round(parts * quarter / QUARTERS) for quarter in range(QUARTERS + 1)]
    for start, end in itertools.pairwise(ends):
        part = lambda state, number, n=parts - start: removal(n, state, number)  # noqa: E731
        numbers = jnp.arange(start, end, dtype=jnp.int32)
        (order, before), some = lax.scan(part, (order, before), numbers)
        recorded.append(some)
    return order, jnp.concatenate(recorded)


def patch_order(
    confidence: Confidence, shape: tuple[int, ...], cells: tuple[int, ...]
) -> tuple[Int[Array, "b h w"], Float[Array, "n b"]]:
    """`exact_order` of the patches of images, told of their pixels.

    Args:
      confidence: of pixels, as for `order_in_steps`. shape: (images, height, width).
      cells: rows and columns of patches; they divide height and width.
    """
    images, height, width = shape

    def wide(parts: Array) -> Array:
        parts = parts.reshape(-1, *cells).repeat(height // cells[0], axis=1)
        return parts.repeat(width // cells[1], axis=2)

    count = images, cells[0] * cells[1]
    order, recorded = exact_order(lambda removed: confidence(wide(removed)), count)
    return wide(order), recorded


def sufficient(
    order: Int[Array, "b *n"], confidence: Float[Array, "s b"], threshold: float | Float[Array, ""]
) -> tuple[Bool[Array, "b *n"], Bool[Array, "b"]]:
    """The smallest subset in an order of removal whose confidence is at least `threshold`.

    It is found from the end: the first that suffices when what was removed comes back.

    Returns:
      What is kept, empty if nothing suffices, not even the whole; and whether something does.

    >>> order, confidence = jnp.array([[0, 2, 1]]), jnp.array([[1.0], [0.9], [0.6]])
    >>> sufficient(order, confidence, 0.7)[0].tolist()
    [[False, True, True]]
    """
    enough = confidence >= threshold
    last = len(enough) - 1 - jnp.argmax(enough[::-1], axis=0)
    last = last.reshape(-1, *(1,) * (order.ndim - 1))
    found = enough.any(0)
    kept = ((order >= last) | (order == NEVER)) & found.reshape(last.shape)
    return kept, found
