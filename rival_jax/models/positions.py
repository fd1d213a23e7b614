"""Position embeddings for a grid other than the one they were trained on."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax.types import Array

METHODS = ("antialias", "dino")
_DINO_OFFSET = 0.1  # added by DINO's code to the new size, and so to every sampling position


def resample(
    positions: Array, old: tuple[int, ...], new: tuple[int, ...], method: str = "antialias"
) -> Array:
    """Bicubic resampling of a grid's embeddings; those of prefix tokens stay.

    Args:
      positions: [prefix + rows * columns, c], row by row.
      old, new: rows and columns.
      method: "antialias" (timm's: a wider kernel if the grid shrinks) or "dino" (no antialiasing,
        and positions off by 0.1 of a patch, as in its published attention maps).

    Returns:
      [prefix + rows * columns, c] for the new grid.

    Raises:
      ValueError: an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r}; expected one of {METHODS}")
    if old == new:
        return positions
    prefix = len(positions) - math.prod(old)
    grid = positions[prefix:].reshape(*old, -1).astype(jnp.float32)
    if method == "antialias":
        grid = jax.image.resize(grid, (*new, grid.shape[-1]), "cubic")
    else:
        scales = [(size + _DINO_OFFSET) / side for size, side in zip(new, old, strict=True)]
        rows, columns = map(_cubic_matrix, old, new, scales)
        grid = jnp.einsum("rh,cw,hwd->rcd", rows, columns, grid)
    grid = grid.reshape(-1, grid.shape[-1]).astype(positions.dtype)
    return jnp.concatenate([positions[:prefix], grid])


def _cubic_matrix(old: int, new: int, scale: float) -> np.ndarray:
    """[new, old] weights of PyTorch's bicubic interpolation: a = -0.75, edges repeated."""
    at = (np.arange(new) + 0.5) / scale - 0.5
    matrix = np.zeros((new, old))
    for offset in range(-1, 3):
        index = np.floor(at).astype(int) + offset
        weight = _cubic(np.abs(at - index))
        np.add.at(matrix, (np.arange(new), index.clip(0, old - 1)), weight)
    return matrix.astype(np.float32)


def _cubic(x: np.ndarray, a: float = -0.75) -> np.ndarray:
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
