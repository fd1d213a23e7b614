"""The single table of results: every number of a study in one schema, and filters over it."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rival_jax.runtime.names import csv_cell
from rival_jax.runtime.workdir import atomic

Row = Mapping[str, Any]
"""One number: study, measure, the axes, contrast, estimate, low, high, p, images, classes."""

FIRST = ("study", "measure")
NUMBERS = ("estimate", "low", "high", "p", "images", "classes")
LAST = ("contrast", *NUMBERS)
NO_INTERVAL = dict.fromkeys(("low", "high", "p"), float("nan"))  # of a row that has none


def plain(
    study: str, measure: str, estimate: float | int, images: int, classes: int, **axes: Any
) -> dict[str, Any]:
    """A row for a number without an interval."""
    row = {"study": study, "measure": measure, **axes, "contrast": "", **NO_INTERVAL}
    return row | {"estimate": float(estimate), "images": images, "classes": classes}


PARQUET, CSV = "summary.parquet", "summary.csv"


class Results:
    """Rows of results in an order that tables may rely on; every method returns new ones.

    A row has None for axes that do not apply to it. "p" is NaN if nothing was tested, "low" and
    "high" are NaN if there is no interval.
    """

    def __init__(self, rows: Iterable[Row]):
        self.rows = list(rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __add__(self, other: Results) -> Results:
        return Results([*self.rows, *other.rows])

    def where(self, **wanted: Any) -> Results:
        """The rows whose columns have the wanted values; a tuple or list means one of them.

        None matches rows without a value in the column, `bool` those with one that is not "".
        """
        kept = self.rows
        for column, value in wanted.items():
            several = value if isinstance(value, (tuple, list)) else (value,)
            if value is bool:
                kept = [row for row in kept if row.get(column)]
            else:
                kept = [row for row in kept if row.get(column) in several]
        return Results(kept)

    def one(self, **wanted: Any) -> Row:
        """The single row with these values.

        Raises:
          KeyError: if there is none, or more than one.
        """
        found = self.where(**wanted).rows
        if len(found) != 1:
            raise KeyError(f"{len(found)} results have {wanted}")
        return found[0]

    def of(self, column: str) -> list[Any]:
        """The values of a column, each once, in order; without None."""
        return [v for v in dict.fromkeys(row.get(column) for row in self.rows) if v is not None]

    def ranked(self, column: str) -> list[Any]:
        """The values of a column, unique per row, by their rows' estimates, largest first."""
        ordered = sorted(self.rows, key=lambda row: -row["estimate"])
        return list(dict.fromkeys(row[column] for row in ordered))

    def changed(self, change: Callable[[Row], Row]) -> Results:
        """Every row changed."""
        return Results(map(change, self.rows))

    def having(self, **columns: Any) -> Results:
        """Every row with these columns too."""
        return self.changed(lambda row: {**row, **columns})

    def axes(self) -> list[str]:
        """Names of the columns that are axes."""
        columns = dict.fromkeys(column for row in self.rows for column in row)
        return [name for name in columns if name not in (*FIRST, *LAST)]

    def header(self) -> tuple[str, ...]:
        """Names of all columns in the order of the files."""
        return (*FIRST, *self.axes(), *LAST)

    def table(self) -> pa.Table:
        """As Arrow; `.to_pandas()` works if pandas is installed."""
        columns = {name: [row.get(name) for row in self.rows] for name in self.header()}
        return pa.table({name: _array(name, values) for name, values in columns.items()})

    def lines(self) -> Iterator[list[Any]]:
        """The rows as lines of a CSV file, unrounded; empty cells for missing values."""
        header = self.header()
        for row in self.rows:
            cells = (row.get(name) for name in header)
            yield ["" if cell is None or cell != cell else csv_cell(cell) for cell in cells]

    def write(self, folder: Path) -> None:
        """Writes `summary.parquet` and `summary.csv`."""
        with atomic(folder / PARQUET) as partial:
            pq.write_table(self.table(), partial)
        with atomic(folder / CSV) as partial, partial.open("w", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([self.header(), *self.lines()])

    @classmethod
    def read(cls, *folders: str | os.PathLike) -> Results:
        """The results of finished runs, one after another.

        Raises:
          FileNotFoundError: for a folder without any; names the cure.
        """
        rows: list[Row] = []
        for folder in map(Path, folders):
            if not (folder / PARQUET).is_file():
                raise FileNotFoundError(
                    f"{folder / PARQUET} is missing; name the workdir of a finished run"
                )
            rows += pq.read_table(folder / PARQUET).to_pylist()
        return cls(rows)


def _array(name: str, values: Sequence[Any]) -> pa.Array:
    """A column: numbers as such, all else as text."""
    if name in ("images", "classes"):
        return pa.array(values, pa.int64())
    there = [value for value in values if value is not None]
    if name in NUMBERS or (there and all(isinstance(value, float) for value in there)):
        return pa.array(values, pa.float64())
    if there and all(type(value) is int for value in there):
        return pa.array(values, pa.int64())
    return pa.array([None if value is None else str(value) for value in values], pa.string())
