"""Batch norm in training mode with frozen weights, as in the RIVAL10 study's released code.

There, heads are fitted with the whole network in training mode: batch norms normalise with the
batch's own statistics, and their running statistics move and are saved with the head.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
from flax import traverse_util
from jax import lax

from rival_jax.types import Array, Model, Variables

MOMENTUM = 0.1  # of the batch in the running statistics, PyTorch's default


def features(model: Model, variables: Variables, images: Array) -> tuple[Array, Variables]:
    """Penultimate features [b, f] in training mode, and the variables with moved statistics.

    Networks without batch norm are unchanged. Works for any network of flax modules: calls of its
    batch norms are intercepted, so that model families need no code for training.
    """
    moved: dict[tuple[str, ...], Array] = {}

    def in_training_mode(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if not isinstance(module, nn.BatchNorm) or context.method_name != "__call__":
            return next_fun(*args, **kwargs)
        (x,) = args
        axes = tuple(range(x.ndim - 1))
        mean, variance = x.mean(axes), x.var(axes)
        count = x.size // x.shape[-1]
        # Running variances are unbiased estimates for the population.
        seen = {"mean": mean, "var": variance * (count / max(count - 1, 1))}
        for name, value in seen.items():
            before = module.get_variable("batch_stats", name)
            moved[*module.path, name] = before + MOMENTUM * (value - before)
        scale, bias = (module.get_variable("params", name) for name in ("scale", "bias"))
        return (x - mean) * (lax.rsqrt(variance + module.epsilon) * scale) + bias

    with nn.intercept_methods(in_training_mode):
        _, taps = model.forward(variables, images, {})
    if not moved:
        return taps[model.feature_tap], variables
    statistics = traverse_util.unflatten_dict(moved)
    return taps[model.feature_tap], {**variables, "batch_stats": statistics}
