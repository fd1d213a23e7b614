"""Our side of `finetune_step.py`, in a process of its own."""

from __future__ import annotations

import math
import pathlib
import resource
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from worker import cores, serve

from rival_jax import models, saliency, taps
from rival_jax.objectives import robustvit
from rival_jax.runtime import parallel, placement
from rival_jax.types import Array, Batch, Model, Variables

SECOND = {"ours": False, "ours_second": True}
ADAMW = optax.adamw(3e-6, weight_decay=1e-4)


def relevance(model: Model, variables: Variables, batch: Batch) -> Array:
    """Maps [b, h, w] of the labels."""
    image, score = jnp.asarray(batch["image"]), taps.class_score(jnp.asarray(batch["label"]))
    return saliency.explain("relevance", model, variables, image, score)


def loss_and_gradient(
    model: Model, variables: Variables, batch: Batch, second: bool
) -> tuple[Array, Any]:
    """The released objective, and its gradient to the parameters."""

    def total(params: Any) -> Array:
        tree = {**variables, "params": params}
        options = {"border": "released", "through_grads": second}
        return robustvit.terms(model, tree, batch, **options)["total"].mean()

    return jax.value_and_grad(total)(variables["params"])


class Ours:
    """One network and one batch in memory, every program compiled."""

    def hello(self) -> dict[str, Any]:
        """Versions and the device."""
        device = jax.devices()[0].device_kind
        return {"jax": jax.__version__, "threads": cores(), "device": device}

    def open(self, folder: str, name: str) -> dict[str, Any]:
        """Loads; what every compiled program needs of memory besides weights, MiB an image."""
        if jax.default_backend() != "cpu":
            jax.config.update("jax_default_matmul_precision", "highest")
        path = pathlib.Path(folder)
        images, masks = np.load(path / "images.npy"), np.load(path / "masks.npy")
        batch = {
            "image": images.astype(np.float32) / 255,
            "mask": masks.astype(np.float32) / 255,
            "label": np.load(path / "labels.npy"),
        }
        devices = math.gcd(len(images), jax.device_count())
        mesh = parallel.data_mesh(jax.devices()[:devices])
        self.batch: Any = placement.spread(batch, mesh, 0)
        self.whole = placement.replicated(mesh)
        self.model, variables = models.load(folder)
        self.variables = jax.device_put(variables, self.whole)
        self.params, self.state = None, None
        self.compiled: dict[tuple[str, str], Any] = {}
        return {}

    def outputs(self, program: str) -> dict[str, Any]:
        """Maps, every eighth pixel; the loss and its gradient's norm before any step."""
        maps = self._program("relevance", program)(self.variables, self.batch)[:, ::8, ::8]
        slope = jax.jit(loss_and_gradient, static_argnums=(0, 3))
        loss, gradient = slope(self.model, self.variables, self.batch, SECOND[program])
        norm = sum(float(jnp.vdot(leaf, leaf)) for leaf in jax.tree.leaves(gradient)) ** 0.5
        return {"maps": maps.tolist(), "loss": float(loss), "norm": norm}

    def relevance(self, program: str) -> dict[str, float]:
        """The maps of the batch, timed."""
        run = self._program("relevance", program)
        return self._timed(lambda: run(self.variables, self.batch))

    def step(self, program: str) -> dict[str, float]:
        """One update, timed."""
        run = self._program("step", program)
        if self.state is None:
            self.params = jax.tree.map(jnp.copy, self.variables["params"])
            self.state = jax.device_put(ADAMW.init(self.params), self.whole)

        def update() -> Array:
            self.params, self.state, loss = run(self.params, self.state, self.batch)
            return loss

        return self._timed(update)

    def temporaries(self, kind: str, program: str) -> float:
        """MiB an image that the compiled program takes besides its arguments and results."""
        size = self._program(kind, program).memory_analysis().temp_size_in_bytes
        return size / len(self.batch["label"]) / 2**20

    def peak_memory(self) -> float:
        """MiB, of the device where it has memory of its own, otherwise resident in this process."""
        found = jax.devices()[0].memory_stats() or {}
        peak = found.get("peak_bytes_in_use", 0) / 2**20
        return peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def _timed(self, function: Callable[[], Array]) -> dict[str, float]:
        start = time.perf_counter()
        function().block_until_ready()
        return {"seconds": time.perf_counter() - start}

    def _program(self, command: str, program: str) -> Any:
        key = (command, "ours" if command == "relevance" else program)
        if key not in self.compiled:
            self.compiled[key] = self._compile(*key)
        return self.compiled[key]

    def _compile(self, command: str, program: str) -> Any:
        model, variables = self.model, self.variables
        if command == "relevance":
            explain = jax.jit(lambda v, batch: relevance(model, v, batch))
            return explain.lower(variables, self.batch).compile()

        def update(params: Any, state: Any, batch: Batch) -> tuple[Any, Any, Array]:
            tree = {**variables, "params": params}
            loss, gradient = loss_and_gradient(model, tree, batch, SECOND[program])
            change, state = ADAMW.update(gradient, state, params)
            after = optax.apply_updates(params, change), state
            return *jax.lax.with_sharding_constraint(after, self.whole), loss

        params = variables["params"]
        step = jax.jit(update, donate_argnums=(0, 1))
        state = jax.device_put(ADAMW.init(params), self.whole)
        return step.lower(params, state, self.batch).compile()


if __name__ == "__main__":
    ours = Ours()
    commands = [ours.hello, ours.open, ours.outputs, ours.relevance, ours.step]
    serve([*commands, ours.temporaries, ours.peak_memory])
