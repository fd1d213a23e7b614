"""Checkpoint files of every known format, told apart by content, not by name.

Nothing in a file is executed, and torch is not needed. Anything but plain values and tensors
becomes a `Foreign`, which only holds the name that the file requested.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rival_jax.weights import flax_files, pages, safetensors, torch_files
from rival_jax.weights.inert_pickle import Foreign
from rival_jax.weights.orbax_folder import read_orbax
from rival_jax.weights.stored import Archive

# Where torch's training scripts keep the network; the first key with tensors is used.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "model_state", "state", "network", "net"),
    *("module", "teacher", "student", "target_encoder"),
)
# The network's parts of a Flax train state; `target` is flax.optim's name for the parameters.
PARAMETERS = ("params", "target")
STATISTICS = ("model_state", "batch_stats")

MAX_DEPTH = 100
MAX_ENTRIES = 300_000
MAX_NAME = 500


def read_tree(path: Path) -> Any:
    """A checkpoint's whole content, with its nesting; tensors are NumPy arrays.

    Tensors keep their stored precision; if the format allows it, they are read-only views of the
    mapped file, so unused ones are not read. Lists, tuples and sets are lists in torch files, and
    dicts keyed "0", "1", ... in Flax and Orbax files. `.npz` is nested by "/", `.safetensors` is
    flat.

    Args:
      path: a file of torch.save (any version), torch.jit.save, safetensors, NumPy (`.npz`) or
        flax.serialization, or a folder of Orbax.

    Raises:
      FileNotFoundError: there is nothing at `path`.
      ValueError: it has none of these formats, is damaged, or claims an absurd content.
    """
    return _read(path)[1]


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The network's tensors by name, from any checkpoint that `read_tree` reads.

    In torch files names are joined by ".", starting below the first of `WRAPPERS` that holds
    tensors (repeatedly). Elsewhere they are joined by "/"; from a train state only the network is
    kept, with its names: "params/...", "model_state/...", "opt/target/...".

    Raises:
      FileNotFoundError: there is nothing at `path`.
      ValueError: as for `read_tree`, or it holds no tensors, or two with one name.
    """
    kind, tree = _read(path)
    if kind == "torch":
        tree = _unwrapped(tree)
    elif kind == "flax" and isinstance(tree, dict):
        tree = _network(tree) or tree
    tensors: dict[str, np.ndarray] = {}
    for name, leaf in _leaves(tree, "." if kind == "torch" else "/"):
        if _is_tensor(leaf):
            if name in tensors:
                raise ValueError(f"{path} holds two tensors named {name}; save it again")
            tensors[name] = leaf
    if not tensors:
        raise ValueError(f"{path} holds no tensors; give the file that holds the weights")
    return tensors


def _read(path: Path) -> tuple[str, Any]:
    """The kind of checkpoint ("torch", "flax" or "flat"), and its tree."""
    if not path.exists():
        raise FileNotFoundError(f"no weights at {path}; give the path of a checkpoint")
    try:
        kind, tree = ("flax", read_orbax(path)) if path.is_dir() else _read_file(path)
        for _ in _leaves(tree, "/"):  # raises for endless nesting
            pass
    except Exception as error:  # a damaged file can make libraries raise anything
        size = "a folder" if path.is_dir() else f"{path.stat().st_size} bytes"
        raise ValueError(
            f"{path} ({size}) is cut short or damaged, or of a format that is not read: "
            f"{str(error) or type(error).__name__}; download it again, or save it again as "
            ".safetensors"
        ) from error
    return kind, tree


def _read_file(path: Path) -> tuple[str, Any]:
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    head, data = mapped[:64], memoryview(mapped)
    if head.startswith(b"PK"):
        archive = Archive(path, data)
        if any(name.endswith(".npy") for name in archive.names()):
            return "flax", flax_files.read_npz(archive)
        return "torch", torch_files.read_zip(archive)
    if head[:1] == b"\x80" and torch_files.MAGIC in head:
        return "torch", torch_files.read_stream(mapped)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32:
        return "flat", safetensors.read_tensors(path)
    if 0x81 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF):  # a msgpack map
        return "flax", flax_files.read_msgpack(data)
    if head.startswith(b"version https://git-lfs"):
        raise ValueError("it is a Git LFS pointer (run `git lfs pull`)")
    if pages.is_page(head):
        raise ValueError("it is a web page, perhaps of a login; fetch the file itself")
    if head[:1] == b"\x80":
        raise ValueError("it is a pickle that torch.save did not write")
    raise ValueError("it is not of torch.save, .safetensors, .npz, Flax msgpack or Orbax")


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray) and leaf.dtype.kind not in "SU"


def _unwrapped(tree: Any) -> Any:
    while isinstance(tree, dict):
        for key in WRAPPERS:
            inner = tree.get(key)
            if any(_is_tensor(leaf) for name, leaf in _leaves(inner, ".") if name):
                tree = inner
                break
        else:
            return tree
    return tree


def _network(tree: dict[str, Any], *, inside: bool = True) -> dict[str, Any]:
    """The network's part of a train state, here or one level deeper."""
    kept = {key: tree[key] for key in PARAMETERS + STATISTICS if isinstance(tree.get(key), dict)}
    if inside and not any(key in kept for key in PARAMETERS):
        for key, value in tree.items():
            found = _network(value, inside=False) if isinstance(value, dict) else {}
            kept.update({key: found} if found else {})
    return kept


def _leaves(tree: Any, separator: str) -> Iterator[tuple[str, Any]]:
    """Every leaf with its name, in order.

    Raises:
      ValueError: it is nested too deeply (or in itself), or would be too large when written out.
    """
    pending = [("", tree, 0)]
    left = MAX_ENTRIES
    while pending:
        name, node, depth = pending.pop()
        if not isinstance(node, dict | list | Foreign):
            yield name, node
            continue
        entries = [(_joined(name, separator, key), value) for key, value in _entries(node)]
        left -= len(entries)
        if left < 0 or depth > MAX_DEPTH or any(len(key) > MAX_NAME for key, _ in entries):
            raise ValueError(
                f"more than {MAX_ENTRIES} entries, {MAX_DEPTH} levels, or {MAX_NAME} letters a name"
            )
        pending.extend((key, value, depth + 1) for key, value in reversed(entries))


def _entries(node: dict | list | Foreign) -> Iterable[tuple[Any, Any]]:
    """Children by key. A pickled module has three dictionaries of children, with key None here."""
    if isinstance(node, Foreign):
        inner = ("_parameters", "_buffers", "_modules")
        return [(None if key in inner else key, value) for key, value in node.content.items()]
    return node.items() if isinstance(node, dict) else enumerate(node)


def _joined(name: str, separator: str, key: Any) -> str:
    if key is None:
        return name
    return f"{name}{separator}{key}" if name else str(key)
