"""The one way to run a function over a data set: pad, shard, compute, take this host's rows."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from rival_jax.runtime import hosts, placement, profile
from rival_jax.types import Batch, Variables

Rows = dict[str, np.ndarray]
PerExample = Callable[..., Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Bound:
    """`function(*given, ...)`: equal if function and arguments are, so that it is compiled once."""

    function: Callable[..., Any]
    given: tuple[Any, ...]  # hashable

    def __call__(self, *args: Any) -> Any:
        """The function of the given arguments and `args`."""
        return self.function(*self.given, *args)


def of_bytes(fn: PerExample, variables: Variables, batch: Batch, *args: Any) -> Mapping[str, Any]:
    """`fn` of a batch whose pictures are bytes: a quarter of float32 to send to a device."""
    return fn(variables, floats(batch), *args)


def floats(batch: Batch) -> Batch:
    """With every uint8 array as float32 in [0, 1], to the last bit what NumPy's division gives.

    XLA replaces a division by 255 by a product with its rounded inverse, and gets another number
    for half of the values. Here 1 / 255 is 257 / 65536, whose products are exact, and the rest.
    """

    def one(value: Any) -> Any:
        if value.dtype != np.uint8:
            return value
        rest = np.float32(1 / 255 - 257 / 65536)
        above = (257 * value.astype(np.int32)).astype(jnp.float32) * np.float32(2**-16)
        return above + value.astype(jnp.float32) * rest

    return Batch(**{name: one(value) for name, value in batch.items()})


def data_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh with the single axis `data` over the given devices; default: all of all hosts.

    Raises:
      ValueError: if hosts have different numbers of devices.
    """
    if devices is not None or hosts.count() == 1:
        devices = jax.devices() if devices is None else devices
        axis_types = (AxisType.Auto,)
        return jax.make_mesh((len(devices),), ("data",), axis_types=axis_types, devices=devices)
    # In the order of the hosts: each reads one contiguous part of every batch.
    found = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    counts = np.bincount([device.process_index for device in found], minlength=hosts.count())
    if len(set(counts.tolist())) > 1:
        raise ValueError(f"hosts have {counts.tolist()} devices; use as many on each")
    return Mesh(np.array(found), ("data",), axis_types=(AxisType.Auto,))


def local_rows(array: Any) -> np.ndarray:
    """This host's part of an array whose first axis is split over the devices of all hosts."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return np.asarray(array)
    parts = {shard.index[0].start or 0: shard.data for shard in array.addressable_shards}
    return np.concatenate([np.asarray(parts[start]) for start in sorted(parts)])


def map_examples(
    fn: PerExample,
    variables: Variables,
    batches: Iterable[Batch],
    mesh: Mesh,
    *args: Any,
    on_batch: Callable[[int], None] = lambda examples: None,
    sharding: str = "replicated",
) -> Rows:
    """`fn(variables, batch, *args)` over all batches; rows come back in data set order.

    With several hosts, each passes its own batches, equally many of equal size, and gets the rows
    of its own examples; `hosts.gathered_rows` distributes them to all.

    Args:
      fn: pure, returns `{name: [b, ...]}`; compiled once per function, mesh and shapes, so pass
        equal functions (see `Bound`) and put varying values (a noise level) in `args`.
      variables: the same on every host.
      batches: leading axis of any size; padded here to a multiple of the devices. Examples with
        `index` -1 are padding and dropped.
      mesh: see `data_mesh`.
      args: traced arguments, the same on every host.
      on_batch: called with the number of real examples when their results are ready.
      sharding: how `variables` are placed, see `placement.SHARDINGS`.

    Returns:
      `{name: [n, ...]}` sorted by `index`, and `index` itself.
    """
    compiled = _compiled(fn, mesh, len(args), sharding)
    variables = placement.placed(variables, mesh, sharding)
    args = tuple(_argument(value, mesh) for value in args)
    parts: list[Rows] = []

    def collect(index: np.ndarray, output: Mapping[str, Any]) -> None:
        real = index >= 0
        rows = {name: local_rows(value)[real] for name, value in output.items()}
        parts.append({"index": index[real], **rows})
        profile.on_step()
        on_batch(int(real.sum()))

    running: tuple[np.ndarray, Mapping[str, Any]] | None = None
    for batch in profile.timed(batches):
        padded = _pad(batch, mesh.size // hosts.count())
        output = compiled(variables, placement.spread(padded, mesh, 0), *args)
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
def _compiled(
    fn: PerExample, mesh: Mesh, num_args: int, sharding: str
) -> Callable[..., Mapping[str, Any]]:
    whole = NamedSharding(mesh, PartitionSpec())
    parts = NamedSharding(mesh, PartitionSpec("data"))
    variables = whole if sharding == "replicated" else None  # None: keep their placement
    in_shardings = (variables, parts, *(whole,) * num_args)
    return jax.jit(fn, in_shardings=in_shardings, out_shardings=parts)


def _argument(value: Any, mesh: Mesh) -> Any:
    """One of `args` on every device; random keys as their numbers, which NumPy can hold."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        numbers = placement.placed(jax.random.key_data(value), mesh, "replicated")
        return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(value))
    return placement.placed(value, mesh, "replicated")


def _pad(batch: Batch, multiple: int) -> dict[str, np.ndarray]:
    """Repeats row 0 up to a multiple of the host's devices; the copies' index is -1."""
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
