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
    """Every tensor of a `.safetensors` file, in the precision it is stored in.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is cut short or is not a safetensors file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}; give the path of a .safetensors file")
    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # SafetensorError, or what a type NumPy lacks leads to
        raise ValueError(
            f"{path} ({path.stat().st_size} bytes) is cut short or not a safetensors file "
            f"({error}); download or save it again"
        ) from error


def write_tensors(
    path: pathlib.Path, tensors: Mapping[str, np.ndarray], dtype: str | None = None
) -> None:
    """Writes `tensors`; `dtype` (such as "float16") casts the floating point ones first.

    Whoever reads `path` meanwhile sees the former file or the new one, whole.
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
