"""A linear head fitted on the frozen network's features of the training split."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from rival_jax import probe
from rival_jax.heads import Context
from rival_jax.runtime.parallel import map_examples
from rival_jax.runtime.plugins import no_such
from rival_jax.runtime.results import atomic, digest, tree_digest
from rival_jax.types import Array, Batch, Model, Taps, Variables

RECIPES = ("converged", "study")
# Penalties tried by the converged recipe, on standardised features.
L2_GRID = tuple(10.0**power for power in np.arange(-4, 1.5, 0.5))
BATCH = 32  # of the study's recipe
HELD_OUT = 0.2  # of the training split, to choose the penalty


def attach(
    model: Model, variables: Variables, context: Context
) -> tuple[Model, Variables, dict[str, str]]:
    """The network with a fitted head in place of its own; fitted once per content, then cached.

    Raises:
      ValueError: for an unknown recipe or selection.
    """
    head, facts = fit(model, variables, context)
    with_head = dataclasses.replace(
        model, forward=_forward(model), num_classes=len(context.classes)
    )
    return with_head, {"network": variables, "head": head}, {"head": "probe", **facts}


def fit(model: Model, variables: Variables, context: Context) -> tuple[probe.Head, dict[str, str]]:
    """The head, and how it was fitted in words, by `config.probe.recipe`.

    "converged": L-BFGS softmax regression; its L2 penalty is chosen on a stratified fifth of the
    training split, then all of the split is fitted. "study": the RIVAL10 study's Adam, which does
    not converge (rate 1e-5, ten epochs, random crops).
    """
    options = dict(context.options)
    if options["recipe"] not in RECIPES:
        raise ValueError("probe.recipe: " + no_such(options["recipe"], RECIPES))
    if options["select"] not in ("last", "test"):
        raise ValueError("probe.select: " + no_such(options["select"], ("last", "test")))
    train = context.train()
    key = digest(
        {
            "network": [model.name, model.mean, model.std, tree_digest(variables)],
            "train": train.fingerprint,
            "geometry": dataclasses.asdict(context.geometry),
            "options": {name: options[name] for name in ("recipe", "epochs", "seed", "select")},
        }
    )
    path = context.cache / "heads" / f"{_safe(model.name)}-{key}.safetensors"
    if path.exists():
        return _read(path)
    fitted = _converged if options["recipe"] == "converged" else _study
    head, facts = fitted(model, variables, context, train, options)
    tensors = {name: np.asarray(value) for name, value in head._asdict().items()}
    with atomic(path) as partial:
        save_file(tensors, partial, {"facts": json.dumps(facts)})
    return head, facts


def features(
    model: Model, variables: Variables, examples: Any, context: Context
) -> tuple[np.ndarray, np.ndarray]:
    """(features [n, f], labels [n]) of a split, cached on disk by content."""
    content = [model.name, model.mean, model.std, tree_digest(variables), examples.fingerprint]
    path = context.cache / "features" / f"{_safe(model.name)}-{digest(content)}.npy"
    if not path.exists():
        context.report(f"{model.name}: features of {len(examples)} images")
        batches = examples.batches(context.batch_size())
        rows = map_examples(_features(model), variables, batches, context.mesh)
        with atomic(path) as partial:
            np.save(partial, rows["features"])
    return np.load(path, allow_pickle=False), np.asarray(examples.labels)


def split(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """bool [n]: a stratified random `share` of every class, at least one image and never all."""
    rng = np.random.Generator(np.random.PCG64(seed))
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held_out[members[:count]] = True
    return held_out


def _converged(
    model: Model, variables: Variables, context: Context, train: Any, options: dict
) -> tuple[probe.Head, dict[str, str]]:
    values, labels = features(model, variables, train, context)
    held_out = split(labels, HELD_OUT, options["seed"])
    solve = jax.jit(functools.partial(probe.fit_converged, num_classes=len(context.classes)))
    x, y = jnp.asarray(values, jnp.float32), jnp.asarray(labels)
    heads = jax.vmap(solve, (None, None, 0))(x[~held_out], y[~held_out], jnp.asarray(L2_GRID))
    losses = jax.vmap(lambda h: probe.cross_entropy(h, x[held_out], y[held_out]).mean())(heads)
    best = int(jnp.argmin(losses))
    head = solve(x, y, L2_GRID[best])
    context.report(f"{model.name}: head fitted, L2 {L2_GRID[best]:.1e}")
    return head, {
        "recipe": "L-BFGS to convergence",
        "l2": f"{L2_GRID[best]:.1e}, chosen on {held_out.sum()} held-out training images",
    }


def _study(
    model: Model, variables: Variables, context: Context, train: Any, options: dict
) -> tuple[probe.Head, dict[str, str]]:
    optimiser = probe.study_optimiser()
    step = jax.jit(functools.partial(probe.study_step, optimiser=optimiser))
    values, _ = features(model, variables, train, context)
    key = jax.random.key(options["seed"])
    head = probe.study_start(key, values.shape[1], len(context.classes))
    state, best = optimiser.init(head), (-1.0, head, 0)
    for epoch in range(options["epochs"]):
        batches = train.augmented_batches(context.batch_size(), epoch=epoch, seed=options["seed"])
        rows = map_examples(_features(model), variables, batches, context.mesh)
        order = np.random.default_rng([options["seed"], epoch]).permutation(len(rows["label"]))
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            head, state, _ = step(head, state, rows["features"][part], rows["label"][part])
        context.report(f"{model.name}: head, epoch {epoch + 1} of {options['epochs']}")
        if options["select"] == "test":
            values, labels = features(model, variables, context.test(), context)
            accuracy = float((head(jnp.asarray(values)).argmax(1) == labels).mean())
            best = max(best, (accuracy, head, epoch + 1), key=lambda item: item[0])
    facts = {"recipe": f"study: Adam 1e-5, L2 1e-4, {options['epochs']} epochs, random crops"}
    if options["select"] == "test":
        _, head, epoch = best
        facts["selected"] = f"epoch {epoch}, on the TEST split (as released)"
    return head, facts


@functools.lru_cache(maxsize=64)
def _features(model: Model):
    def fn(variables: Variables, batch: Batch) -> dict[str, Array]:
        _, taps = model.forward(variables, jnp.asarray(batch["image"]), {})
        values = taps[model.feature_tap].astype(jnp.float32)
        return {"features": values, "label": jnp.asarray(batch["label"])}

    return fn


@functools.lru_cache(maxsize=64)
def _forward(model: Model):
    def forward(variables: Variables, images: Array, added: Taps) -> tuple[Array, Taps]:
        _, taps = model.forward(variables["network"], images, added)
        return variables["head"](taps[model.feature_tap].astype(jnp.float32)), taps

    return forward


def _read(path: Path) -> tuple[probe.Head, dict[str, str]]:
    with safe_open(path, framework="numpy") as file:
        facts = json.loads(file.metadata()["facts"])
        return probe.Head(file.get_tensor("kernel"), file.get_tensor("bias")), facts


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
