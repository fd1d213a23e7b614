"""The one way to run a function over a data set: pad, shard, compute, gather, restore order."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from rival_jax.types import Batch, Variables

Rows = dict[str, np.ndarray]
PerExample = Callable[..., Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Bound:
    """`function(*given, ...)`: equal to another where both are, so that it is compiled once."""

    function: Callable[..., Any]
    given: tuple[Any, ...]  # hashable

    def __call__(self, *args: Any) -> Any:
        """The function of what was given and `args`."""
        return self.function(*self.given, *args)


def data_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh with the one axis `data` over the given devices, default all of them."""
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def map_examples(
    fn: PerExample,
    variables: Variables,
    batches: Iterable[Batch],
    mesh: Mesh,
    *args: Any,
    on_batch: Callable[[int], None] = lambda examples: None,
) -> Rows:
    """`fn(variables, batch, *args)` over all batches; rows come back in data set order.

    Args:
      fn: pure, returns `{name: [b, ...]}`; compiled once per function, mesh and shapes, so pass
        an equal function again (see `Bound`) and put what varies (a noise level) in `args`.
      variables: replicated over the mesh.
      batches: leading axis of any size; padded to a multiple of the mesh here. Examples with
        `index` -1 are padding and dropped.
      mesh: see `data_mesh`.
      args: traced arguments.
      on_batch: called with the number of real examples once their results are in.

    Returns:
      `{name: [n, ...]}` sorted by `index`, and `index` itself.
    """
    replicated = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec("data"))
    compiled = _compiled(fn, mesh, len(args))
    variables = jax.device_put(variables, replicated)
    parts: list[Rows] = []

    def collect(index: np.ndarray, output: Mapping[str, Any]) -> None:
        real = index >= 0
        rows = {name: np.asarray(value)[real] for name, value in output.items()}
        parts.append({"index": index[real], **rows})
        on_batch(int(real.sum()))

    running: tuple[np.ndarray, Mapping[str, Any]] | None = None
    for batch in batches:
        padded = _pad(batch, mesh.size)
        output = compiled(variables, jax.device_put(padded, split), *args)
        if running:  # one batch behind, so that reading the next overlaps computing this one
            collect(*running)
        running = (np.asarray(padded["index"]), output)
    if running:
        collect(*running)
    if not parts:
        raise ValueError("no batches: the data set is empty")
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(rows["index"], kind="stable")
    return {name: value[order] for name, value in rows.items()}


@functools.lru_cache(maxsize=64)
def _compiled(fn: PerExample, mesh: Mesh, num_args: int) -> Callable[..., Mapping[str, Any]]:
    replicated = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec("data"))
    in_shardings = (replicated, split, *(replicated,) * num_args)
    return jax.jit(fn, in_shardings=in_shardings, out_shardings=split)


def _pad(batch: Batch, multiple: int) -> dict[str, np.ndarray]:
    """Repeats row 0 up to a multiple of the mesh size; the copies' index is -1."""
    arrays = {name: np.asarray(value) for name, value in batch.items()}
    short = -len(arrays["index"]) % multiple
    if not short:
        return arrays
    padded = {
        name: np.concatenate([value, np.repeat(value[:1], short, axis=0)])
        for name, value in arrays.items()
    }
    padded["index"][-short:] = -1
    return padded


class Cost(NamedTuple):
    """What one example costs: floating-point operations, bytes of working memory, seconds."""

    flops: float
    bytes: float
    seconds: float


def measure(fn: Callable[..., Any], variables: Variables, inputs: Any) -> Cost:
    """Cost per example of `fn(variables, inputs)`, compiled for the inputs' batch size and timed.

    Args:
      fn: pure. inputs: arrays with one leading axis, a batch large enough to be typical.

    Returns:
      operations and memory as the compiler counts them (0 where it does not tell), and the
      shortest of three runs on one device.
    """
    size = len(jax.tree.leaves(inputs)[0])
    compiled = jax.jit(fn).lower(variables, inputs).compile()
    analysis, memory = compiled.cost_analysis(), compiled.memory_analysis()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(compiled(variables, inputs))
        seconds.append(time.perf_counter() - start)
    flops = (analysis or {}).get("flops", 0.0)
    return Cost(flops / size, getattr(memory, "temp_size_in_bytes", 0) / size, min(seconds) / size)


def memory_budget(device: Any) -> int:
    """Bytes a program may use for working memory on a device.

    Accelerators: 60 % of what the device reports. CPUs: 40 MiB, some 18 forward passes of a
    ViT-Tiny: beyond that larger batches only spill the caches, and XLA fuses less.
    """
    stats = device.memory_stats() if device.platform != "cpu" else None
    return int(0.6 * stats["bytes_limit"]) if stats else 40 << 20
