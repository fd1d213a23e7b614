"""Trains small networks on `scenes`, one for each architecture and tie of background to class."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from rich.console import Console
from rich.table import Table

from rival_jax import data, models
from rival_jax.runtime.plugins import plugin
from rival_jax.runtime.progress import Meter, duration
from rival_jax.runtime.results import Run
from rival_jax.types import Array, Geometry, Model, Variables

# Muon takes a ViT this small as far as AdamW does in half the steps.
OPTIMISERS = {"adamw": optax.adamw, "muon": optax.contrib.muon}
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def dry_run(config: Any, console: Console) -> None:
    """Prints what would be trained."""
    for architecture in config.architectures:
        model = _build(config, architecture, architecture)
        steps = config[architecture].epochs * _steps_per_epoch(config)
        console.print(f"{models.describe(model)}; {steps} steps of {config.batch_size} images")
    console.print(f"at correlations {', '.join(map(str, config.correlations))}; nothing was run")


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Trains, saves and scores every network; returns the accuracies of the saved ones."""
    tests = {c: _examples(config, "test", c, console) for c in {0.0, *config.correlations}}
    folder = Path(config.output or run.path / "models")
    summary = []
    for correlation in config.correlations:
        train = _examples(config, "train", correlation, console)
        for architecture in config.architectures:
            name, started = f"{architecture}_{round(100 * correlation):02d}", time.monotonic()
            model = _build(config, architecture, name)
            variables = _fit(config, architecture, model, train, run, console)
            models.save(folder / name, model, variables, config.storage)
            model, variables = models.load(str(folder / name))
            facts = {
                "name": name,
                "seconds": round(time.monotonic() - started),
                "decorrelated": _accuracy(model, variables, tests[0.0]),
                "as_trained": _accuracy(model, variables, tests[correlation]),
            }
            run.log("trained", **facts)
            summary.append(facts)
    console.print(_table(summary))
    console.print(f"models are in {folder}")
    return {"models": summary}


def _examples(config: Any, split: str, correlation: float, console: Console) -> data.Examples:
    size, per_class = config.data.image_size, config.data[f"{split}_per_class"]
    options = {"size": size, "per_class": per_class, "background_correlation": correlation}
    source = data.load("scenes", "", split, seed=config.seed, **options)
    with Meter(len(source), "images", console) as meter:
        meter.say(f"drawing {split} at correlation {correlation}")
        on_item = lambda done, total: meter.advance(1)  # noqa: E731
        return data.Examples(source, Geometry((size, size)), on_item=on_item)


def _build(config: Any, architecture: str, name: str) -> Model:
    return plugin("models", architecture).build(
        name=name,
        num_classes=10,
        image_size=(config.data.image_size,) * 2,
        mean=MEAN,
        std=STD,
        **config[architecture].architecture,
    )


def _steps_per_epoch(config: Any) -> int:
    return 10 * config.data.train_per_class // config.batch_size


def _initial(model: Model, key: Array) -> Variables:
    """The model's own start, but with linear kernels of variance 1 / inputs.

    The usual 0.02 is made for wide transformers: in narrow ones attention stays uniform for long.
    """

    def rescale(path: tuple[Any, ...], leaf: Array) -> Array:
        inner = path[-1].key == "kernel" and leaf.ndim == 2 and path[-2].key not in ("head", "fc")
        return leaf * (leaf.shape[0] ** -0.5 / jnp.std(leaf)) if inner else leaf

    return jax.tree_util.tree_map_with_path(rescale, model.init(key))


def _augment(images: Array, key: Array, *, brightness: float, noise: float) -> Array:
    """Half mirrored, all lighter or darker, half with Gaussian noise: [b, h, w, 3] in [0, 1]."""
    each = len(images), 1, 1, 1
    flip, gain, sigma, normal = jax.random.split(key, 4)
    images = jnp.where(jax.random.bernoulli(flip, shape=each), images[:, :, ::-1], images)
    images *= 1 + brightness * jax.random.uniform(gain, each, minval=-1)
    level = noise * jnp.maximum(jax.random.uniform(sigma, each, minval=-1), 0)
    return jnp.clip(images + level * jax.random.normal(normal, images.shape), 0, 1)


def _fit(
    config: Any,
    architecture: str,
    model: Model,
    train: data.Examples,
    run: Run,
    console: Console,
) -> Variables:
    """Warm-up and cosine decay. Batch norm keeps its first statistics, 0 and 1.

    A network this shallow trains without those of the batch, and is the same in training and use.
    """
    recipe, per_epoch = config[architecture], _steps_per_epoch(config)
    steps, key = recipe.epochs * per_epoch, jax.random.key(config.seed)
    rate = optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, steps // 15, steps)
    rule = OPTIMISERS[recipe.optimiser](rate, weight_decay=config.weight_decay)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), rule)
    fixed = dict(_initial(model, key))
    params = fixed.pop("params")
    state = optimiser.init(params)

    def loss(params: Any, images: Array, labels: Array) -> tuple[Array, Array]:
        logits, _ = model.forward({**fixed, "params": params}, images, {})
        target = optax.smooth_labels(jax.nn.one_hot(labels, 10), config.label_smoothing)
        return optax.softmax_cross_entropy(logits, target).mean(), logits

    @jax.jit
    def step(params: Any, state: Any, images: Array, labels: Array, number: Array) -> tuple:
        images = images.astype(jnp.float32) / 255
        images = _augment(images, jax.random.fold_in(key, number), **config.augment)
        (value, logits), slope = jax.value_and_grad(loss, has_aux=True)(params, images, labels)
        change, state = optimiser.update(slope, state, params)
        correct = (logits.argmax(-1) == labels).mean()
        return optax.apply_updates(params, change), state, jnp.stack([value, correct])

    with Meter(steps, "steps", console) as meter:
        for epoch in range(recipe.epochs):
            meter.say(f"{model.name} epoch {epoch + 1}/{recipe.epochs}")
            order, curve = np.random.default_rng([config.seed, epoch]).permutation(len(train)), []
            for number in range(per_epoch):
                rows = order[number * config.batch_size :][: config.batch_size]
                batch = train.images[rows], train.labels[rows]
                params, state, point = step(params, state, *batch, epoch * per_epoch + number)
                curve.append(point)
                meter.advance(1)
            value, correct = np.mean(curve, 0, np.float64).round(4).tolist()
            run.log("epoch", model=model.name, epoch=epoch, loss=value, accuracy=correct)
    return {**fixed, "params": params}


def _accuracy(model: Model, variables: Variables, examples: data.Examples) -> float:
    forward = jax.jit(functools.partial(model.forward, added={}))
    correct = [
        np.asarray(forward(variables, batch["image"])[0].argmax(-1) == batch["label"])
        for batch in examples.batches(100)
    ]
    return round(float(np.concatenate(correct)[: len(examples)].mean()), 4)


def _table(summary: list[dict[str, Any]]) -> Table:
    table = Table("model", "decorrelated test", "test as trained", "time")
    for facts in summary:
        accuracies = (f"{100 * facts[key]:.1f} %" for key in ("decorrelated", "as_trained"))
        table.add_row(facts["name"], *accuracies, duration(facts["seconds"]))
    return table
