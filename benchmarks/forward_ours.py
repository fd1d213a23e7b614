"""Our forward pass, for `forward.py`: what the experiments compile, in a process of its own."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from worker import cores, seconds, serve

from rival_jax import models


class Ours:
    """One network and a batch of photos."""

    def hello(self) -> dict[str, Any]:
        """Versions."""
        return {"jax": jax.__version__, "threads": cores()}

    def open(self, folder: str, name: str, batch: int) -> list[str]:
        """Loads and compiles; returns the programs' names."""
        model, self.variables = models.load(folder)
        pixels = np.load(pathlib.Path(folder) / "images.npy")[:batch]
        self.images = jnp.asarray(pixels, jnp.float32) / 255
        self.forward = jax.jit(lambda v, x: model.forward(v, x, {})[0])
        return ["ours"]

    def logits(self, program: str) -> list[list[float]]:
        """Of the batch."""
        return self.forward(self.variables, self.images).tolist()

    def run(self, program: str) -> float:
        """Seconds of a pass."""
        return seconds(lambda: self.forward(self.variables, self.images).block_until_ready())

    def peak(self, sizes: list[int]) -> float:
        """GFLOP/s of the fastest square matrix product."""
        rates = []
        product = jax.jit(jnp.matmul)
        for size in sizes:
            one = jnp.ones((size, size), jnp.float32)
            product(one, one).block_until_ready()
            took = seconds(lambda one=one: product(one, one).block_until_ready(), repeats=4)
            rates.append(2 * size**3 / took / 1e9)
        return max(rates)


if __name__ == "__main__":
    sys.path.append(str(pathlib.Path(__file__).parent.parent))
    ours = Ours()
    serve([ours.hello, ours.open, ours.logits, ours.run, ours.peak])
