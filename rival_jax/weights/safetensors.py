"""`.safetensors` files as dictionaries of NumPy arrays."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file


def read_tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Every tensor of a `.safetensors` file, in its stored precision.

    Raises:
      SafetensorError: the file is damaged; `reader.read_tensors` turns it into a ValueError.
    """
    with safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def write_tensors(
    path: pathlib.Path, tensors: Mapping[str, np.ndarray], dtype: str | None = None
) -> None:
    """Writes `tensors`; `dtype` (such as "float16") casts the floating point ones first.

    Concurrent readers of `path` see either the old file or the new one, complete.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file({name: _stored(tensor, dtype) for name, tensor in tensors.items()}, partial)
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _stored(tensor: np.ndarray, dtype: str | None) -> np.ndarray:
    if dtype is not None and jnp.issubdtype(tensor.dtype, jnp.floating):  # knows bfloat16
        tensor = tensor.astype(dtype)
    return np.ascontiguousarray(tensor).reshape(tensor.shape)
