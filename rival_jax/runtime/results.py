"""A work directory: units of rows, saved atomically and skipped if present, JSON files, a log."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa

from rival_jax import noise
from rival_jax.runtime import buckets, hosts, outputs, row_files, same_config, watch
from rival_jax.runtime.environment import environment
from rival_jax.runtime.names import file_path
from rival_jax.runtime.workdir import atomic, check_shared, claim, clear, disk_errors, make_way

Columns = Mapping[str, Any]
"""Tidy columns of one length: NumPy arrays, or `Category` for repeated strings."""


class Run:
    """A work directory and the config whose results it holds.

    Files: `config.json`, `environment.json`, `rows/**.parquet`, `summary.parquet`, `log.jsonl`.

    Args:
      workdir: created when missing; a folder that all hosts share, or a bucket's address.
      config: plain, JSON-able.
      extend: accept a work directory that holds another config's results. Its finished units are
        kept, and reused if they depend on the same things.
      say: prints a line for the user.

    Raises:
      ValueError: if the directory holds another config's results and `extend` is False.
    """

    pdf: Path | None = None  # where figures go as PDF too

    def __init__(
        self,
        workdir: str | Path,
        config: Mapping[str, Any],
        *,
        extend: bool = False,
        say: Callable[[str], object] = watch.say,
    ):
        self.path, self.say = Path(workdir), say
        if buckets.is_bucket(workdir):
            self.path = buckets.opened(str(workdir), cache_folder(), hosts.index())
        self.config = json.loads(json.dumps(config))
        self._moved = hosts.decided(functools.partial(self._begin, extend))  # see `settle`
        check_shared(self.path)
        self._token = hosts.agreed(secrets.token_hex(4))  # an earlier run's hosts may still live
        self.save_json("environment.json", environment())

    def _begin(self, extend: bool) -> list[str]:
        self.path.mkdir(parents=True, exist_ok=True)
        claim(self.path)
        buckets.pull(self.path)
        clear(self.path)
        before, moved = self.read_json("config.json"), []
        started = any(self.path.glob("rows/**/*.parquet"))
        if before is not None and started and not extend:
            moved, changed = same_config.differences(before, self.config)
            if changed:
                raise same_config.refusal(self.path, changed + moved)
        if not moved:
            self.save_json("config.json", self.config)
        log = self.path / "log.jsonl"
        if log.is_dir():
            make_way(log)
        if log.is_file() and log.read_bytes()[-1:] not in (b"", b"\n"):
            with log.open("a") as file:  # ends the line that a killed run was writing
                file.write("\n")
        return moved

    def settle(self, facts: Mapping[str, Any]) -> None:
        """Call it when the data are read: describes them in `data.json`.

        Data in a different folder than in the last call must be the same.

        Args:
          facts: `fingerprint`, and further facts to keep until the run's end.

        Raises:
          ValueError: if the data differ.
        """

        def look() -> None:
            known = self.read_json("data.json") if self._moved else None
            if self._moved and (known or {}).get("fingerprint") != facts["fingerprint"]:
                raise same_config.refusal(self.path, self._moved)
            self.save_json("config.json", self.config)
            if not (self.path / "data.json").exists():  # else they are a finished run's
                self.save_json("data.json", facts)

        hosts.decided(look)

    def finished(self) -> bool:
        """Whether tables, figures and report are unchanged since the last call, by process 0."""

        def look() -> bool:
            try:
                return outputs.as_left(self.path, self.read_json(outputs.NAME))
            except ValueError:  # damaged
                return False

        return hosts.decided(look)

    def finish(self) -> None:
        """Call it when everything is written: from then on the run is `finished`."""
        if hosts.first():
            self.save_json(outputs.NAME, outputs.hashes(self.path))

    def rows(
        self,
        unit: str,
        depends_on: Mapping[str, Any],
        compute: Callable[[], Columns],
        *,
        everywhere: bool = False,
        about: Callable[[], Mapping[str, Any]] = dict,
    ) -> bool:
        """Computes and saves a unit's rows unless they exist; returns whether it computed.

        Every host calls this with its own rows; they are concatenated by host.

        Args:
          unit: file name below `rows/`, without its ending: "vit_tiny/linf_0.1176".
          depends_on: JSON-able; everything that determines the file's contents. Its hash is part of
            the file name, so a unit is reused exactly if all of it is the same.
          compute: returns the columns.
          everywhere: every host returns all rows; process 0's are used.
          about: called at the end; facts on the unit for the log.
        """
        target = self.unit_path(unit, depends_on)
        known = hosts.gathered(target.name)
        if len(set(known)) > 1:
            raise ValueError(
                f"hosts disagree on what determines the rows of {unit} ({', '.join(known)}): "
                "do all have the same data, weights and versions?"
            )
        if self.intact(target):
            return False
        table = pa.table({name: _column(values) for name, values in compute().items()})
        if hosts.count() > 1 and not everywhere:
            row_files.merge(table, target, self._token)
        elif hosts.first():
            with atomic(target) as partial:
                row_files.write([table], partial, target.name)
        hosts.barrier()
        self.log("unit", unit=unit, **about())
        return True

    def intact(self, rows: Path) -> bool:
        """Whether a file of rows exists unchanged; decided by process 0 for every host.

        A changed file is reported on the console and in the log; it has to be computed again.

        Raises:
          ValueError: if a folder that is not empty is in its place.
        """

        def look() -> bool:
            if rows.is_dir() and not rows.is_symlink():
                make_way(rows)
            if not (rows.exists() or rows.is_symlink()):
                return False
            if fault := row_files.fault(rows):
                self.say(f"{rows} {fault}; it is computed again")
                self.log("damaged", file=rows.relative_to(self.path).as_posix(), fault=fault)
                buckets.remove(rows)
            return not fault

        return hosts.decided(look)

    def unit_path(self, unit: str, depends_on: Mapping[str, Any]) -> Path:
        """The path of a unit's rows, existing or not."""
        named = {"generator": noise.GENERATOR, **depends_on}
        return self.path / "rows" / f"{file_path(unit)}-{digest(named)}.parquet"

    def save_json(self, name: str, value: Any) -> None:
        """Writes `name` atomically, on process 0 only; NaN becomes null."""
        if not hosts.first():
            return
        text = json.dumps(_without_nan(value), indent=1, allow_nan=False)
        with atomic(self.path / name) as partial:
            partial.write_text(text + "\n", encoding="utf-8")

    def read_json(self, name: str) -> Any:
        """The content of `name`, None if there is no such file."""
        path = self.path / name
        return parsed(path) if path.exists() else None

    def log(self, event: str, **values: Any) -> None:
        """Appends one line to `log.jsonl`, on process 0 only."""
        if not hosts.first():
            return
        line = json.dumps({"time": round(time.time(), 3), "event": event, **_without_nan(values)})
        with disk_errors(self.path / "log.jsonl"), (self.path / "log.jsonl").open("a") as file:
            file.write(line + "\n")
        buckets.push(self.path / "log.jsonl")

    def close(self) -> None:
        """At the end: uploads all other files of the folder, if it mirrors a bucket."""
        if hosts.first():
            buckets.push_all(self.path)
            buckets.release(self.path)


class Category:
    """A column of repeated strings: positions into a list of values."""

    def __init__(self, positions: np.ndarray, values: list[str]):
        self.positions, self.values = positions, values

    @classmethod
    def of(cls, words: Sequence[str]) -> Category:
        """Words in order of first appearance."""
        places = {word: place for place, word in enumerate(dict.fromkeys(words))}
        return cls(np.array([places[word] for word in words], np.int32), list(places))


def cache_folder(path: str = "") -> Path:
    """Where features, heads and compiled programs are kept between runs.

    `path`, or RIVAL_JAX_CACHE, or the user's cache folder.
    """
    default = os.environ.get("RIVAL_JAX_CACHE") or Path.home() / ".cache" / "rival_jax"
    return Path(path or default)


def read_rows(*paths: Path) -> pa.Table:
    """All rows of the given Parquet files or folders, in one table."""
    files = [
        file
        for path in paths
        for file in ([path] if path.is_file() else sorted(path.rglob("*.parquet")))
    ]
    if not files:
        raise FileNotFoundError(
            f"no rows under {', '.join(map(str, paths))}: run the experiment first"
        )
    return row_files.joined([row_files.read(file) for file in files])


def parsed(path: Path) -> Any:
    """The content of a JSON file of a run.

    Raises:
      FileNotFoundError, ValueError: if it is missing or damaged; names the cure.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; name the workdir of a finished run")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # bad encoding, text, or depth
        raise ValueError(f"{path} is not valid JSON ({error}); delete it and run again") from None


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
