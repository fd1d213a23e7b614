"""Work directories in buckets: a run works in a local folder and uploads every finished file.

Through `etils.epath`: gs://, s3://, az://, with the fsspec package for that kind of bucket.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

LEASE = ".lease"
RENEWED, STALE = 30.0, 180.0  # seconds between renewals of a lease; until it counts as abandoned
LOOKED = 5.0  # seconds between looks at a lease that may be abandoned
SETTLED = 3.0  # seconds after which it is clear which of two runs began later
ELSEWHERE = ("training",)  # folders that hosts write to the bucket directly
_remote: dict[Path, Any] = {}  # local folder -> its place in the bucket
_leases: dict[Path, tuple[str, threading.Event]] = {}


def is_bucket(workdir: str | Path) -> bool:
    """Whether this is the address of a folder in a bucket."""
    return "://" in str(workdir)


def opened(workdir: str, cache: Path, host: int) -> Path:
    """The local folder that mirrors a bucket's; each host has its own."""
    from etils import epath

    name = hashlib.blake2b(workdir.encode(), digest_size=8).hexdigest()
    folder = (cache / "buckets" / name / str(host)).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _remote[folder] = epath.Path(workdir)
    return folder


def remote(path: Path) -> Any:
    """The place of a local file in its bucket; None for files without one."""
    path = path.resolve()
    for folder, place in _remote.items():
        if path == folder or folder in path.parents:
            return place / path.relative_to(folder).as_posix()
    return None


def push(path: Path) -> None:
    """Uploads a finished file, if it belongs in a bucket."""
    place = remote(path)
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())


def fetch(path: Path) -> None:
    """Downloads a file that another host has uploaded, if it belongs in a bucket."""
    place = remote(path)
    if place is not None and place.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(place.read_bytes())


def remove(path: Path) -> None:
    """Removes a file here and in its bucket."""
    place = remote(path)
    if place is not None:
        place.unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def pull(folder: Path) -> None:
    """Makes a local folder equal its bucket's, except for files that `clear` removes."""
    place = remote(folder)
    if place is None:
        return
    there = dict(_files(place, PurePosixPath()))
    for path in [*folder.rglob("*")]:
        if path.is_file() and path.relative_to(folder).as_posix() not in there:
            path.unlink()
    for name, file in there.items():
        same = name.endswith(".parquet") and (folder / name).exists()
        if not same or (folder / name).stat().st_size != file.stat().length:
            fetch(folder / name)


def push_all(folder: Path) -> None:
    """Uploads files that were not written through `workdir.atomic`."""
    place = remote(folder)
    if place is None:
        return
    there = dict(_files(place, PurePosixPath()))
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts) or name.parts[0] in ELSEWHERE
        if path.is_file() and not hidden and name.as_posix() not in there:
            push(path)


def _files(place: Any, below: PurePosixPath) -> Iterator[tuple[str, Any]]:
    if not place.is_dir():
        return
    for path in place.iterdir():
        name = below / path.name
        if path.is_dir():
            if name.parts[0] not in ELSEWHERE:
                yield from _files(path, name)
        elif path.name != LEASE:
            yield name.as_posix(), path


def lease(folder: Path, about: dict[str, Any]) -> dict[str, Any] | None:
    """Claims a bucket's folder for this process, as long as it lives.

    Buckets have no locks: an object is renewed, and counts as abandoned when it is not. If two runs
    begin within a second or so, both may think that they have it, for SETTLED seconds.

    Returns:
      None, or the description of the process that has it.
    """
    place, token = remote(folder) / LEASE, secrets.token_hex(8)
    mine, _ = _leases.get(folder, ("", None))
    held = _read(place)
    while held and held["token"] != mine and time.time() - held["renewed"] < STALE:
        time.sleep(LOOKED)  # a killed process leaves its lease: only a renewal proves it alive
        before, held = held["renewed"], _read(place)
        if held and held["renewed"] != before:
            return held
    release(folder)
    ended = threading.Event()
    _leases[folder] = token, ended

    def renew() -> None:
        place.write_text(json.dumps(about | {"token": token, "renewed": time.time()}))

    def keep() -> None:
        while not ended.wait(RENEWED):
            renew()

    place.parent.mkdir(parents=True, exist_ok=True)
    renew()
    time.sleep(SETTLED)
    held = _read(place)
    if held and held["token"] != token:
        return held
    threading.Thread(target=keep, name="lease", daemon=True).start()
    return None


def release(folder: Path) -> None:
    """Releases the folder, if this process has it."""
    _, ended = _leases.pop(folder, ("", None))
    if ended:
        ended.set()
        (remote(folder) / LEASE).unlink(missing_ok=True)


def _read(place: Any) -> dict[str, Any] | None:
    try:
        return json.loads(place.read_text())
    except (OSError, ValueError):
        return None
