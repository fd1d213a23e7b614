"""What is measured: relative foreground sensitivity, and the true class's share."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

_SLACK = 1e-4  # of rounding beyond [0, 1]


def rfs(acc_fg: Float[Array, "*s"], acc_bg: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Relative foreground sensitivity, `(a_bg - a_fg) / (2 min(a, 1 - a))`, in [-1, 1].

    `a` is the mean of the two accuracies: the gap over the largest gap possible at that general
    noise robustness (RIVAL10 study, section 5.1). Positive: the foreground matters more. If both
    accuracies are 0 or both are 1, the limit is undefined and the value is 0. Elementwise.

    Args:
      acc_fg, acc_bg: accuracy under foreground and background noise, same shape, in [0, 1].

    Raises:
      ValueError: for shapes that differ.

    >>> rfs(jnp.array([0.25, 0.0, 1.0]), jnp.array([0.75, 0.0, 1.0]))
    Array([0.5, 0. , 0. ], dtype=float32)
    """
    acc_fg, acc_bg = jnp.asarray(acc_fg), jnp.asarray(acc_bg)
    check_same("acc_bg", acc_bg, "acc_fg", acc_fg)
    return share_of_room(jnp, acc_fg, acc_bg)


def share_of_room(library: Any, acc_fg: Any, acc_bg: Any) -> Any:
    """`rfs` by jax.numpy or, of numbers that are known, by NumPy, which compiles nothing."""
    # min(s, 2 - s) of the sum s, not of the mean: the sum of two floats next to 1 stays exact.
    total = acc_fg + acc_bg
    room = library.minimum(total, (1 - acc_fg) + (1 - acc_bg))
    return library.where(room > 0, (acc_bg - acc_fg) / library.where(room > 0, room, 1), 0)


def irfs(prob_fg: Float[Array, "*s"], prob_bg: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Instance-wise RFS: the same for one image's true-class probability; in [-1, 1], never NaN.

    Args:
      prob_fg, prob_bg: probability of the true class under foreground and background noise (trial
        means), same shape, in [0, 1].

    >>> irfs(jnp.array([1.0, 0.25]), jnp.array([1.0, 0.75]))
    Array([0. , 0.5], dtype=float32)
    """
    return rfs(prob_fg, prob_bg)


def true_class(
    logits: Float[Array, "b c"], labels: Int[Array, " b"]
) -> tuple[Float[Array, " b"], Bool[Array, " b"]]:
    """Softmax probability of the true class, and whether it is the prediction.

    Args:
      logits: [b, c].
      labels: integer [b].

    Returns:
      (probability float32 [b], correct bool [b]); a row with a NaN logit is NaN and not correct.

    >>> probability, correct = true_class(jnp.array([[0.0, 0.0], [1.0, 0.0]]), jnp.array([1, 0]))
    >>> probability[0], correct
    (Array(0.5, dtype=float32), Array([False,  True], dtype=bool))
    """
    log_probability = jax.nn.log_softmax(logits.astype(jnp.float32))
    probability = jnp.exp(jnp.take_along_axis(log_probability, labels[:, None], axis=1)[:, 0])
    return probability, (jnp.argmax(logits, axis=1) == labels) & ~jnp.isnan(probability)


def answers(
    logits: Float[Array, "b c"], labels: Int[Array, " b"] | Int[np.ndarray, " b"]
) -> dict[str, Array]:
    """A network's answers on photos, [b] each, from its logits [b, c].

    Returns:
      probability of the true class; correct; predicted, the class of the highest logit (ties go to
      the lowest index).
    """
    probability, correct = true_class(logits, jnp.asarray(labels))
    predicted = jnp.argmax(logits, axis=1).astype(jnp.int32)
    return {"probability": probability, "correct": correct, "predicted": predicted}


def check_same(name: str, value: Array, other_name: str, other: Array) -> None:
    """Raises ValueError unless two arguments have the same shape."""
    if value.shape != other.shape:
        raise ValueError(f"{name}: got {value.shape}, expected {other_name}'s {other.shape}")


def check_float(name: str, value: Array) -> None:
    """Raises ValueError unless an argument holds floats."""
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(
            f"{name}: got {value.dtype}, expected floats in [0, 1]; divide bytes by 255 first"
        )


def check_unit(name: str, value: Array) -> None:
    """Raises ValueError unless an argument holds floats in [0, 1].

    Values are checked only if known: under `jit` and `vmap` just the type is.
    """
    check_float(name, value)
    if isinstance(value, Tracer) or not value.size:
        return
    numbers = np.asarray(value)  # not jax: values computed while tracing are unknown
    low, high = float(numbers.min()), float(numbers.max())
    if not (low >= -_SLACK and high <= 1 + _SLACK):
        raise ValueError(f"{name}: got {low:g} to {high:g}, expected [0, 1]")
