"""A work directory, used by one run at a time and seen by all its hosts."""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import json
import os
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from rival_jax.runtime import buckets, hosts

LOCK = ".lock"
PARTIAL, PART = ".partial-", ".part-"  # prefixes of unfinished files, and of one host's
PATIENCE = 5.0  # seconds a network file system may take to show another host's file
_held: dict[Path, IO[str]] = {}


def claim(folder: Path) -> None:
    """Locks this folder against other processes as long as this one lives.

    The kernel releases a killed process's lock, on network file systems too.

    Raises:
      ValueError: if another process has it, naming it.
    """
    about = {"host": socket.gethostname(), "pid": os.getpid(), "argv": sys.argv}
    about["since"] = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    if buckets.remote(folder) is not None:
        held_by = buckets.lease(folder, about)
        if held_by:
            raise ValueError(f"{buckets.remote(folder)} is in use by {_owner(held_by)}")
        return
    path = folder.resolve() / LOCK
    held = _held.get(path)
    if held and path.exists() and os.path.samestat(os.fstat(held.fileno()), path.stat()):
        return
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        with file:
            raise ValueError(f"{folder} is in use by {_owner(_read(file))}") from None
    except OSError:  # this file system has no locks
        file.close()
        return
    file.truncate(0)
    file.write(json.dumps(about) + "\n")
    file.flush()
    if held:
        held.close()
    _held[path] = file


@atexit.register
def _release() -> None:
    for file in _held.values():
        file.close()


def _read(file: IO[str]) -> dict[str, Any]:
    try:
        return json.loads(file.read())
    except ValueError:  # it has only just begun
        return {}


def _owner(about: dict[str, Any]) -> str:
    if not about:
        return "another run: wait for it to end, or name another --workdir"
    return (
        f"process {about['pid']} on {about['host']} since {about['since']}: wait for it, end it "
        f"with `kill {about['pid']}` there, or name another --workdir"
    )


def clear(folder: Path) -> None:
    """Removes what a killed run left half written; only after claiming the folder."""
    for prefix in (PARTIAL, PART):
        for path in folder.rglob(f"{prefix}*"):
            if path.is_file():
                buckets.remove(path)


def check_shared(folder: Path) -> None:
    """Raises ValueError on every host if any of them does not see what process 0 writes here."""
    if hosts.count() == 1 or buckets.remote(folder) is not None:
        return
    mark = folder / f"{PARTIAL}{hosts.agreed(secrets.token_hex(8))}"
    if hosts.first():
        mark.touch()
    hosts.barrier()
    found = hosts.gathered([socket.gethostname(), seen(mark)])
    if hosts.first():
        mark.unlink(missing_ok=True)
    blind = [f"{i} ({name})" for i, (name, there) in enumerate(found) if not there]
    if blind:
        raise ValueError(
            f"--workdir={folder} of host 0 ({found[0][0]}) is not seen by host {', '.join(blind)}; "
            "name a folder that all hosts share, or a bucket"
        )


def seen(path: Path) -> bool:
    """Whether a file exists, or appears within a moment."""
    end = time.monotonic() + PATIENCE
    buckets.fetch(path)
    while not path.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@contextlib.contextmanager
def atomic(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`, renamed to it when the block ends without an error.

    An empty folder in the place of `target` is removed.

    Raises:
      OSError: a full disk; names the file and says that finished work is kept.
      ValueError: if a nonempty folder is in its place, or a file in its folder's place.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        odd = next(path for path in target.parents if path.exists())
        raise ValueError(f"{odd} should be a folder of results, but is a file: remove it") from None
    if target.is_dir() and not target.is_symlink():
        make_way(target)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=PARTIAL, suffix=target.suffix)
    os.close(handle)
    partial = Path(name)
    try:
        with disk_errors(target):
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.chmod(0o644)
            partial.replace(target)
            buckets.push(target)
    finally:
        partial.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Writes a text file in UTF-8, see `atomic`."""
    with atomic(target) as partial:
        partial.write_text(text, encoding="utf-8")


def make_way(folder: Path) -> None:
    """Removes an empty folder in the place of a file.

    Raises:
      ValueError: if something is in it.
    """
    try:
        folder.rmdir()
    except OSError:
        raise ValueError(
            f"{folder} is a folder, where a file of results is to be written: remove it"
        ) from None


@contextlib.contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Makes the error of a full disk say what was not written, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            error.errno,
            f"the disk is full; {target} was not written. Finished units are kept: free some space "
            "and run the same command again",
        ) from error
