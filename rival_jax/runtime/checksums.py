"""Checksums beside files that cannot hold their own: caches, pictures, trained networks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from rival_jax.runtime import buckets, hosts
from rival_jax.runtime.workdir import write_text

ENDING = ".blake2b"


def note(path: Path) -> None:
    """Stores the checksum of a file, or folder of files, beside it; call it after writing."""
    write_text(_beside(path), _hash(path) + "\n")


def holds(path: Path) -> bool:
    """Whether a file or folder exists and matches its stored checksum."""
    try:
        return _beside(path).read_text(encoding="ascii").strip() == _hash(path)
    except (OSError, ValueError):  # one of both is missing, or is not text
        return False


def shared(folder: Path, write: Callable[[], object]) -> None:
    """Process 0 writes a folder of files, and its checksum; afterwards every host sees them."""
    names: list[str] = []
    if hosts.first():
        write()
        note(folder)
        names = sorted(file.name for file in folder.iterdir())
        for name in names:
            buckets.push(folder / name)
    names = hosts.agreed(names)
    if not hosts.first():
        for file in (*(folder / name for name in names), _beside(folder)):
            buckets.fetch(file)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ENDING)


def _hash(path: Path) -> str:
    state = hashlib.blake2b(digest_size=16)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in files:
        if not file.is_dir():
            content = file.read_bytes()
            state.update(f"{file.relative_to(path).as_posix()} {len(content)} ".encode())
            state.update(content)
    return state.hexdigest()
