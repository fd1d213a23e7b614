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
    """Of rows, whatever their order and that of their columns."""
    lines = sorted(json.dumps(row, sort_keys=True) for row in rows)
    return DIGEST + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def points(rows: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """Of timm's results the accuracies that the package has, in percent."""
    return [
        {"model": row["model"], **{n: row[f"imagenet_{t}_top1"] for n, t in POINTS.items()}}
        for row in rows
    ]
