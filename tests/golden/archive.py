"""Arrays by name in one compressed file, in which nothing can run.

The file is of the format xz. Within are a line of JSON, [name, dtype, shape] of every array in
order, and then the arrays: of each one the first bytes of all values, the second bytes, and so on,
which makes them a seventh smaller than the values one after another.
"""

from __future__ import annotations

import json
import lzma
import math
from pathlib import Path

import numpy as np

KINDS = "biufU"  # truth values, numbers and texts: no Python objects


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    header, body = [], []
    for name, array in arrays.items():
        if array.dtype.kind not in KINDS:
            raise ValueError(f"{name}: got {array.dtype}, expected numbers or text")
        header.append([name, array.dtype.str, list(array.shape)])
        values = np.ascontiguousarray(array).reshape(-1)
        body.append(values.view(np.uint8).reshape(values.size, array.itemsize).T.tobytes())
    content = b"".join([json.dumps(header, separators=(",", ":")).encode(), b"\n", *body])
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "pb": 0}]
    path.write_bytes(lzma.compress(content, filters=filters))


def read(path: Path) -> dict[str, np.ndarray]:
    header, _, body = lzma.decompress(path.read_bytes()).partition(b"\n")
    arrays, start = {}, 0
    for name, kind, shape in json.loads(header):
        dtype, size = np.dtype(kind), math.prod(shape)
        stop = start + size * dtype.itemsize
        planes = np.frombuffer(body[start:stop], np.uint8).reshape(dtype.itemsize, size)
        arrays[name] = np.ascontiguousarray(planes.T).reshape(-1).view(dtype).reshape(shape)
        start = stop
    if start != len(body):
        raise ValueError(f"{path}: {len(body) - start} bytes too many")
    return arrays
