"""The RIVAL10 study's way of fitting a head: Adam, not to convergence, on random crops."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import noise, probe
from rival_jax.heads import Context, _training_mode
from rival_jax.heads._features import Fitted, Seen, of_split, per_batch
from rival_jax.runtime import hosts
from rival_jax.runtime.parallel import map_examples
from rival_jax.types import Array, Model, Variables

BATCH = 32
Steps = Iterator[tuple[Variables, Array, Array]]
"""The network after a step, with the step's features and labels."""


def fit(model: Model, variables: Variables, context: Context, train: Any, options: dict) -> Fitted:
    """The head after `options["epochs"]` epochs, or the epoch best on the test split."""
    optimiser, seen = probe.study_optimiser(), Seen.of(options)
    drifting = options["batch_norm"] == "drifting"
    step = jax.jit(functools.partial(probe.study_step, optimiser=optimiser))
    inputs = jax.ShapeDtypeStruct((1, *context.geometry.size, 3), jnp.float32)
    taps = jax.eval_shape(lambda v, x: model.forward(v, x, {})[1], variables, inputs)
    key, width = noise.key(options["seed"]), taps[model.feature_tap].shape[1]
    head = probe.study_start(key, width, len(context.classes))
    state, network, best = optimiser.init(head), variables, (-1.0, head, 0, variables)
    for epoch in range(options["epochs"]):
        one_epoch = _drifting_epoch if drifting else _epoch
        steps = one_epoch(model, network, context, train, seen, (options["seed"], epoch))
        for after, batch, labels in steps:
            head, state, _ = step(head, state, batch, labels)
            network = after
        context.report(f"{model.name}: head, epoch {epoch + 1} of {options['epochs']}")
        if options["select"] == "test":
            values, labels = of_split(model, network, context.test(), context, seen)
            accuracy = float((head(jnp.asarray(values)).argmax(1) == labels).mean())
            best = max(best, (accuracy, head, epoch + 1, network), key=lambda item: item[0])
    facts = {"recipe": f"study: Adam 1e-5, L2 1e-4, {options['epochs']} epochs, random crops"}
    if options["select"] == "test":
        _, head, epoch, network = best
        facts["selected"] = f"epoch {epoch}, on the TEST split (as released)"
    if not drifting or "batch_stats" not in network:
        return Fitted(head, facts)
    facts["batch norm"] = "running statistics moved while the head was fitted (as released)"
    return Fitted(head, facts, network["batch_stats"])


def _epoch(
    model: Model,
    variables: Variables,
    context: Context,
    train: Any,
    seen: Seen,
    key: tuple[int, int],
) -> Steps:
    """Computes an epoch's features at once, since the network is fixed; then yields batches."""
    batches = train.augmented_batches(context.batch_size(), epoch=key[1], seed=key[0])
    fn, sharding = per_batch(model, seen), context.sharding
    rows = map_examples(fn, variables, batches, context.mesh, sharding=sharding)
    rows = hosts.gathered_rows(rows)
    order = np.random.default_rng(key).permutation(len(rows["label"]))
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        yield variables, jnp.asarray(rows["features"][part]), jnp.asarray(rows["label"][part])


def _drifting_epoch(
    model: Model,
    variables: Variables,
    context: Context,
    train: Any,
    seen: Seen,
    key: tuple[int, int],
) -> Steps:
    """Batch by batch, since each changes the network; on one device, for its batch norms."""
    del context
    for batch in train.augmented_batches(BATCH, epoch=key[1], seed=key[0], everywhere=True):
        real = np.asarray(batch["index"]) >= 0  # padding would count in the statistics
        images, masks = (jnp.asarray(batch[name][real]) for name in ("image", "mask"))
        values, variables = _training_features(model, seen)(variables, images, masks)
        yield variables, values, jnp.asarray(batch["label"][real])


@functools.lru_cache(maxsize=64)
def _training_features(model: Model, seen: Seen) -> Callable[..., tuple[Array, Variables]]:
    def fn(variables: Variables, images: Array, masks: Array) -> tuple[Array, Variables]:
        shown = seen.shown(images, masks)
        values, variables = _training_mode.features(model, variables, shown)
        return values.astype(jnp.float32), variables

    return jax.jit(fn)
