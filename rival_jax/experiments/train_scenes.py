"""Trains small networks on `scenes`, one per architecture and tie of background to class."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from rich.console import Console
from rich.table import Table

from rival_jax import data, models, noise
from rival_jax.configs import typed
from rival_jax.configs.train_scenes import Config
from rival_jax.experiments.rows import clean_answers
from rival_jax.runtime import parallel
from rival_jax.runtime.plugins import plugin
from rival_jax.runtime.progress import Meter, duration
from rival_jax.runtime.results import Run
from rival_jax.types import Array, Geometry, Model, Variables

ONE_PROCESS = True  # not for several hosts

CLASSES = 10
# In the same number of steps, Muon trains a ViT this small further than AdamW.
OPTIMISERS = {"adamw": optax.adamw, "muon": optax.contrib.muon}


def dry_run(config: Any, console: Console) -> None:
    """Prints what would be trained."""
    config = typed(Config, config)
    for architecture in config.architectures:
        trainer = Trainer(config, architecture)
        work = f"{trainer.steps} steps of {config.batch_size} images"
        console.print(f"{models.describe(trainer.model)}; {work}")
    console.print(f"at correlations {', '.join(map(str, config.correlations))}; nothing was run")


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Trains, saves and scores every network; returns the saved networks' accuracies."""
    config = typed(Config, config)
    trainers = {name: Trainer(config, name) for name in config.architectures}
    tests = {c: _examples(config, "test", c, console) for c in {0.0, *config.correlations}}
    folder = Path(config.output or run.path / "models")
    summary = []
    for correlation in config.correlations:
        train = _examples(config, "train", correlation, console)
        for architecture, trainer in trainers.items():
            before = Path(config.start).name if config.start else architecture
            name, started = f"{before}_{round(100 * correlation):02d}", time.monotonic()
            with Meter(trainer.steps, "steps", console) as meter:
                meter.say(f"training {name}")
                log = functools.partial(run.log, "epoch", model=name)
                variables = trainer.fit(train, on_step=meter.advance, on_epoch=log)
            models.save(folder / name, trainer.model, variables, config.storage)
            model, variables = models.load(str(folder / name))
            facts = {
                "name": name,
                "seconds": round(time.monotonic() - started, 1),
                "decorrelated": _accuracy(model, variables, tests[0.0]),
                "as_trained": _accuracy(model, variables, tests[correlation]),
            }
            run.log("trained", **facts)
            summary.append(facts)
    console.print(_table(summary))
    console.print(f"models are in {folder}")
    return {"models": summary}


class Trainer:
    """One architecture and its recipe, compiled once for all its training data.

    Warm-up, then cosine decay. Batch norm keeps its initial statistics, 0 and 1: a network this
    shallow trains without batch statistics, and then behaves the same in training and in use.
    """

    def __init__(self, config: Config, architecture: str):
        self.config, self.recipe = config, getattr(config, architecture)
        self.model = plugin("models", architecture).build(
            name=architecture,
            num_classes=CLASSES,
            image_size=(config.data.image_size,) * 2,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            **dataclasses.asdict(self.recipe.architecture),
        )
        self.per_epoch = CLASSES * config.data.train_per_class // config.batch_size
        self.start = _start(config.start, self.model) if config.start else None
        self.steps = self.recipe.epochs * self.per_epoch
        rate = optax.warmup_cosine_decay_schedule(
            0.0, self.recipe.learning_rate, self.steps // 15, self.steps
        )
        rule = OPTIMISERS[self.recipe.optimiser](rate, weight_decay=config.weight_decay)
        self.optimiser = optax.chain(optax.clip_by_global_norm(1.0), rule)
        self.step = jax.jit(self._step)

    def fit(
        self, train: data.Examples, *, on_step: Callable[[int], None], on_epoch: Callable[..., None]
    ) -> Variables:
        """Variables after all epochs.

        Args:
          train: the whole training set.
          on_step: called with the argument 1 after every step.
          on_epoch: called with the keywords epoch, loss and accuracy, on the augmented images.
        """
        variables, size = self.start, self.config.batch_size
        variables = variables or initial(self.model, self.config.seed)
        state = self.optimiser.init(variables["params"])
        for epoch in range(self.recipe.epochs):
            order = np.random.default_rng([self.config.seed, epoch]).permutation(len(train))
            curve = []
            for number in range(self.per_epoch):
                rows = order[number * size : (number + 1) * size]
                batch = train.images[rows], train.labels[rows]
                place = epoch * self.per_epoch + number
                variables, state, point = self.step(variables, state, *batch, place)
                curve.append(point)
                on_step(1)
            loss, accuracy = np.asarray(curve, np.float64).T  # [steps] each
            on_epoch(epoch=epoch, loss=_rounded(loss), accuracy=_rounded(accuracy))
        return variables

    def _step(
        self, variables: Variables, state: Any, images: Array, labels: Array, number: Array
    ) -> tuple[Variables, Any, Array]:
        """One update; also (loss, accuracy) before it, [2]."""
        key = jax.random.fold_in(noise.key(self.config.seed), number)
        images, brightness = images.astype(jnp.float32) / 255, self.config.brightness
        images = augment(images, key, brightness=brightness, noise=self.recipe.noise)
        target = optax.smooth_labels(jax.nn.one_hot(labels, CLASSES), self.config.label_smoothing)

        def loss(params: Any) -> tuple[Array, Array]:
            logits, _ = self.model.forward({**variables, "params": params}, images, {})
            return optax.softmax_cross_entropy(logits, target).mean(), logits

        params = variables["params"]
        (value, logits), slope = jax.value_and_grad(loss, has_aux=True)(params)
        update, state = self.optimiser.update(slope, state, params)
        accuracy = (logits.argmax(-1) == labels).mean()
        params = optax.apply_updates(params, update)
        return {**variables, "params": params}, state, jnp.stack([value, accuracy])


def initial(model: Model, seed: int) -> Variables:
    """The model's own initial variables, but with inner linear kernels of variance 1 / inputs.

    The usual 0.02 suits wide transformers; in narrow ones attention then stays uniform for long.
    """

    def rescale(path: tuple[Any, ...], leaf: Array) -> Array:
        inner = path[-1].key == "kernel" and leaf.ndim == 2 and path[-2].key not in ("head", "fc")
        return leaf * (leaf.shape[0] ** -0.5 / jnp.std(leaf)) if inner else leaf

    return jax.tree_util.tree_map_with_path(rescale, dict(model.init(noise.key(seed))))


def _start(name: str, model: Model) -> Variables:
    """An existing network's weights. Raises ValueError if it is not the same architecture."""
    there, variables = models.load(name)
    found, wanted = (models.describe(one).partition(": ")[2] for one in (there, model))
    if found != wanted:
        raise ValueError(f"config.start: {name} has {found}; what is trained has {wanted}")
    return jax.tree.map(jnp.asarray, variables)


def _rounded(values: Any) -> float:
    return round(float(np.mean(values)), 4)


def augment(images: Array, key: Array, *, brightness: float, noise: float) -> Array:
    """Half mirrored, all lighter or darker, half with Gaussian noise.

    Args:
      images: [b, h, w, 3] in [0, 1], like the result.
      key: for the random choices.
      brightness: gains range from 1 - this to 1 + this.
      noise: sigmas range from 0 to this.
    """
    each = len(images), 1, 1, 1
    flip, gain, sigma, normal = jax.random.split(key, 4)
    images = jnp.where(jax.random.bernoulli(flip, shape=each), images[:, :, ::-1], images)
    images *= 1 + brightness * jax.random.uniform(gain, each, minval=-1)
    level = noise * jnp.maximum(jax.random.uniform(sigma, each, minval=-1), 0)
    return jnp.clip(images + level * jax.random.normal(normal, images.shape), 0, 1)


def _examples(config: Config, split: str, correlation: float, console: Console) -> data.Examples:
    size, per_class = config.data.image_size, getattr(config.data, f"{split}_per_class")
    options = {"size": size, "per_class": per_class, "background_correlation": correlation}
    source = data.load("scenes", "", split, seed=config.seed, **options)
    with Meter(len(source), "images", console) as meter:
        meter.say(f"drawing {split} at correlation {correlation}")
        on_item = lambda done, total: meter.advance(1)  # noqa: E731
        return data.Examples(source, Geometry((size, size)), on_item=on_item)


def _accuracy(model: Model, variables: Variables, examples: data.Examples) -> float:
    answers = parallel.Bound(clean_answers, (model.forward,))
    batches, mesh = examples.batches(100), parallel.data_mesh()
    return _rounded(parallel.map_examples(answers, variables, batches, mesh)["correct"])


def _table(summary: list[dict[str, Any]]) -> Table:
    table = Table("model", "decorrelated test", "test as trained", "time")
    for facts in summary:
        accuracies = (f"{100 * facts[key]:.1f} %" for key in ("decorrelated", "as_trained"))
        table.add_row(facts["name"], *accuracies, duration(facts["seconds"]))
    return table
