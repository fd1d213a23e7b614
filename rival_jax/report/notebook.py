"""Figures of finished runs' results, as values that a notebook shows."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa

from rival_jax.report import figures, grids, style
from rival_jax.report.results import Results
from rival_jax.runtime.plugins import no_such

KINDS = {one.__name__: one for one in (figures.dots, figures.bars, figures.curves, grids.heat)}


class Shown(NamedTuple):
    """A figure: PNG, SVG and the CSV of its numbers, as bytes."""

    png: bytes
    svg: bytes
    csv: bytes

    def _repr_png_(self) -> bytes:
        return self.png


def draw(kind: str, table: pa.Table, *columns: str, **options: Any) -> Shown:
    """A figure of results, in the style of the reports.

    Args:
      kind: one of `KINDS`, functions of `report.figures` and `report.grids`, which say what columns
        and options they take.
      table: rows of `read_results`, already filtered.
      columns: of `dots` and `bars` the one whose values are the rows, of `curves` the numbers along
        the horizontal axis.
      options: of the kind, such as by="model", panel="region", percent=True.

    Raises:
      ValueError: for another kind, a column that the table lacks, or a table without rows.

    >>> row = {"study": "rfs", "measure": "rfs", "model": "vit", "contrast": "", "p": 1.0}
    >>> row |= {"estimate": 0.5, "low": 0.4, "high": 0.6, "images": 9, "classes": 3}
    >>> draw("dots", pa.Table.from_pylist([row]), "model").csv.decode().splitlines()[1]
    'rfs,vit,0.5,0.4,0.6'
    """
    if kind not in KINDS:
        raise ValueError("kind: " + no_such(kind, KINDS))
    asked = [*columns, *(options[name] for name in ("by", "panel") if options.get(name))]
    for name in asked:
        if name not in table.column_names:
            raise ValueError("column: " + no_such(name, table.column_names))
    if not table.num_rows:
        raise ValueError("the table has no rows: nothing in it passed the filter")
    results = Results(table.to_pylist())
    return Shown(*style.drawn(lambda: KINDS[kind](results, *columns, **options)))
