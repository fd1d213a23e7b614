"""The one interpretability primitive: any layer's activations, and a score's gradient to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from rival_jax.metrics import check_float
from rival_jax.types import Array, Forward, Score, Taps, Variables


class Recorder:
    """Passed through one forward pass: adds the requested arrays at taps, and records values.

    >>> tap = Recorder({"features": jnp.ones(1)})
    >>> tap("features", jnp.ones(1)), list(tap.values)
    (Array([2.], dtype=float32), ['features'])
    """

    def __init__(self, added: Taps):
        self.added = added
        self.values: dict[str, Array] = {}

    def __call__(self, name: str, value: Array) -> Array:
        if name in self.added:
            value = value + self.added[name]
        self.values[name] = value
        return value

    def check(self) -> None:
        """Raises ValueError if an array was meant for a tap the network does not have."""
        check_names(self.added, self.values)


def check_names(asked: Mapping | Sequence[str], known: Mapping) -> None:
    """Raises ValueError listing the known taps if one of `asked` is not among them."""
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise ValueError(f"no tap named {', '.join(unknown)}; this model has: {', '.join(known)}")


def tap_grads(
    forward: Forward, variables: Variables, images: Array, score: Score, names: Sequence[str]
) -> tuple[Array, Taps, Taps]:
    """Scores, the activations at `names`, and d score / d activation, in one backward pass.

    Examples do not mix in the forward pass, so the gradient of the summed scores is every
    example's own gradient. Batched, under jit, and differentiable again.

    Args:
      forward: see `types.Forward`.
      variables: the model's weights.
      images: [b, h, w, 3] in [0, 1].
      score: what to explain, `(logits, taps) -> [b]`.
      names: taps to differentiate with respect to.

    Returns:
      (scores [b], {name: activation}, {name: gradient of the same shape}).

    Raises:
      ValueError: for a tap the model does not have; lists those it has. For images that are bytes.

    >>> def forward(weights, images, added):  # the mean of each colour, times a matrix
    ...     features = images.mean((1, 2)) + added.get("features", 0)
    ...     return features @ weights["head"], {"features": features}
    >>> given = {"head": jnp.eye(3)}, jnp.ones((1, 2, 2, 3)), class_score(jnp.array([1]))
    >>> score, activations, gradients = tap_grads(forward, *given, ["features"])
    >>> score, gradients["features"]
    (Array([1.], dtype=float32), Array([[0., 1., 0.]], dtype=float32))
    """
    return logits_and_grads(forward, variables, images, score, names)[1:]


def logits_and_grads(
    forward: Forward,
    variables: Variables,
    images: Array,
    score: Score,
    names: Sequence[str],
    *,
    also: Sequence[str] = (),
) -> tuple[Array, Array, Taps, Taps]:
    """The logits [b, c] of the same forward pass, then the results of `tap_grads`.

    `also`: taps whose activations are returned, without gradients.
    """
    check_float("images", images)
    shapes = jax.eval_shape(lambda v, x: forward(v, x, {})[1], variables, images)
    check_names((*names, *also), shapes)
    zeros = {name: jnp.zeros(shapes[name].shape, shapes[name].dtype) for name in names}

    def total(added: Taps) -> tuple[Array, tuple[Array, Array, Taps]]:
        logits, taps = forward(variables, images, added)
        scores = score(logits, taps)
        return scores.sum(), (logits, scores, {name: taps[name] for name in (*names, *also)})

    gradients, (logits, scores, activations) = jax.grad(total, has_aux=True)(zeros)
    return logits, scores, activations, gradients


def class_score(labels: Array) -> Score:
    """The logit of class `labels` [b].

    >>> class_score(jnp.array([2]))(jnp.array([[0.5, 1.5, 2.5]]), {})
    Array([2.5], dtype=float32)
    """
    return lambda logits, taps: jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]


def predicted_score(logits: Array, taps: Taps) -> Array:
    """The logit of the predicted class.

    >>> predicted_score(jnp.array([[0.5, 1.5]]), {})
    Array([1.5], dtype=float32)
    """
    return logits.max(axis=1)


def unit_score(tap: str, unit: int) -> Score:
    """Activation of one unit (last axis) of a tap [b, f], e.g. a penultimate feature.

    >>> unit_score("features", 1)(jnp.zeros((1, 2)), {"features": jnp.array([[3.0, 4.0]])})
    Array([4.], dtype=float32)
    """
    return lambda logits, taps: taps[tap][:, unit]
