"""Arrays by path: `.npz` of AugReg and big_vision, and the msgpack files of Flax."""

from __future__ import annotations

import math
import re
from typing import Any

import msgpack
import numpy as np

from rival_jax.weights.inert_pickle import Foreign
from rival_jax.weights.stored import TYPES, Archive

MAX_LIST = 4096  # entries; msgpack allocates as many as a list claims to have

_HEADER = re.compile(
    rb"\{'descr': '([<|])([biufcSUV])(\d{1,6})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,19}, ?)*(?:\d{1,19})?)\),? *\}\s*"
)


def read_npz(archive: Archive) -> dict[str, Any]:
    """The arrays of an `.npz`, nested by the "/" in their names.

    Raises:
      ValueError: a member is not an array, is damaged, or holds pickled objects.
    """
    tree: dict[str, Any] = {}
    for name in archive.names():
        if not name.endswith(".npy"):
            raise ValueError(f"its member {name!r} is not an array")
        *parents, last = name.removesuffix(".npy").split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ValueError(f"{name!r} lies below another array")
        if last in node:
            raise ValueError(f"two arrays are named {name!r}")
        node[last] = _npy(archive.inflated(name), name)
    return tree


def _npy(data: memoryview, name: str) -> np.ndarray:
    """One array; raw two-byte values are bfloat16, for which the format has no name."""
    wide = bytes(data[6:7]) > b"\x01"
    start = 12 if wide else 10
    end = start + int.from_bytes(data[8:start], "little")
    header = bytes(data[start : min(end, start + 4096)])
    if b"'|O'" in header:
        raise ValueError(f"{name!r} holds pickled objects, which are not read")
    found = _HEADER.fullmatch(header) if data[:6] == b"\x93NUMPY" else None
    if found is None or (found[2] == b"V" and found[3] != b"2"):
        raise ValueError(f"{name!r} is no array of little-endian numbers")
    order, kind, size, by_column, sizes = (part.decode() for part in found.groups())
    dtype = TYPES["bfloat16"] if kind == "V" else np.dtype(f"{order}{kind}{size}")
    shape = [int(count) for count in sizes.split(",") if count.strip()]
    return _array(data[end:], dtype, shape, name, "F" if by_column == "True" else "C")


def read_msgpack(data: memoryview | bytes) -> Any:
    """The content of a file of `flax.serialization`, where lists are dicts keyed "0", "1", ...

    Raises:
      ValueError: it is damaged (msgpack may also raise its own errors).
    """
    return msgpack.unpackb(
        data,
        strict_map_key=False,
        max_array_len=MAX_LIST,
        ext_hook=_extension,
        object_hook=_joined,
    )


def _extension(code: int, data: bytes) -> Any:
    if code == 2:
        return complex(*msgpack.unpackb(data, max_array_len=2))
    if code not in (1, 3):
        return Foreign(f"msgpack extension {code}")
    shape, name, raw = msgpack.unpackb(data, max_array_len=64)
    if name not in TYPES:
        raise ValueError(f"an array of {name!r}")
    array = _array(raw, TYPES[name], shape, "it")
    return array if code == 1 else array[()]


def _joined(node: dict[Any, Any]) -> Any:
    """Joins the flat pieces into which Flax cuts an array of more than a gigabyte."""
    if "__msgpack_chunked_array__" not in node:
        return node
    pieces, sizes = (
        [node[key][str(i)] for i in range(len(node[key]))] for key in ("chunks", "shape")
    )
    flat = np.concatenate(pieces)
    return _array(flat.view(np.uint8).data, flat.dtype, sizes, "a cut array")


def _array(data: Any, dtype: np.dtype, shape: list[int], name: str, order: Any = "C") -> np.ndarray:
    """A view of the bytes."""
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"{name} has the shape {shape}")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{name} is {len(data)} bytes, not {shape} times {dtype}")
    return np.ndarray(shape, dtype, buffer=data, order=order)
