"""Our side of the noise sweep: the rfs experiment's own units, in a process of their own.

What is timed is what `python -m rival_jax.main --config=configs/rfs.py` does between loading the
models and writing files: the units of `rival_jax.experiments.rfs`, level by level.
"""

from __future__ import annotations

import pathlib
import runpy
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from worker import cores, outcome, seconds, serve

from rival_jax.experiments.rfs import Experiment

ROOT = pathlib.Path(__file__).parent.parent


class Ours:
    """One network and one data set, loaded; the sweep runs on them."""

    def hello(self) -> dict[str, Any]:
        """Versions and the device."""
        device = jax.devices()[0].device_kind
        return {"jax": jax.__version__, "threads": cores(), "device": device}

    def open(
        self, folder: str, name: str, dtype: str, levels: list[float], trials: int
    ) -> dict[str, Any]:
        """Loads, picks the batch size and compiles."""
        precision = {"float32": "highest", "tf32": "tensorfloat32"}.get(dtype)
        if jax.default_backend() != "cpu":
            jax.config.update("jax_default_matmul_precision", precision)
        config = runpy.run_path(str(ROOT / "configs" / "rfs.py"))["get_config"]()
        config.models, config.head = (folder,), "own"
        config.dtype = "bfloat16" if dtype == "bfloat16" else "float32"
        config.data.name, config.data.root = "benchmarks.inputs", folder
        config.noise.sigmas, config.noise.trials = tuple(levels), trials
        self.config = config
        self.experiment = Experiment(config, Console(stderr=True, quiet=True))
        self.loaded = self.experiment.subject.load(folder)
        self.plan = self.experiment.pick(self.loaded)
        self.run()
        return self.plan

    def logits(self, count: int) -> list[list[list[float]]]:
        """Of the first images."""
        batch: Any = next(self.experiment.subject.examples(self.loaded.geometry).batches(count))
        forward = jax.jit(lambda v, x: self.loaded.model.forward(v, x, {})[0])
        return [forward(self.loaded.variables, batch["image"]).tolist()]

    def run(self) -> dict[str, Any]:
        """One whole sweep, timed."""
        start = time.perf_counter()
        units = self.experiment.units(self.loaded, self.plan, "own")
        clean, *noisy = (unit.compute(lambda count: None) for unit in units)
        shape = (len(noisy), len(clean["correct"]), self.config.noise.trials, 2)
        scores = (np.stack([rows[name] for rows in noisy]).reshape(shape) for name in SCORES)
        found = outcome(np.asarray(clean["correct"]), *scores)
        return {"seconds": time.perf_counter() - start, **found}

    def peak(self, sizes: list[int], dtype: str) -> dict[str, float]:
        """GFLOP/s of square matrix products by size."""
        kind = jnp.bfloat16 if dtype == "bfloat16" else jnp.float32
        return {str(size): _product(size, kind) for size in sizes}


SCORES = ("probability", "correct")


def _product(size: int, kind: Any) -> float:
    keys = jax.random.split(jax.random.key(0))
    left, right = (jax.random.normal(key, (size, size), kind) for key in keys)
    product = jax.jit(jnp.matmul)
    product(left, right).block_until_ready()
    took = seconds(lambda: product(left, right).block_until_ready(), repeats=4)
    return 2 * size**3 / took / 1e9


if __name__ == "__main__":
    sys.path.append(str(ROOT))
    ours = Ours()
    serve([ours.hello, ours.open, ours.logits, ours.run, ours.peak])
