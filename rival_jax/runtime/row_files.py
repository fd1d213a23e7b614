"""Files of rows, each with its own checksum: a changed file is never read.

A file is Parquet, and its metadata holds the hash of all its other bytes and of its name, so that
the hash cannot get lost, and a file cannot stand in for another.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rival_jax.runtime import buckets, hosts
from rival_jax.runtime.workdir import PART, atomic, seen

OPTIONS: dict[str, Any] = {"compression": "zstd", "store_schema": False}
KEY, EMPTY = "rival_jax.blake2b", "0" * 32  # placeholder of the hash while it is computed
OLD = "it is damaged, or an earlier version wrote it"
PART_ROWS = 1 << 17  # per group: so many are held while the hosts' parts are merged
TAIL = 8  # bytes after the metadata: its length, and Parquet's magic


def write(tables: Iterable[pa.Table], file: Path, name: str) -> None:
    """Writes rows to `file`, which will be called `name`.

    Args:
      tables: at least one, with equal schemas; each becomes a group of rows.
    """
    rest = iter(tables)
    first = next(rest)
    with pq.ParquetWriter(file, first.schema, **OPTIONS) as writer:
        for table in itertools.chain([first], rest):
            writer.write_table(table)
        writer.add_key_value_metadata({KEY: EMPTY})
    data = bytearray(file.read_bytes())
    place = _place(data, EMPTY)
    assert place is not None
    data[place : place + len(EMPTY)] = _hash(data, name).encode()
    file.write_bytes(data)


def fault(file: Path) -> str:
    """What is wrong with a file of rows, in words; "" if it is unchanged."""
    if not file.is_file():
        return "is a folder" if file.is_dir() else "is missing"
    return _fault(file.read_bytes(), file.name)


def read(
    file: Path, columns: Sequence[str] | None = None, words: Sequence[str] | None = None
) -> pa.Table:
    """The rows of a file.

    Args:
      file: rows written by `write`.
      columns: default: all.
      words: text columns to read as dictionaries.

    Raises:
      FileNotFoundError: if there is no such file; names the cure.
      ValueError: if it has changed; names the cure.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; run the same command again to compute it")
    data = file.read_bytes()
    if found := _fault(data, file.name):
        raise ValueError(f"{file} {found}; run its command again to compute it anew")
    chosen = None if columns is None else list(columns)
    table = pq.read_table(pa.BufferReader(data), columns=chosen, read_dictionary=words)
    return table.replace_schema_metadata(None)


def joined(tables: list[pa.Table]) -> pa.Table:
    """Concatenates tables; missing columns are empty, and bool with float becomes float."""
    types: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for field in table.schema:
            types.setdefault(field.name, set()).add(field.type)
    mixed = [n for n, found in types.items() if len(found) > 1 and pa.bool_() in found]
    for k, table in enumerate(tables):
        for name in set(mixed) & set(table.column_names):
            column = table[name].cast(pa.float32())
            tables[k] = tables[k].set_column(table.column_names.index(name), name, column)
    return pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()


def merge(table: pa.Table, target: Path, token: str) -> None:
    """Writes all hosts' rows: each its part, which process 0 merges without holding all."""
    mine = target.with_name(f"{PART}{token}-{hosts.index()}-{target.name}")
    if table.num_rows:
        with atomic(mine) as partial:
            pq.write_table(table, partial, row_group_size=PART_ROWS, **OPTIONS)
    said = hosts.gathered(mine.name if table.num_rows else "")
    parts = [target.with_name(name) for name in said if name]
    if not hosts.first():
        return
    if not all(map(seen, parts)):
        raise OSError(
            f"not all of {', '.join(map(str, parts))} are there, which hosts have written"
        )
    with atomic(target) as partial:
        write((table for part in parts for table in _groups(part)), partial, target.name)
    for part in parts:
        buckets.remove(part)


def _fault(data: bytes, name: str) -> str:
    if not data:
        return "is empty"
    place = _place(data, "[0-9a-f]{32}")
    if place is None:
        whole = data[:4] == data[-4:] == b"PAR1"
        return f"has no checksum: {OLD}" if whole else "is damaged or cut short"
    told = data[place : place + len(EMPTY)].decode()
    blank = bytearray(data)
    blank[place : place + len(EMPTY)] = EMPTY.encode()
    if told == _hash(blank, name):
        return ""
    return "is not as it was written: its checksum is that of other bytes, or of another file"


def _place(data: bytes | bytearray, value: str) -> int | None:
    """The offset of the checksum in a file's own metadata."""
    size = int.from_bytes(data[-TAIL:-4], "little")
    start = max(0, len(data) - TAIL - size)
    # Thrift writes text as its length, here one byte, and its characters.
    found = re.search(re.escape(KEY.encode()) + b".." + f"({value})".encode(), data[start:], re.S)
    return None if found is None else start + found.start(1)


def _hash(data: bytes | bytearray, name: str) -> str:
    state = hashlib.blake2b(unicodedata.normalize("NFC", name).encode() + b"\0", digest_size=16)
    state.update(data)
    return state.hexdigest()


def _groups(file: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(file) as parts:
        for number in range(parts.num_row_groups):
            yield parts.read_row_group(number)
