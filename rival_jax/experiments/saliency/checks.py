"""Which methods each network allows, and what of a config can be wrong."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
from rich.console import Console

from rival_jax import noise, taps
from rival_jax.configs.saliency import Config
from rival_jax.experiments.saliency.unit import Plan, explain
from rival_jax.experiments.subject import Subject
from rival_jax.runtime.plugins import plugin
from rival_jax.types import Model


def allowed(config: Config, subject: Subject, console: Console) -> dict[str, tuple[str, ...]]:
    """The methods of every model, by its name.

    Raises:
      ValueError: a network does not allow a method and is not to be skipped, or no network does.
    """
    names = [model.name for model in subject.models]
    fitting: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    for method in config.saliency.methods:
        plugin("saliency", method.partition("@")[0])
        faults = {model.name: _fault(nameless(model), method) for model in subject.models}
        bad = {name: fault for name, fault in faults.items() if fault}
        if bad and (config.saliency.unfit == "error" or len(bad) == len(names)):
            name, fault = next(iter(bad.items()))
            raise ValueError(f"config.saliency.methods: {method} of {name}: {fault}")
        for name in names:
            fitting[name] += (method,) * (name not in bad)
            if name in bad:
                console.print(f"{name}: no {method}: {bad[name].partition(';')[0]}")
    if without := [name for name, methods in fitting.items() if not methods]:
        raise ValueError(f"config.saliency.methods: none is left for {', '.join(without)}")
    return fitting


@functools.lru_cache(maxsize=64)
def _fault(model: Model, method: str) -> str:
    """Why a network does not allow a method, "" if it does: traced, without weights."""
    image = jax.ShapeDtypeStruct((1, *model.image_size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, noise.key(0))
    score = taps.class_score(jnp.zeros(1, jnp.int32))
    try:
        jax.eval_shape(lambda v, x: explain(model, method, v, x, score, "none"), variables, image)
    except ValueError as error:
        return str(error).strip()
    return ""


def plan(config: Config, method: str) -> Plan:
    """How one method's maps are made and read."""
    c = config.saliency
    return Plan(
        method=method,
        target=c.target,
        scaling=c.scaling,
        threshold=float(c.threshold),
        ties_inside=c.ties == "inside",
        flat_is_nan=c.flat == "nan",
        tolerance=int(c.tolerance),
        draws=int(c.draws),
        binary_mask=config.data.mask == "binary",
    )


def nameless(model: Model) -> Model:
    """Equal for all networks of one make, so that they share what is compiled."""
    return dataclasses.replace(model, name="")
