"""Tables of the reference data, which are long; in the small set their digests stand for them."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

DIGEST = "sha256 "
POINTS = {"v2": "v2_mf", **{name: name for name in ("val", "real", "sketch")}}
POINTS |= {name: name for name in ("a_200", "val_a_200", "r_200", "val_r_200")}


def read(path: Path) -> list[dict[str, str]]:
    """A table's rows."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def digest(rows: Iterable[Mapping[str, str]]) -> str:
    """Of rows in their order, whatever that of their columns."""
    lines = [json.dumps(row, sort_keys=True) for row in rows]
    return DIGEST + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def chosen(name: str, rows: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """What the package has of a table: of timm's results some accuracies, in percent.

    In the table's order, but for those two whose order means nothing.
    """
    if name == "timm_224":
        found = [
            {"model": row["model"], **{n: row[f"imagenet_{t}_top1"] for n, t in POINTS.items()}}
            for row in rows
        ]
        return sorted(found, key=lambda row: row["model"])
    found = [dict(row) for row in rows]
    if name == "imagenet_s_merge":
        found.sort(key=lambda row: int(row["index_removed"]))
    return found
