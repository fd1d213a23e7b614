"""A work directory: units of rows saved atomically and skipped when present, JSON files, a log."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Columns = Mapping[str, Any]
"""Tidy columns of one length: NumPy arrays, or `Category` for repeated strings."""

PACKAGES = ("rival_jax", "jax", "jaxlib", "flax", "optax", "numpy", "pillow", "grain", "pyarrow")
# What may differ between two calls on one work directory: it changes no row.
FREE_KEYS = ("batch_size", "resamples", "confidence", "method")


class Run:
    """One work directory and the config whose results it holds.

    Files: `config.json`, `environment.json`, `rows/**.parquet`, `summary.json`, `log.jsonl`.

    Args:
      workdir: created when missing.
      config: plain, JSON-able.
      extend: accept a work directory that holds another config's results. Its finished units are
        kept, and reused where what they depend on is the same.

    Raises:
      ValueError: if the directory holds another config's results and `extend` is False.
    """

    def __init__(self, workdir: str | Path, config: Mapping[str, Any], *, extend: bool = False):
        self.path = Path(workdir)
        self.config = json.loads(json.dumps(config))
        self.path.mkdir(parents=True, exist_ok=True)
        before = self.read_json("config.json")
        self.unchanged = before == self.config  # since the last call on this directory
        started = any(self.path.glob("rows/**/*.parquet"))
        if before is not None and started and not extend:
            _refuse_other_config(self.path, before, self.config)
        self.save_json("config.json", self.config)
        self.save_json("environment.json", environment())

    def rows(
        self, unit: str, depends_on: Mapping[str, Any], compute: Callable[[], Columns]
    ) -> bool:
        """Computes and saves a unit's rows unless they are there; returns whether it computed.

        Args:
          unit: file name below `rows/`, without its ending: "vit_tiny/linf_0.1176".
          depends_on: JSON-able; everything the rows' bytes follow from. Its hash is part of the
            file name, so a unit is reused exactly when all of it is the same.
          compute: returns the columns.
        """
        target = self.unit_path(unit, depends_on)
        if target.exists():
            return False
        table = pa.table({name: _column(values) for name, values in compute().items()})
        with atomic(target) as partial:
            pq.write_table(table, partial, compression="zstd", store_schema=False)
        return True

    def unit_path(self, unit: str, depends_on: Mapping[str, Any]) -> Path:
        """Where a unit's rows are, or would be."""
        return self.path / "rows" / f"{unit}-{digest(depends_on)}.parquet"

    def save_json(self, name: str, value: Any) -> None:
        """Writes `name` atomically; NaN becomes null."""
        text = json.dumps(_without_nan(value), indent=1, allow_nan=False)
        with atomic(self.path / name) as partial:
            partial.write_text(text + "\n", encoding="utf-8")

    def read_json(self, name: str) -> Any:
        """The content of `name`, None when there is no such file."""
        path = self.path / name
        if not path.exists():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path} is not valid JSON ({error}); delete it and run again"
            ) from None

    def log(self, event: str, **values: Any) -> None:
        """Appends one line to `log.jsonl`."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **_without_nan(values)})
        with _disk_errors(self.path / "log.jsonl"), (self.path / "log.jsonl").open("a") as file:
            file.write(line + "\n")


class Category:
    """A column of repeated strings: positions into a list of values."""

    def __init__(self, positions: np.ndarray, values: list[str]):
        self.positions, self.values = positions, values


def cache_folder(path: str = "") -> Path:
    """Where features, heads and compiled programs are kept between runs.

    `path`, or RIVAL_JAX_CACHE, or the user's cache folder.
    """
    default = os.environ.get("RIVAL_JAX_CACHE") or Path.home() / ".cache" / "rival_jax"
    return Path(path or default)


def read_rows(*paths: Path) -> pa.Table:
    """All rows of the given Parquet files or folders, one table."""
    files = [
        file
        for path in paths
        for file in ([path] if path.is_file() else sorted(path.rglob("*.parquet")))
    ]
    if not files:
        raise FileNotFoundError(
            f"no rows under {', '.join(map(str, paths))}: run the experiment first"
        )
    return pa.concat_tables([pq.read_table(file) for file in files]).unify_dictionaries()


def digest(value: Any) -> str:
    """Eight hex characters of the hash of a JSON-able value."""
    text = json.dumps(value, sort_keys=True).encode()
    return hashlib.blake2b(text, digest_size=4).hexdigest()


def tree_digest(tree: Any) -> str:
    """Sixteen hex characters of the hash of a tree of arrays: names, types, shapes, values."""
    state = hashlib.blake2b(digest_size=8)
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        array = np.asarray(leaf)
        state.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        state.update(np.ascontiguousarray(array).view(np.uint8).data)
    return state.hexdigest()


@contextlib.contextmanager
def atomic(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`, renamed to it when the block ends without an error.

    Raises:
      OSError: a full disk, naming the file and saying that what was finished is kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".partial-", suffix=target.suffix)
    os.close(handle)
    partial = Path(name)
    try:
        with _disk_errors(target):
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.chmod(0o644)
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            error.errno,
            f"the disk is full; {target} was not written. Finished units are kept: free some space "
            "and run the same command again",
        ) from error


def environment() -> dict[str, Any]:
    """Versions, devices and the source's commit."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": versions,
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "processes": jax.process_count(),
        "commit": _commit(),
    }


def _commit() -> str | None:
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def _refuse_other_config(path: Path, before: Any, now: Any) -> None:
    old, new = _flat(before), _flat(now)
    changed = [
        f"{key}: {old.get(key)!r} there, {new.get(key)!r} now"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
        and key.split(".")[-1] not in FREE_KEYS
        and not _of_another_data_set(key, new)
    ]
    if changed:
        raise ValueError(
            f"{path} holds the results of another config ({'; '.join(changed[:5])}). Name another "
            "--workdir, or pass --extend to add to this one (finished units that fit are reused)"
        )


def _of_another_data_set(key: str, flat: Mapping[str, Any]) -> bool:
    """Whether `key` is an option of a data set that is not the one in use: "data.scenes.size"."""
    section, _, rest = key.partition(".")
    name, option, _ = rest.partition(".")
    used = str(flat.get("data.name")).replace(".", "_")
    return section == "data" and bool(option) and name != used


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, dict):
        return {prefix: config}
    return {
        key: value
        for name, inner in config.items()
        for key, value in _flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }


def _column(values: Any) -> pa.Array:
    if isinstance(values, Category):
        return pa.DictionaryArray.from_arrays(pa.array(values.positions, pa.int32()), values.values)
    return pa.array(values)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        return _without_nan(np.asarray(value).tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
