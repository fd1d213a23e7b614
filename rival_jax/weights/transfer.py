"""One file from a server or folder: resumed if interrupted, checked, then put in place."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from rival_jax.runtime.progress import Meter
from rival_jax.weights import pages

WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each retry, while no byte arrives
LONGEST_WAIT = 60.0  # seconds, at most, that a server can ask for
SILENCE = 30.0  # seconds without an answer, at most
PATIENCE, SLOWEST = 60.0, 1000.0  # least bytes per second, averaged over so many seconds
MOST = 1 << 36  # bytes, at most, if the server does not state the length
PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers worth a retry
_CHUNK = 1 << 18
_KB = 1000
_FULL = (errno.ENOSPC, errno.EDQUOT)


class TooSlow(ConnectionError):
    """Bytes arrive, but so slowly that the file would take days; they do not count as progress."""


class _Source(NamedTuple):
    """The remaining stream, from byte `start` of `total` (None: unknown)."""

    stream: Any
    start: int
    total: int | None
    tag: str  # the ETag of this version of the file, "" if the server gives none


def receive(address: str, target: Path, *, sha256: str = "", console: Console) -> None:
    """Puts the file at `address` in `target`, and its hash beside it in `<target>.sha256`.

    Received bytes are kept in `<target>.partial`, where a later call continues if the server still
    has the same file. One caller at a time per target.

    Args:
      address: http(s), or the path of a file.
      sha256: the beginning of the file's hash; "" accepts any.
      console: for progress.

    Raises:
      ValueError: the hash differs; nothing is kept.
      FileNotFoundError, PermissionError: the server says so, or there is no such path.
      ConnectionError: it broke off or was too slow at every try; received bytes are kept.
      OSError: the disk is full, and the like.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    try:
        _insist(address, partial, bool(sha256), console)
        pages.refuse(partial, address)
        found = check(partial, sha256, f"what came from {address}")
    except OSError as error:
        if error.errno == errno.EFBIG or isinstance(error, pages.WebPage):
            _discard(partial)
        raise
    except ValueError as error:
        _discard(partial)
        raise ValueError(f"{error}. Nothing was kept; try again, or another mirror") from None
    partial.replace(target)
    _discard(partial)
    record(target, found)


def check(path: Path, sha256: str, what: str) -> str:
    """The file's hash; raises ValueError, showing both, unless it begins with `sha256`.

    It is read from `<path>.sha256`, if newer than the file, else computed.
    """
    found = _recorded(path)
    if not found.startswith(sha256):
        size = path.stat().st_size
        rest = "" if len(sha256) == 64 else "..."
        raise ValueError(f"{what} ({size:,} bytes) has sha256 {found}, expected {sha256}{rest}")
    return found


def hash_beside(address: str) -> str:
    """The sha256 in `<address>.sha256`, if a mirror has it; else ""."""
    missing = contextlib.suppress(OSError, http.client.HTTPException)
    with missing, _opened(f"{address}.sha256", 0, "") as source:
        said = source.stream.read(64) if source else b""  # it may be an error page
        return said.decode() if re.fullmatch(rb"[0-9a-f]{64}", said) else ""
    return ""


def _recorded(path: Path) -> str:
    beside = path.with_name(f"{path.name}.sha256")
    with contextlib.suppress(OSError, IndexError):
        if beside.stat().st_mtime_ns >= path.stat().st_mtime_ns:
            return beside.read_text().split()[0]
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record(path: Path, sha256: str) -> None:
    """Writes the hash beside a file, in the form that `sha256sum --check` reads, if it can."""
    with contextlib.suppress(OSError):  # a folder without write permission
        path.with_name(f"{path.name}.sha256").write_text(f"{sha256}  {path.name}\n")


def _insist(address: str, partial: Path, known: bool, console: Console) -> None:
    """Retries until the file is complete, or until nothing more arrives."""
    failures, most = 0, _size(partial)
    while True:
        try:
            return _append(address, partial, known, console)
        except (OSError, http.client.HTTPException) as error:
            wait = _wait_asked_for(error)
            reason, slow = _said(error, address), isinstance(error, TooSlow)
        failures = 0 if _size(partial) > most and not slow else failures + 1
        most = max(most, _size(partial))
        if failures > len(WAITS):
            raise ConnectionError(
                f"{address}: {reason}, {failures} times in a row. {most:,} bytes arrived and are "
                "kept; the next call goes on from there"
            )
        wait = max(wait, WAITS[max(failures, 1) - 1])
        console.print(f"{partial.stem}: {reason}; trying again in {wait:g} s", markup=False)
        time.sleep(wait)


def _append(address: str, partial: Path, known: bool, console: Console) -> None:
    tagged = partial.with_name(f"{partial.name}.tag")
    tag = tagged.read_text() if tagged.exists() else ""
    start = _size(partial) if tag or known else 0
    with _opened(address, start, tag) as source:
        if source is None:
            return
        left = None if source.total is None else source.total - source.start
        if shutil.disk_usage(partial.parent).free < (left or 0):
            raise _full(partial, left)
        with partial.open("ab" if source.start else "wb") as file:
            if not source.start:
                tagged.write_text(source.tag)
            try:
                got = _copy(source, file, left, partial.stem, console)
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:
                raise (_full(partial, left) if error.errno in _FULL else error) from error
    if left is not None and got != left:
        raise ConnectionError(f"broke off at {source.start + got:,} of {source.total:,} bytes")


def _copy(source: _Source, file: Any, left: int | None, name: str, console: Console) -> int:
    """The number of bytes received."""
    got, size = 0, "" if source.total is None else f" of {source.total:,} bytes"
    since, before = time.monotonic(), 0
    with Meter((left or 0) // _KB, "kB", console) as meter:
        meter.say(f"{name}: from {source.start:,}{size}" if source.start else f"{name}{size}")
        while chunk := source.stream.read1(_CHUNK):
            file.write(chunk)
            more = (got + len(chunk)) // _KB - got // _KB
            got += len(chunk)
            if more:
                meter.advance(more)
            passed = time.monotonic() - since
            if passed > PATIENCE:
                if got - before < SLOWEST * passed:
                    raise TooSlow(f"only {got - before:,} bytes came in {passed:.0f} s")
                since, before = time.monotonic(), got
            if left is None and source.start + got > MOST:
                raise OSError(
                    errno.EFBIG,
                    f"the server does not say how long {name} is, and sent more than {MOST:,} "
                    "bytes of it; fetch it by hand if it is so large",
                )
    return got


@contextlib.contextmanager
def _opened(address: str, start: int, tag: str) -> Iterator[_Source | None]:
    """Opens the rest of a file; None: it is complete already."""
    if not address.startswith(("http://", "https://")):
        path = Path(address)
        with path.open("rb") as file:
            file.seek(start)
            stat = path.stat()
            yield _Source(file, start, stat.st_size, f"{stat.st_size} {stat.st_mtime_ns}")
        return
    headers = {"User-Agent": "rival_jax", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        headers |= {"If-Range": tag} if tag else {}
    try:
        request = urllib.request.Request(address, headers=headers)
        response = urllib.request.urlopen(request, timeout=SILENCE)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not start:
            raise
        error.close()
        if error.headers["Content-Range"] != f"bytes */{start}":
            with _opened(address, 0, "") as source:
                yield source
            return
        yield None
        return
    with response:
        fields = response.headers
        tag = fields["ETag"] or fields["Last-Modified"] or ""
        where, _, total = (fields["Content-Range"] or "").partition("/")
        if response.status != 206 or not where.startswith(f"bytes {start}-"):
            start, total = 0, fields["Content-Length"]
        yield _Source(response, start, int(total) if total and total.isdigit() else None, tag)


def _said(error: OSError | http.client.HTTPException, address: str) -> str:
    """A description of an error that may pass; raises any other."""
    if isinstance(error, urllib.error.HTTPError):
        with error:  # holds the connection open
            said = f"the server answers {error.code} {error.reason}"
            if error.code in PASSING:
                return said
            kind = {401: PermissionError, 403: PermissionError}.get(error.code, FileNotFoundError)
            raise kind(f"{address}: {said}") from None
    if isinstance(error, http.client.InvalidURL):
        raise ValueError(f"{address}: {error}") from error
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        raise ConnectionError(f"{address}: {reason}") from error
    passing = (TimeoutError, ConnectionError, http.client.HTTPException)
    if not isinstance(error, (urllib.error.URLError, *passing)):
        raise error
    return str(reason) or type(reason).__name__


def _wait_asked_for(error: BaseException) -> float:
    """The wait in seconds that a server asks for."""
    asked = error.headers["Retry-After"] if isinstance(error, urllib.error.HTTPError) else None
    return min(float(asked), LONGEST_WAIT) if asked and asked.isdigit() else 0.0


def _full(partial: Path, left: int | None) -> OSError:
    return OSError(
        errno.ENOSPC,
        f"no room for {partial.stem}: {left or 0:,} bytes were still to come, {partial.parent} has "
        f"{shutil.disk_usage(partial.parent).free:,}; free some, or set RIVAL_JAX_CACHE to a "
        "folder on another disk and move what is there",
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _discard(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    partial.with_name(f"{partial.name}.tag").unlink(missing_ok=True)
