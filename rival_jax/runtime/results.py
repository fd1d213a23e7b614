"""A work directory: units of rows saved atomically and skipped when present, JSON files, a log."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rival_jax.runtime import buckets, hosts
from rival_jax.runtime.environment import environment
from rival_jax.runtime.names import file_path
from rival_jax.runtime.workdir import PART, atomic, check_shared, claim, clear, disk_errors, seen

Columns = Mapping[str, Any]
"""Tidy columns of one length: NumPy arrays, or `Category` for repeated strings."""

# What may differ between two calls on one work directory: it changes no row.
FREE_KEYS = ("batch_size", "resamples", "confidence", "method", "sharding")
PARQUET: dict[str, Any] = {"compression": "zstd", "store_schema": False}
PART_ROWS = 1 << 17  # of a row group: as many are held while parts are merged


class Run:
    """One work directory and the config whose results it holds.

    Files: `config.json`, `environment.json`, `rows/**.parquet`, `summary.json`, `log.jsonl`.

    Args:
      workdir: created when missing; a folder that all hosts share, or a bucket's address.
      config: plain, JSON-able.
      extend: accept a work directory that holds another config's results. Its finished units are
        kept, and reused where what they depend on is the same.

    Raises:
      ValueError: if the directory holds another config's results and `extend` is False.
    """

    def __init__(self, workdir: str | Path, config: Mapping[str, Any], *, extend: bool = False):
        self.path = Path(workdir)
        if buckets.is_bucket(workdir):
            self.path = buckets.opened(str(workdir), cache_folder(), hosts.index())
        self.config = json.loads(json.dumps(config))
        # Whether the config is the same as in the last call on this directory.
        self.unchanged = hosts.decided(functools.partial(self._begin, extend))
        check_shared(self.path)
        self._token = hosts.agreed(secrets.token_hex(4))  # hosts of a run before may still live
        self.save_json("environment.json", environment())

    def _begin(self, extend: bool) -> bool:
        self.path.mkdir(parents=True, exist_ok=True)
        claim(self.path)
        buckets.pull(self.path)
        clear(self.path)
        before = self.read_json("config.json")
        started = any(self.path.glob("rows/**/*.parquet"))
        if before is not None and started and not extend:
            _refuse_other_config(self.path, before, self.config)
        self.save_json("config.json", self.config)
        return before == self.config

    def rows(
        self,
        unit: str,
        depends_on: Mapping[str, Any],
        compute: Callable[[], Columns],
        *,
        everywhere: bool = False,
        about: Callable[[], Mapping[str, Any]] = dict,
    ) -> bool:
        """Computes and saves a unit's rows unless they are there; returns whether it computed.

        Every host calls this and gives its own rows; they follow one another by host.

        Args:
          unit: file name below `rows/`, without its ending: "vit_tiny/linf_0.1176".
          depends_on: JSON-able; everything the rows' bytes follow from. Its hash is part of the
            file name, so a unit is reused exactly when all of it is the same.
          compute: returns the columns.
          everywhere: every host gives all rows; those of process 0 are taken.
          about: called at the end; what the log says of the unit.
        """
        target = self.unit_path(unit, depends_on)
        known = hosts.gathered([target.name, target.exists()])
        if len({name for name, _ in known}) > 1:
            raise ValueError(
                f"hosts disagree on what {unit} follows from ({', '.join(n for n, _ in known)}): "
                "do all have the same data, weights and versions?"
            )
        if known[0][1]:
            return False
        table = pa.table({name: _column(values) for name, values in compute().items()})
        if hosts.count() > 1 and not everywhere:
            _merge(table, target, self._token)
        elif hosts.first():
            with atomic(target) as partial:
                pq.write_table(table, partial, **PARQUET)
        hosts.barrier()
        self.log("unit", unit=unit, **about())
        return True

    def unit_path(self, unit: str, depends_on: Mapping[str, Any]) -> Path:
        """Where a unit's rows are, or would be."""
        return self.path / "rows" / f"{file_path(unit)}-{digest(depends_on)}.parquet"

    def save_json(self, name: str, value: Any) -> None:
        """Writes `name` atomically; NaN becomes null. Process 0 alone does."""
        if not hosts.first():
            return
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
        """Appends one line to `log.jsonl`. Process 0 alone does."""
        if not hosts.first():
            return
        line = json.dumps({"time": round(time.time(), 3), "event": event, **_without_nan(values)})
        with disk_errors(self.path / "log.jsonl"), (self.path / "log.jsonl").open("a") as file:
            file.write(line + "\n")
        buckets.push(self.path / "log.jsonl")

    def close(self) -> None:
        """At the end: whatever else is in the folder goes to the bucket, if it stands for one."""
        if hosts.first():
            buckets.push_all(self.path)
            buckets.release(self.path)


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


def _merge(table: pa.Table, target: Path, token: str) -> None:
    """Writes all hosts' rows: each its part, which process 0 copies without holding all of them."""
    mine = target.with_name(f"{PART}{token}-{hosts.index()}-{target.name}")
    if table.num_rows:
        with atomic(mine) as partial:
            pq.write_table(table, partial, row_group_size=PART_ROWS, **PARQUET)
    said = hosts.gathered(mine.name if table.num_rows else "")
    parts = [target.with_name(name) for name in said if name]
    if not hosts.first():
        return
    if not all(map(seen, parts)):
        raise OSError(
            f"not all of {', '.join(map(str, parts))} are there, which hosts have written"
        )
    schema = pq.read_schema(parts[0])
    with atomic(target) as partial, pq.ParquetWriter(partial, schema, **PARQUET) as writer:
        for part in parts:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(group))
    for part in parts:
        buckets.remove(part)


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
