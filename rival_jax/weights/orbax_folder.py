"""Checkpoint folders of Orbax, read array by array through TensorStore, without a device."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from rival_jax.weights.flax_files import read_msgpack
from rival_jax.weights.stored import inflated_limit

METADATA = "_METADATA"  # the tree in a file of its own
AGGREGATE = "checkpoint"  # Orbax before 0.4: the tree as msgpack, with small values inside
PLACEHOLDER = "PLACEHOLDER://"
MAX_PIECES = 100_000


def read_orbax(path: Path) -> dict[str, Any]:
    """The tree of an Orbax checkpoint; its lists are dicts keyed "0", "1", ...

    Args:
      path: a folder with the tree, or one step of a `CheckpointManager`.

    Raises:
      ValueError: there is no checkpoint, there are several, or it is damaged.
    """
    folder = _item(path)
    table = json.loads((folder / METADATA).read_text()) if (folder / METADATA).exists() else {}
    if (folder / AGGREGATE).exists():
        tree = read_msgpack((folder / AGGREGATE).read_bytes())
    else:
        tree = _tree(folder, table["tree_metadata"])
    names: dict[str, Any] = {}
    _visit(tree, lambda name: names.setdefault(name))
    arrays = _arrays(folder, list(names), "zarr3" if table.get("use_zarr3") else "zarr")
    return _visit(tree, arrays.__getitem__)


def _item(path: Path) -> Path:
    """The folder with the tree: the given one, or the only such folder in it."""
    folders = [path, *sorted(entry for entry in path.iterdir() if entry.is_dir())]
    found = [f for f in folders if (f / METADATA).is_file() or (f / AGGREGATE).is_file()]
    if found and (found[0] == path or len(found) == 1):
        return found[0]
    listed = ", ".join(entry.name for entry in folders[1:][:10]) or "none"
    what = "several Orbax checkpoints" if found else "no Orbax checkpoint"
    raise ValueError(f"it holds {what}; give the path of one of its folders: {listed}")


def _tree(folder: Path, entries: dict[str, Any]) -> dict[str, Any]:
    """Nested names; an array is a string `PLACEHOLDER` + its name, as in the older form."""
    strings = folder / "_strings.json"
    texts = json.loads(strings.read_text()) if strings.exists() else {}
    tree: dict[str, Any] = {}
    for entry in entries.values():
        keys = [str(key["key"]) for key in entry["key_metadata"]]
        value = entry["value_metadata"]
        name, node = ".".join(keys), tree
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        if value["skip_deserialize"]:
            node[keys[-1]] = None
        else:
            text = value["value_type"] == "string"
            node[keys[-1]] = texts.get(name) if text else PLACEHOLDER + name
    return tree


def _visit(node: Any, found: Any) -> Any:
    """The tree with arrays replaced by `found(name)`."""
    if isinstance(node, dict):
        return {str(key): _visit(value, found) for key, value in node.items()}
    if isinstance(node, list):
        return {str(i): _visit(value, found) for i, value in enumerate(node)}
    if isinstance(node, str) and node.startswith(PLACEHOLDER):
        return found(node.removeprefix(PLACEHOLDER))
    return node


def _arrays(folder: Path, names: list[str], driver: str) -> dict[str, np.ndarray]:
    import tensorstore  # slow to import, and most checkpoints are files

    database = (folder / "manifest.ocdbt").exists()
    opened = {}
    for name in names:
        if ".." in name.split("/") or name.startswith("/"):
            raise ValueError(f"the name {name!r} leads out of the folder")
        place: dict[str, Any] = {"driver": "file", "path": f"{folder.absolute()}/"}
        if database:
            place = {"driver": "ocdbt", "base": place, "path": f"{name}/"}
        else:
            place["path"] += f"{name}/"
        opened[name] = tensorstore.open({"driver": driver, "kvstore": place}, open=True, read=True)
    stores = {name: future.result() for name, future in opened.items()}
    _check_sizes(folder, list(stores.values()))
    reads = {name: store.read() for name, store in stores.items()}
    return {name: np.asarray(future.result()) for name, future in reads.items()}


def _check_sizes(folder: Path, stores: list[Any]) -> None:
    """Refuses small files for huge arrays: missing parts would be read as fill values."""
    size = pieces = 0
    for store in stores:
        piece = store.chunk_layout.read_chunk.shape or ()
        size += store.dtype.numpy_dtype.itemsize * max(math.prod(store.shape), math.prod(piece))
        pieces += math.prod(-(-n // step) for n, step in zip(store.shape, piece, strict=True))
        if "blosc" in str(store.codec and store.codec.to_json()):
            raise ValueError("it is compressed by blosc, which believes any size it is told")
    on_disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if size > inflated_limit(on_disk) or pieces > MAX_PIECES:
        raise ValueError(f"its {on_disk} bytes stand for {size} in {pieces} pieces")
