"""Placing arrays on a mesh, whole on every device or cut among them, and back on the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

SHARDINGS = ("replicated", "fsdp")
"""For parameters: whole on every device, or each cut along its largest divisible axis."""


def replicated(mesh: Mesh) -> NamedSharding:
    """Whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def cut(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Every device has a part of one axis."""
    return NamedSharding(mesh, PartitionSpec(*(None,) * axis, mesh.axis_names[0]))


def shardings(tree: Any, mesh: Mesh, how: str) -> Any:
    """A sharding for every leaf of a tree of arrays or shapes.

    "fsdp" cuts a leaf along its largest axis that the number of devices divides; a leaf without one
    is small and lies on every device.

    Args:
      how: one of `SHARDINGS`.

    >>> mesh = jax.make_mesh((1,), ("data",))
    >>> tuple(shardings({"kernel": np.zeros((3, 8))}, mesh, "fsdp")["kernel"].spec)
    (None, 'data')
    """
    if how not in SHARDINGS:
        raise ValueError(f"sharding got {how!r}, expected one of {', '.join(SHARDINGS)}")

    def one(leaf: Any) -> NamedSharding:
        axes = [axis for axis, size in enumerate(leaf.shape) if size and size % mesh.size == 0]
        if how == "replicated" or not axes:
            return replicated(mesh)
        return cut(mesh, max(axes, key=lambda axis: leaf.shape[axis]))

    return jax.tree.map(one, tree)


def constrained(tree: Any, mesh: Mesh, how: str) -> Any:
    """Within a compiled function: the tree, placed by `shardings`."""
    return jax.lax.with_sharding_constraint(tree, shardings(tree, mesh, how))


def placed(tree: Any, mesh: Mesh, how: str) -> Any:
    """The tree as arrays on the mesh.

    Args:
      tree: arrays that are whole and equal on every host, or already on this mesh.
    """

    def one(leaf: Any, sharding: NamedSharding) -> jax.Array:
        spread = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
        if spread or sharding.is_fully_addressable:
            return jax.device_put(leaf, sharding)
        # `device_put` would first compare the hosts' values; this only moves the parts.
        here = np.asarray(leaf)
        here = here.astype(jax.dtypes.canonicalize_dtype(here.dtype))
        return jax.make_array_from_callback(here.shape, sharding, lambda place: here[place])

    return jax.tree.map(one, tree, shardings(tree, mesh, how))


def spread(rows: Mapping[str, Any], mesh: Mesh, axis: int) -> dict[str, jax.Array]:
    """All hosts' rows as arrays cut along `axis` over the mesh, from this host's rows.

    Args:
      rows: equally many for each of this host's devices.
    """
    sharding = cut(mesh, axis)
    if sharding.is_fully_addressable:
        return jax.device_put(dict(rows), sharding)

    def one(value: Any) -> jax.Array:
        here = np.asarray(value)
        shape = list(here.shape)
        shape[axis] = shape[axis] // len(mesh.local_devices) * mesh.size
        return jax.make_array_from_process_local_data(sharding, here, tuple(shape))

    return {name: one(value) for name, value in rows.items()}


def whole(tree: Any) -> Any:
    """The tree as whole NumPy arrays on every host; one leaf at a time."""

    def one(leaf: Any) -> np.ndarray:
        if isinstance(leaf, jax.Array) and not (
            leaf.is_fully_addressable or leaf.is_fully_replicated
        ):
            assert isinstance(leaf.sharding, NamedSharding)
            assert isinstance(leaf.sharding.mesh, Mesh)
            leaf = jax.device_put(leaf, replicated(leaf.sharding.mesh))
        return np.asarray(leaf)

    return jax.tree.map(one, tree)
