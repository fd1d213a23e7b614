"""Linear heads on frozen features: softmax regression to convergence, and the study's recipe."""

from __future__ import annotations

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key

STUDY_LEARNING_RATE = 1e-5
STUDY_L2 = 1e-4


class Head(NamedTuple):
    """A linear classifier, `features @ kernel + bias`."""

    kernel: Float[Array, "f c"]
    bias: Float[Array, " c"]

    def __call__(self, features: Float[Array, "b f"]) -> Float[Array, "b c"]:
        # Full float32: a head is too small for its speed to matter.
        product = jnp.matmul(features, self.kernel, precision=lax.Precision.HIGHEST)
        return product + self.bias


def cross_entropy(
    head: Head, features: Float[Array, "b f"], labels: Int[Array, " b"]
) -> Float[Array, " b"]:
    """Cross-entropy of every example, natural logarithm."""
    return optax.softmax_cross_entropy_with_integer_labels(head(features), labels)


def fit_converged(
    features: Float[Array, "n f"],
    labels: Int[Array, " n"],
    l2: Float[Array, ""] | float,
    *,
    num_classes: int,
    max_steps: int = 500,
    tolerance: float = 1e-5,
) -> Head:
    """Softmax regression by L-BFGS: mean cross-entropy + l2 / 2 |kernel|^2, bias not penalised.

    Features are standardised first and the scaling is folded into the result, so one `l2` means
    the same for every network. Maps over `l2` with `vmap`.

    Args:
      features: penultimate features; labels: in [0, num_classes).
      l2: penalty on standardised features.
      max_steps: at most so many L-BFGS steps; tolerance: gradient norm at which it stops.
    """
    mean, scale = features.mean(0), features.std(0)
    scale = jnp.where(scale > 1e-6 * jnp.abs(features).max(), scale, 1)
    standard = (features - mean) / scale

    def loss(head: Head) -> Array:
        return cross_entropy(head, standard, labels).mean() + l2 / 2 * (head.kernel**2).sum()

    optimiser = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    def step(carry: tuple) -> tuple:
        head, state, _, count = carry
        value, grad = value_and_grad(head, state=state)
        updates, state = optimiser.update(grad, state, head, value=value, grad=grad, value_fn=loss)
        return optax.apply_updates(head, updates), state, optax.tree.norm(grad), count + 1

    def going(carry: tuple) -> Array:
        return (carry[2] > tolerance) & (carry[3] < max_steps)

    start = Head(jnp.zeros((features.shape[1], num_classes)), jnp.zeros(num_classes))
    head, *_ = lax.while_loop(going, step, (start, optimiser.init(start), jnp.inf, 0))
    kernel = head.kernel / scale[:, None]
    return Head(kernel, head.bias - jnp.matmul(mean, kernel, precision=lax.Precision.HIGHEST))


def study_optimiser(learning_rate: float = STUDY_LEARNING_RATE) -> optax.GradientTransformation:
    """The study's Adam: betas 0.9, 0.999, eps 1e-8; L2 1e-4 added to the gradient, bias included.

    L2 is added before Adam's scaling (not decoupled as in AdamW).
    """
    return optax.chain(optax.add_decayed_weights(STUDY_L2), optax.adam(learning_rate))


def study_start(key: Key[Array, ""], num_features: int, num_classes: int) -> Head:
    """The study's initial head: kernel and bias uniform in +-1/sqrt(num_features)."""
    bound = num_features**-0.5
    kernel_key, bias_key = jax.random.split(key)
    kernel = jax.random.uniform(
        kernel_key, (num_features, num_classes), minval=-bound, maxval=bound
    )
    return Head(kernel, jax.random.uniform(bias_key, (num_classes,), minval=-bound, maxval=bound))


def study_step(
    head: Head,
    state: optax.OptState,
    features: Float[Array, "b f"],
    labels: Int[Array, " b"],
    optimiser: optax.GradientTransformation,
) -> tuple[Head, optax.OptState, Float[Array, ""]]:
    """One step on one batch's mean cross-entropy; returns (head, state, loss before the step)."""
    loss, grad = jax.value_and_grad(lambda h: cross_entropy(h, features, labels).mean())(head)
    updates, state = optimiser.update(grad, state, head)
    return cast(Head, optax.apply_updates(head, updates)), state, loss
