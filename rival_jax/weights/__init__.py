"""Reading and writing checkpoint files: tensors by name, and what their network looks like."""

from __future__ import annotations

from rival_jax.weights import class_names
from rival_jax.weights.hub_folder import (
    CONFIG,
    TENSORS,
    Config,
    checked,
    read_config,
    write_folder,
)
from rival_jax.weights.names import Located, fetched, locate, told_apart
from rival_jax.weights.reader import read_tensors, read_tree
from rival_jax.weights.safetensors import write_tensors

__all__ = [
    "CONFIG",
    "TENSORS",
    "Config",
    "Located",
    "checked",
    "class_names",
    "fetched",
    "locate",
    "read_config",
    "read_tensors",
    "read_tree",
    "told_apart",
    "write_folder",
    "write_tensors",
]
