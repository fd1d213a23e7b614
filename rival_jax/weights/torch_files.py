"""Reads files of `torch.save` and `torch.jit.save` without torch; nothing in them is run.

Both are zip files: `<name>/data.pkl`, a pickle that refers to `<name>/data/<key>`, the tensors'
storages. The stream of torch before 1.6 is five pickles, then the storages.
"""

from __future__ import annotations

import io
import math
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np

from rival_jax.weights import inert_pickle
from rival_jax.weights.inert_pickle import Foreign
from rival_jax.weights.stored import TYPES, Archive

MAGIC = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")  # the first pickle of the stream
MAX_EXPANDED = 2**24  # numbers in a tensor that repeats its storage

_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "UntypedStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}


def read_zip(archive: Archive) -> Any:
    """The content of a zip archive of `torch.save` or `torch.jit.save`; tensors are views of it.

    Raises:
      ValueError: it is another archive, damaged, or written by a big-endian machine.
    """
    pickles = [name for name in archive.names() if f"/{name}".endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError(f"it has {len(pickles)} members data.pkl where torch.save writes one")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in archive.names():
        _check_order(bytes(archive.stored(f"{root}byteorder")) == b"little")
    storages: dict[str, np.ndarray] = {}

    def persistent(said: Any) -> Any:
        key, dtype, count, _ = _said(said)
        if dtype is None:
            return Foreign(key)
        if key not in storages:
            storages[key] = _storage(archive.stored(f"{root}data/{key}"), 0, dtype, count)
        return storages[key]

    stream = io.BytesIO(archive.stored(pickles[0]))
    return inert_pickle.load(stream, _known(), persistent)


def read_stream(file: mmap.mmap) -> Any:
    """The same for a stream of torch before 1.6, or of `_use_new_zipfile_serialization=False`."""
    _, _, system = (inert_pickle.load(file) for _ in range(3))
    _check_order(isinstance(system, dict) and system.get("little_endian") is True)
    start = file.tell()
    dtypes: dict[str, np.dtype] = {}

    def note(said: Any) -> Foreign:
        key, dtype, _, _ = _said(said)
        if dtype is not None:
            dtypes[key] = dtype
        return Foreign(key)

    inert_pickle.load(file, persistent=note)  # it names the storages' types; the storages follow it
    storages = _storages(file, inert_pickle.load(file), dtypes)

    def persistent(said: Any) -> Any:
        key, dtype, count, view = _said(said)
        if dtype is None:
            return Foreign(key)
        storage = storages[key]
        _, offset, size = view or ("", 0, count)
        if not 0 <= offset <= offset + size <= storage.size:
            raise ValueError(f"storage {key} has {storage.size} numbers, not {offset} + {size}")
        return storage[offset : offset + size]

    file.seek(start)
    return inert_pickle.load(file, _known(), persistent)


def _storages(file: mmap.mmap, keys: Any, dtypes: dict[str, np.dtype]) -> dict[str, np.ndarray]:
    """The storages in the order of `keys`; each follows its number of elements (8 bytes)."""
    data, position = memoryview(file), file.tell()
    storages = {}
    for key in keys:
        if key not in dtypes:
            raise ValueError(f"storage {key!r} is of no known type")
        count = int.from_bytes(data[position : position + 8], "little")
        storages[key] = _storage(data, position + 8, dtypes[key], count)
        position += 8 + storages[key].nbytes
    return storages


def _check_order(little: bool) -> None:
    if not little:
        raise ValueError("it is big-endian, or does not say so; save it on a little-endian machine")


def _said(said: Any) -> tuple[str, np.dtype | None, int, Any]:
    """A storage's key, type, number of elements and part; an unknown type is None."""
    if isinstance(said, list) and said[:1] == ["module"] and len(said) > 1:  # a class, its source
        return getattr(said[1], "name", "module"), None, 0, None
    if not (isinstance(said, list) and said[:1] == ["storage"] and len(said) in (5, 6)):
        raise ValueError("a persistent id that is not torch's")
    kind, key, _, count = said[1:5]
    if not (isinstance(kind, Foreign) and isinstance(key, str) and type(count) is int):
        raise ValueError("a persistent id that is not torch's")
    name = _STORAGES.get(kind.name.rsplit(".", 1)[-1])
    if name is None:
        return kind.name, None, 0, None
    return key, TYPES[name], count, said[5] if len(said) == 6 else None


def _storage(data: memoryview, start: int, dtype: np.dtype, count: int) -> np.ndarray:
    if not 0 <= count * dtype.itemsize <= len(data) - start:
        raise ValueError(f"a storage of {count} {dtype} is cut short")
    return np.frombuffer(data[start : start + count * dtype.itemsize], dtype)


def _tensor(
    storage: Any, offset: Any, size: Any, stride: Any, _grad: Any = None, _hooks: Any = None,
    metadata: Any = None,
) -> Any:  # fmt: skip
    """A view of a storage; none if its type is unknown, or if it is lazily conjugated."""
    if not isinstance(storage, np.ndarray) or metadata:
        return NotImplemented
    if len(size) != len(stride) or len(size) > 32:
        raise ValueError(f"a tensor of {len(size)} sizes and {len(stride)} strides")
    if any(type(number) is not int or number < 0 for number in (offset, *size, *stride)):
        raise ValueError(f"a tensor of sizes {size}, strides {stride} and offset {offset}")
    if 0 in size:
        return np.empty(size, storage.dtype)
    end = offset + 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if end > storage.size or math.prod(size) > max(storage.size, MAX_EXPANDED):
        raise ValueError(
            f"a tensor of sizes {size}, strides {stride} and offset {offset} does not fit a "
            f"storage of {storage.size} numbers"
        )
    steps = [step * storage.itemsize for step in stride]
    start, raw = offset * storage.itemsize, storage.view(np.uint8)
    return np.ndarray(size, storage.dtype, buffer=raw.data, offset=start, strides=steps)


def _typed_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any,
    metadata: Any = None,
) -> Any:  # fmt: skip
    """Types without a storage class are written as bytes."""
    name = getattr(dtype, "name", "").removeprefix("torch.")
    if name not in TYPES or not isinstance(storage, np.ndarray):
        return NotImplemented
    typed = storage.view(TYPES[name])
    return _tensor(typed, offset, size, stride, grad, hooks, metadata)


def _subclass(function: Any, _kind: Any, args: Any, _state: Any) -> Any:
    known = _known().get(getattr(function, "name", ""))
    return known(*args) if known else NotImplemented


def _same(value: Any, *_: Any) -> Any:
    return value


def _known() -> dict[str, Callable[..., Any]]:
    return {
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor_v3": _typed_tensor,
        "torch._utils._rebuild_parameter": _same,
        "torch._utils._rebuild_parameter_with_state": _same,
        "torch._tensor._rebuild_from_type_v2": _subclass,
        "torch.Size": _same,
        "torch.jit._pickle.build_intlist": _same,
        "torch.jit._pickle.build_doublelist": _same,
        "torch.jit._pickle.build_boollist": _same,
        "torch.jit._pickle.build_tensorlist": _same,
        "torch.jit._pickle.restore_type_tag": _same,
    }
