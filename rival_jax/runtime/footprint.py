"""What one example costs a program, as its compiler counts, and what a device may be asked for."""

from __future__ import annotations

import dataclasses
import functools
import timeit
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh

from rival_jax.runtime import hosts, placement
from rival_jax.types import Variables


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one example: floating-point operations, and bytes of working memory."""

    flops: float
    bytes: float
    timed: Callable[[], float] = lambda: 0.0

    @functools.cached_property
    def seconds(self) -> float:
        """Timed when first asked for; all hosts must ask."""
        return self.timed()


def measure(
    fn: Callable[..., Any],
    variables: Variables,
    inputs: Any,
    mesh: Mesh | None = None,
    sharding: str = "replicated",
) -> Cost:
    """Cost per example of `fn(variables, inputs)`, compiled for the inputs' batch size.

    Args:
      fn: pure. inputs: arrays with a common leading axis, a batch of typical size, the same on
        every host.
      mesh, sharding: for `variables` that one device cannot hold, see `parallel.map_examples`.

    Returns:
      operations and memory as counted by the compiler (0 if unknown); seconds are the shortest of
      three runs on one device. Measured by process 0.
    """
    size = len(jax.tree.leaves(inputs)[0])
    if mesh and sharding != "replicated":
        variables = placement.placed(variables, mesh, sharding)
        inputs = placement.placed(inputs, mesh, "replicated")
    lowered = jax.jit(fn).lower(variables, inputs)
    # Operations and buffers are the same without the optimisation of machine code, half the work.
    quickly: Any = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    compiled = lowered.compile(quickly)
    analysis, memory = compiled.cost_analysis(), compiled.memory_analysis()
    flops = (analysis or {}).get("flops", 0.0)
    found = (flops / size, getattr(memory, "temp_size_in_bytes", 0) / size)

    def timed() -> float:
        compiled = lowered.compile()
        once = lambda: jax.block_until_ready(compiled(variables, inputs))  # noqa: E731
        return hosts.agreed(min(timeit.repeat(once, number=1, repeat=3)) / size)

    return Cost(*hosts.agreed(found), timed)


def memory_budget(device: Any) -> int:
    """Bytes a program may use for working memory on a device.

    Accelerators: 60 % of what the device reports. CPUs: 40 MiB, about 18 forward passes of a
    ViT-Tiny: larger batches only spill the caches, and XLA fuses less.
    """
    stats = device.memory_stats() if device.platform != "cpu" else None
    return int(0.6 * stats["bytes_limit"]) if stats else 40 << 20
