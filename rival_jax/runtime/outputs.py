"""The output files of a finished run, and whether they are still unchanged."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

NAME = "outputs.json"
ENDINGS = (".json", ".csv", ".md", ".tex", ".html", ".parquet")
FOLDERS = ("figures", "tables")
NOT = (NAME, "environment.json", "plans.json")  # about the machine and the last call, not results


def hashes(folder: Path) -> dict[str, str]:
    """Path below `folder` -> hash: for tables, figures, report and their config."""
    texts = [path for path in folder.glob("[!.]*") if path.suffix in ENDINGS]
    inner = [path for name in FOLDERS for path in (folder / name).rglob("[!.]*")]
    files = [path for path in [*texts, *inner] if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): _hash(path)
        for path in sorted(files)
        if path.name not in NOT
    }


def as_left(folder: Path, known: Any) -> bool:
    """Whether every file in `known`, see `hashes`, exists and is unchanged."""
    if not isinstance(known, dict) or "report.html" not in known:
        return False
    paths = {name: folder / name for name in known}
    return all(paths[name].is_file() and _hash(paths[name]) == known[name] for name in known)


def _hash(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
