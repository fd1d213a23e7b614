"""Reading and writing checkpoint files: tensors by name, and what their network looks like."""

from __future__ import annotations

from rival_jax.weights.hub_folder import CONFIG, TENSORS, Config, read_config, write_folder
from rival_jax.weights.safetensors import read_tensors, write_tensors

__all__ = [
    "CONFIG",
    "TENSORS",
    "Config",
    "read_config",
    "read_tensors",
    "write_folder",
    "write_tensors",
]
