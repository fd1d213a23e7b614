"""Noise in the object or its background, and a network's answers: the input of RFS."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax

from rival_jax import noise
from rival_jax.metrics import answers
from rival_jax.types import Array, Batch, Forward, Variables


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What one compiled program does; the level and the number of the first trial are arguments."""

    norm: str
    regions: tuple[str, ...]
    trials: int
    at_once: int  # trials computed together; divides `trials`
    binary_mask: bool
    draws: str = "by_level"  # or "shared", the same at all levels


def noised(sweep: Sweep, batch: Batch, key: Array, level: Array | float, trials: Array) -> Array:
    """Every image under some trials of noise in every region, [b, trials, regions, h, w, 3].

    The unit normal draw of (key, level, image, trial) is the same for all regions and models, so
    that differences between them are paired.
    """
    key = noise.level_key(key, level) if sweep.draws == "by_level" else key
    image, mask = jnp.asarray(batch["image"]), jnp.asarray(batch["mask"])
    ids = jnp.asarray(batch["noise_id"])
    if sweep.binary_mask:
        mask = (mask > 0.5).astype(image.dtype)
    draw = lambda trial: noise.gaussian(key, ids, trial, image.shape[1:])  # noqa: E731
    units = jax.vmap(draw, out_axes=1)(trials)  # [b, t, h, w, 3]

    def corrupted(region: str) -> Array:
        one = functools.partial(noise.corrupt, region=region, level=level, norm=sweep.norm)
        return jax.vmap(one, (None, None, 1), 1)(image, mask, units)

    return jnp.stack([corrupted(region) for region in sweep.regions], axis=2)


def noise_trials(
    forward: Forward,
    sweep: Sweep,
    variables: Variables,
    batch: Batch,
    key: Array,
    level: Array | float,
    first: Array | int = 0,
) -> dict[str, Array]:
    """The `answers` under trials `first`, ... in every region, [b, trials, regions] each."""
    label = jnp.asarray(batch["label"])

    def some_trials(trials: Array) -> dict[str, Array]:
        noisy = noised(sweep, batch, key, level, trials)
        logits, _ = forward(variables, noisy.reshape(-1, *noisy.shape[3:]), {})
        said = answers(logits, jnp.repeat(label, len(logits) // len(label)))
        return {name: value.reshape(noisy.shape[:3]) for name, value in said.items()}

    said = lax.map(some_trials, first + jnp.arange(sweep.trials).reshape(-1, sweep.at_once))
    shape = (len(label), sweep.trials, len(sweep.regions))  # from [groups, b, at_once, regions]
    return {name: jnp.moveaxis(value, 0, 1).reshape(shape) for name, value in said.items()}
