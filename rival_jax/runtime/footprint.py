"""What one example costs a program, as its compiler counts, and what a device may be asked for."""

from __future__ import annotations

import dataclasses
import functools
import math
import timeit
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh

from rival_jax.runtime import hosts, placement
from rival_jax.types import Geometry, Variables

MAX_FORWARDS = 2048  # per device and step: more does not fill an accelerator better


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


def step_size(
    config: Any,
    mesh: Mesh,
    cost: Cost,
    geometry: Geometry,
    images: int,
    trials: int = 1,
    regions: int = 1,
) -> tuple[int, int]:
    """(images per step, trials at once) that fit the devices' memory.

    `config.batch_size` is the number of images unless it is "auto".

    Args:
      cost: of a forward pass.
      geometry: of its input.
      images, trials, regions: there are in all; each image has forward passes for each of both.
    """
    devices, pixels = mesh.size, 4 * 3 * math.prod(geometry.size)
    budget = memory_budget(mesh.devices.flat[0])
    forwards = min(MAX_FORWARDS, max(1, int(budget / (cost.bytes + 4 * pixels))))
    at_once = max(
        d for d in range(1, trials + 1) if trials % d == 0 and (d == 1 or d * regions <= forwards)
    )
    if config.batch_size != "auto":
        return int(config.batch_size), at_once
    most = max(1, forwards // (at_once * regions)) * devices
    steps = math.ceil(images / most)  # of equal size, so that the last is not mostly padding
    return math.ceil(images / steps / devices) * devices, at_once
