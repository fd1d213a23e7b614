"""A training small enough for tests: a linear model on drawn numbers. Run as a script it trains."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rival_jax.runtime import parallel, train
from rival_jax.runtime.members import Data, Member, Trained, Watch
from rival_jax.runtime.update import Recipe
from rival_jax.types import Batch

SIDE, CLASSES, EXAMPLES = 4, 3, 22
RECIPE = Recipe(epochs=4, batch_size=8, weight_decay=0.1)
ABOUT = {"model": "linear"}
VARIABLES = {
    "params": {
        "kernel": np.linspace(-1, 1, 3 * SIDE * SIDE * CLASSES, dtype=np.float32).reshape(-1, 3),
        "bias": np.zeros(CLASSES, np.float32),
    }
}


def terms(variables, batch, numbers):
    """Cross-entropy, and a penalty whose weight is a number."""
    image = jnp.asarray(batch["image"]).reshape(len(batch["label"]), -1)
    params = variables["params"]
    logits = image.astype(params["kernel"].dtype) @ params["kernel"] + params["bias"]
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(batch["label"]))
    penalty = jnp.square(logits).mean(1)
    return {
        "loss": loss,
        "penalty": penalty,
        "total": loss + numbers["weight"] * penalty,
        "correct": (logits.argmax(1) == jnp.asarray(batch["label"])).astype(jnp.float32),
    }


TERMS = parallel.Bound(terms, ())


def drawn(seed: int, count: int = EXAMPLES, side: int = SIDE) -> dict[str, np.ndarray]:
    """Images and labels."""
    rng = np.random.default_rng(seed)
    image = rng.random((count, side, side, 3), np.float32)
    mask = (rng.random((count, side, side)) > 0.5).astype(np.float32)
    label = rng.integers(0, CLASSES, count, np.int32)
    return {"image": image, "mask": mask, "label": label, "index": np.arange(count, dtype=np.int32)}


def cut(examples: dict[str, np.ndarray], rows: np.ndarray, size: int, first: int = 0):
    """This host's part of batches of some rows, filled up for all devices."""
    each = -(-size // jax.device_count()) * jax.local_device_count()
    mine = np.arange(each) + each * jax.process_index()
    for start in range(first * size, len(rows), size):
        some = rows[start : start + size]
        taken = np.resize(some, each * jax.process_count())[mine]
        batch = {name: value[taken] for name, value in examples.items()}
        batch["index"] = np.where(mine < len(some), batch["index"], -1)
        yield Batch(**batch)


def data(recipe: Recipe = RECIPE, change=lambda batch: batch, side: int = SIDE) -> Data:
    """Every seed has its own examples."""

    def epoch(seed: int, number: int, first: int):
        order = np.random.default_rng([seed, number]).permutation(EXAMPLES)
        return map(change, cut(drawn(seed, side=side), order, recipe.batch_size, first))

    return Data(
        per_epoch=-(-EXAMPLES // recipe.batch_size),
        train=epoch,
        held_out=lambda seed: cut(drawn(seed + 100, side=side), np.arange(EXAMPLES), 8),
        name=lambda seed, index: f"seed{seed}/{index}",
    )


def members(*seeds: int, rate: float = 0.03, numbers=None) -> list[Member]:
    """One training for each seed."""
    numbers = {"weight": 0.01} if numbers is None else numbers
    return [Member(f"linear_{seed}", seed, rate, numbers) for seed in seeds]


def fit(folder: Path, *, recipe: Recipe = RECIPE, who=None, seconds: float = 1e9, **changed):
    """`train.fit` of the cases above."""
    given = {"about": ABOUT, "mesh": parallel.data_mesh(), "data": data(recipe), **changed}
    parts = (given.pop("terms", TERMS), given.pop("variables", VARIABLES), recipe)
    chosen = given.pop("data")
    return train.fit(*parts, who or members(0), chosen, folder=folder, seconds=seconds, **given)


def save(trained: Trained, file: Path) -> None:
    """All that must not depend on interruptions."""
    flat, _ = jax.tree_util.tree_flatten_with_path((trained.best, trained.last))
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in flat}
    np.savez(file, history=np.array(repr(trained.history)), **arrays)


if __name__ == "__main__":
    where = Path(sys.argv[1])

    def told(images: int) -> None:
        print("step", flush=True)
        time.sleep(0.05)

    watch = Watch(on_step=told, say=lambda text: print(text, flush=True))
    with jax.default_matmul_precision("highest"):  # as in all tests
        fit(where / "work", who=members(0, 1), seconds=float(sys.argv[2]), watch=watch)
