"""Photos with masks in Parquet files, as the Hugging Face hub and `datasets` store them.

    ROOT/SPLIT-00000-of-00002.parquet       also below ROOT/data, or in ROOT/SPLIT

Columns: photo and mask, the files' bytes in `bytes`, and the class as a number or a word.
"""

from __future__ import annotations

import functools
import io
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rival_jax.data.files import nfc
from rival_jax.data.mask_formats import Read, reader
from rival_jax.data.orientation import noted, upright
from rival_jax.data.source import class_order
from rival_jax.data.transforms import open_photo, open_picture
from rival_jax.runtime.plugins import no_such


class Place(NamedTuple):
    """Where a photo is stored."""

    file: Path
    group: int
    row: int  # in the group


def load(
    root: Path,
    split: str,
    *,
    image: str = "image",
    label: str = "label",
    mask: str = "mask",
    mask_format: str = "auto",
    mask_values: tuple[int | str, ...] = (),
    ignore: tuple[int | str, ...] = (),
    void: str = "background",
) -> HubParquet:
    """The photos of a split in their stored order.

    Args:
      root: folder of the files.
      split: the beginning of their names, or their folder.
      image, label, mask: the columns.
      mask_format, mask_values, ignore, void: see `mask_formats.reader`.

    Raises:
      ValueError: for no files, with the places searched, a file that is damaged, and columns that
        are missing or hold something else.
    """
    ways = [root, root / "data"]
    found = [way.glob(f"{split}-*.parquet") for way in ways]
    found += [way.glob(f"{split}.parquet") for way in ways]
    files = sorted(path for some in found for path in some) or sorted(
        (root / split).glob("*.parquet")
    )
    if not files:
        raise ValueError(
            f"hub_parquet: no photos: looked for {root / f'{split}-*.parquet'}, {root / 'data'} "
            f"and {root / split}"
        )
    read_mask, notices = reader("hub_parquet", mask_format, mask_values, ignore, void)
    return HubParquet(files, (image, label, mask), read_mask, notices)


class HubParquet:
    """A `Source`; a group of rows is read when one of its photos is asked for."""

    class_wnids = None

    def __init__(
        self,
        files: Sequence[Path],
        columns: tuple[str, str, str],
        read_mask: Read,
        notices: tuple[str, ...],
    ) -> None:
        self._image, label, self._mask = columns
        self._read_mask, self.notices = read_mask, notices
        self._places: list[Place] = []
        self._lock = threading.Lock()
        self._group = functools.lru_cache(maxsize=4)(_read)
        paths: list[str] = []
        labels: list[Any] = []
        for file in files:
            count, schema = _opened(file, columns)
            for group in range(count):
                table = _read(file, group, (f"{self._image}.path", label))
                stored = [one.get("path") for one in table[self._image].to_pylist()]
                self._places += [Place(file, group, row) for row in range(len(stored))]
                paths += [nfc(path or "") for path in stored]
                labels += table[label].to_pylist()
        unique = all(paths) and len(set(paths)) == len(paths)
        numbered = [f"{file.name}/{group}/{row}" for file, group, row in self._places]
        self.names = paths if unique else numbered
        words = _class_names(schema, label)
        if words is None:
            self.classes = class_order(map(str, labels))
            words = list(self.classes)
            labels = [words.index(str(one)) for one in labels]
        self.classes = tuple(words)
        wrong = [one for one in labels if not isinstance(one, int) or not 0 <= one < len(words)]
        if wrong:
            raise ValueError(
                f"hub_parquet: column {label!r} holds {wrong[0]!r}, expected 0 to {len(words) - 1}"
            )
        self.labels = np.array(labels, np.int32)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, position: int) -> dict[str, Any]:
        name, (file, group, row) = self.names[position], self._places[position]
        with self._lock:
            table = self._group(file, group, (f"{self._image}.bytes", f"{self._mask}.bytes"))
        stored = [table[column][row].as_py() for column in (self._image, self._mask)]
        for one, what in zip(stored, ("photo", "mask"), strict=True):
            if not (one or {}).get("bytes"):
                raise ValueError(f"hub_parquet: {what} {name} is not stored in {file}")
        photo, mask = (io.BytesIO(one["bytes"]) for one in stored)
        called = f"{name} of {file}"
        photo, picture = open_photo(photo, called), open_picture(mask, called, "mask")
        notes = noted(photo), noted(picture)
        photo, mask = upright(photo, self._read_mask(picture, name), notes, "fit", name)
        return {"image": photo, "mask": mask, "turned": notes[0] != 1}


def _opened(file: Path, columns: Sequence[str]) -> tuple[int, pa.Schema]:
    """The number of a file's groups, and its columns, checked."""
    try:
        opened = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(_damaged(file, error)) from error
    schema = opened.schema_arrow
    for column in columns:
        if column not in schema.names:
            raise ValueError(f"hub_parquet: {file}: column: " + no_such(column, schema.names))
    for column in (columns[0], columns[2]):
        kind = schema.field(column).type
        if not pa.types.is_struct(kind) or {f.name for f in kind} < {"bytes", "path"}:
            raise ValueError(
                f"hub_parquet: {file}: column {column!r} holds no pictures, but {kind}"
            )
    return opened.num_row_groups, schema


def _read(file: Path, group: int, columns: tuple[str, ...]) -> pa.Table:
    try:
        return pq.ParquetFile(file).read_row_group(group, columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(_damaged(file, error)) from error


def _damaged(file: Path, error: Exception) -> str:
    return f"hub_parquet: {file} is damaged: {' '.join(str(error).split())}"


def _class_names(schema: pa.Schema, label: str) -> list[str] | None:
    """Names of the classes, where `datasets` noted them."""
    try:
        told = json.loads((schema.metadata or {})[b"huggingface"])
        return [str(name) for name in told["info"]["features"][label]["names"]]
    except (KeyError, TypeError, ValueError):
        return None
