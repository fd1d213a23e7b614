"""What is measured of a network before and after finetuning: accuracy, where it looks, RFS."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import alignment, metrics, noise, saliency, taps
from rival_jax.data import Examples
from rival_jax.experiments._changed import tidy
from rival_jax.experiments._noise_trials import Sweep, noise_trials
from rival_jax.experiments._subject import Loaded, Subject, one_of
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Category, Columns
from rival_jax.types import Array, Batch, Model, Variables

ROWS_VERSION = 1  # in every unit's hash: raise it when the same inputs give other rows
REGIONS = ("foreground", "background")
MEASURES = ("iou", "pixel_accuracy", "average_precision")


@dataclasses.dataclass(frozen=True)
class Look:
    """How relevance maps are made and read; the named values of `config.evaluate`."""

    method: str
    explained: str  # "predicted" | "label"


def maps_of(model: Model, look: Look, variables: Variables, batch: Batch) -> tuple[Array, Array]:
    """Maps [b, h, w] in [0, 1], and logits [b, c]."""
    image, label = jnp.asarray(batch["image"]), jnp.asarray(batch["label"])
    logits, _ = model.forward(variables, image, {})
    score = taps.predicted_score if look.explained == "predicted" else taps.class_score(label)
    return saliency.explain(look.method, model, variables, image, score), logits


def scored(model: Model, look: Look, variables: Variables, batch: Batch) -> dict[str, Array]:
    """[b] each: probability of the true class, correct, and how well the map finds the object.

    The map is cut at its mean (RobustViT, table 3); an object is a mask above 1/2.
    """
    found, logits = maps_of(model, look, variables, batch)
    probability, correct = metrics.true_class(logits, jnp.asarray(batch["label"]))
    inside = (jnp.asarray(batch["mask"]) > 0.5).astype(jnp.float32)
    marked = (found > found.mean((1, 2), keepdims=True)).astype(jnp.float32)
    both, either = alignment.intersection_and_union(marked, inside)
    return {
        "probability": probability,
        "correct": correct,
        "iou": both[:, 1] / jnp.maximum(either[:, 1], 1),
        "pixel_accuracy": alignment.pixel_accuracy(marked, inside),
        "average_precision": alignment.average_precision(found, inside),
    }


@dataclasses.dataclass(frozen=True)
class Unit:
    """A file of rows of one network."""

    name: str
    depends_on: dict[str, Any]
    compute: Callable[[Variables], Columns]
    flops: float = 0.0  # of what the meter counts, where it is known


def units(
    config: Any,
    loaded: Loaded,
    subjects: dict[str, Subject],
    sizes: dict[str, Any],
    name: str,
    masked: tuple[str, ...],
    *,
    noisy: bool,
    on_batch: Callable[[int], None],
) -> Iterator[Unit]:
    """The units of one network, for all test sets and, if `noisy`, noise in the first of them.

    Args:
      loaded: the original; what is computed is told its weights later.
      subjects: test sets by name.
      sizes: "images" and "noisy_images" per step, "trials" at once, "flops" of a forward pass.
      name: of the network in the rows.
      masked: classes whose masks it was trained with.
    """
    look = Look(config.evaluate.method, config.evaluate.explained)
    fn = parallel.Bound(scored, (loaded.model, look))
    for test, subject in subjects.items():
        examples = subject.examples(loaded.geometry)
        base = {"version": ROWS_VERSION, "data": examples.fingerprint}

        def score(variables: Variables, subject: Subject = subject, test: str = test) -> Columns:
            examples = subject.examples(loaded.geometry)
            values = parallel.map_examples(
                fn,
                variables,
                examples.batches(sizes["images"]),
                subject.mesh,
                on_batch=on_batch,
                sharding=config.sharding,
            )
            image, words = values.pop("index"), {"test": test}
            columns = _tidy(config, loaded, name, examples, image, words, values)
            return {**columns, "class_set": class_set(examples, masked, image)}

        yield Unit(test, base | dataclasses.asdict(look) | {"masked": list(masked)}, score)
    if noisy:
        yield from _noise_units(
            config, loaded, next(iter(subjects.values())), sizes, name, on_batch
        )


def _noise_units(
    config: Any,
    loaded: Loaded,
    subject: Subject,
    sizes: dict[str, Any],
    name: str,
    on_batch: Callable[[int], None],
) -> Iterator[Unit]:
    examples, c = subject.examples(loaded.geometry), config.noise
    binary = config.data.mask == "binary"
    for norm in c.norms:
        sweep = Sweep(norm, REGIONS, c.trials, sizes["trials"], binary)
        fn = parallel.Bound(noise_trials, (loaded.model.forward, sweep))
        for level in levels(config, norm):

            def compute(variables: Variables, fn=fn, norm=norm, level=level) -> Columns:
                found = parallel.map_examples(
                    fn,
                    variables,
                    examples.batches(sizes["noisy_images"]),
                    subject.mesh,
                    noise.key(config.seed),
                    jnp.float32(level),
                    on_batch=lambda images: on_batch(images * c.trials * len(REGIONS)),
                    sharding=config.sharding,
                )
                image = np.repeat(found["index"], len(REGIONS))
                values = {
                    key: found[key].mean(1, dtype=np.float64).astype(np.float32).ravel()
                    for key in ("probability", "correct")
                }
                words = {"norm": norm, "level": f"{level:.6g}"}
                columns = _tidy(config, loaded, name, examples, image, words, values)
                region = np.tile(np.arange(len(REGIONS)), len(found["index"]))
                return {**columns, "region": Category(region, list(REGIONS))}

            settled = {"norm": norm, "level": level, "trials": c.trials, "seed": config.seed}
            settled |= {"mask": config.data.mask, "data": examples.fingerprint}
            depends_on = {"version": ROWS_VERSION, **settled}
            yield Unit(f"{norm}_{level:.6g}", depends_on, compute, sizes["flops"])


def _tidy(
    config: Any,
    loaded: Loaded,
    name: str,
    examples: Examples,
    image: np.ndarray,
    words: dict[str, str],
    values: dict[str, np.ndarray],
) -> Columns:
    named = dataclasses.replace(loaded, model=dataclasses.replace(loaded.model, name=name))
    return tidy(config.data.name, named, examples, image, words, values)


def class_set(examples: Examples, masked: tuple[str, ...], image: np.ndarray) -> Category:
    """ "A" for images of the classes whose masks were trained on, "B" for the others."""
    outside = np.array([name not in masked for name in examples.classes])
    return Category(outside[examples.labels[image]].astype(np.int32), ["A", "B"])


def levels(config: Any, norm: str) -> tuple[float, ...]:
    """The noise levels of a norm."""
    return tuple(map(float, {"linf": config.noise.sigmas, "l2": config.noise.epsilons}[norm]))


def check(config: Any) -> None:
    """Raises ValueError for settings of `config.noise` and `config.evaluate` without a meaning."""
    for norm in config.noise.norms:
        one_of("noise.norms", norm, noise.NORMS)
        found = levels(config, norm)
        if not found or min(found) <= 0 or len(set(found)) < len(found):
            raise ValueError(f"config.noise: {norm} levels {found} must be positive and distinct")
    if config.noise.trials < 1:
        raise ValueError("config.noise.trials must be at least 1")
    one_of("evaluate.explained", config.evaluate.explained, ("predicted", "label"))
    one_of("evaluate.checkpoint", config.evaluate.checkpoint, ("best", "last"))
    if any(not 0 < alpha < 1 for alpha in config.evaluate.alphas):
        raise ValueError(
            f"config.evaluate.alphas={tuple(config.evaluate.alphas)}: shares of the finetuned "
            "weights, above 0 and below 1"
        )


def forwards(config: Any) -> int:
    """Noisy forward passes per image of the first test set."""
    count = sum(len(levels(config, norm)) for norm in config.noise.norms)
    return count * config.noise.trials * len(REGIONS)


@jax.jit
def mixed(original: Variables, tuned: Variables, alpha: Array | float) -> Variables:
    """Weights on the straight line between two networks (WiSE-FT); 1 is the finetuned one."""
    mix = lambda a, b: ((1 - alpha) * a + alpha * b).astype(a.dtype)  # noqa: E731
    return {**original, "params": jax.tree.map(mix, original["params"], tuned["params"])}
