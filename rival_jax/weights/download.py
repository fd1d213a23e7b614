"""Files of published networks: found locally, else fetched.

Environment: RIVAL_JAX_OFFLINE=1 or HF_HUB_OFFLINE=1 forbids network access. RIVAL_JAX_MIRROR, an
address or a folder, replaces the publishers; it has the layout of the cache's folder `models`, so a
filled cache can be copied or served directly. RIVAL_JAX_CACHE is that cache; HF_ENDPOINT is another
hub.
"""

from __future__ import annotations

import contextlib
import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import filelock
from rich.console import Console

from rival_jax.runtime.results import cache_folder
from rival_jax.weights import pages, transfer
from rival_jax.weights.catalogue import Entry, find, nearest

_YES = ("1", "true", "yes", "on")


def fetch(
    entry: Entry | str,
    *,
    offline: bool | None = None,
    mirror: str | None = None,
    console: Console | None = None,
    cache: str = "",
) -> Path:
    """The folder with `entry.file`, and with `config.json` for networks not in the table.

    Args:
      entry: a result of `find`, or a name for it.
      offline: use only local files; None: as the environment says.
      mirror: address or folder that replaces publishers, "" for none; None: from the environment.
      console: for progress; None: the standard error stream.
      cache: in place of the user's cache folder.

    Raises:
      ValueError: there is no such name (gives the nearest), or a file's hash is not the published
        one.
      FileNotFoundError: it is not here and may not or cannot be fetched; says which file to put
        where.
      PermissionError, ConnectionError: the server refuses, or cannot be reached; says so too.
    """
    entry = named(entry)
    if here := cached(entry, cache):
        if here == target(entry, cache):
            _check_placed(entry, here)
        return here
    folder = target(entry, cache)
    if _offline() if offline is None else offline:
        why = "the network is switched off (RIVAL_JAX_OFFLINE or HF_HUB_OFFLINE, or offline=True)"
        raise FileNotFoundError(_lacking(entry, folder, why))
    mirror = os.environ.get("RIVAL_JAX_MIRROR", "") if mirror is None else mirror
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    with _alone(folder, console):
        for file in entry.files:
            if not (folder / file).is_file():  # another process may have been faster
                _bring(entry, file, folder, mirror, console)
    return folder


def also(entry: Entry, file: str, cache: str = "") -> None:
    """Fetches one more file of a hub repository into its folder, if it can be had."""
    folder, mirror = target(entry, cache), os.environ.get("RIVAL_JAX_MIRROR", "")
    if _offline() or not (folder / entry.file).is_file():
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with _alone(folder, console), contextlib.suppress(FileNotFoundError):
        _bring(entry, file, folder, mirror, console)


def cached(entry: Entry | str, cache: str = "") -> Path | None:
    """The folder that already has all of a network's files; None if one is missing.

    Looks in the cache, then in huggingface_hub's.
    """
    entry = named(entry)
    folder = target(entry, cache)
    if all((folder / file).is_file() for file in entry.files):
        return folder
    if entry.repository:
        from huggingface_hub import try_to_load_from_cache  # bundled networks do not need it

        found = [try_to_load_from_cache(entry.repository, file) for file in entry.files]
        folders = {Path(path).parent for path in found if isinstance(path, str)}
        if len(folders) == 1 and all(isinstance(path, str) for path in found):
            return folders.pop()
    return None


def target(entry: Entry, cache: str = "") -> Path:
    """The folder where a network's files are put."""
    return cache_folder(cache) / "models" / entry.folder


def named(entry: Entry | str) -> Entry:
    """The result of `find`; raises ValueError with the nearest names if there is none."""
    if isinstance(entry, Entry):
        return entry
    if found := find(entry):
        return found
    raise ValueError(
        f"no published model {entry!r}{_did_you_mean(entry)}. There are those listed by "
        "python -m rival_jax.main --config=configs/models.py, and the hub's (organisation/name)"
    )


def _bring(entry: Entry, file: str, folder: Path, mirror: str, console: Console) -> None:
    """One file, from the mirror, the hub or its publisher."""
    sha256 = entry.sha256 if file == entry.file else ""
    try:
        if mirror:
            address = _on_mirror(mirror, entry, file)
            sha256 = sha256 or transfer.hash_beside(address)
            transfer.receive(address, folder / file, sha256=sha256, console=console)
        elif entry.repository:
            _from_hub(entry.repository, file, folder, sha256)
        else:
            transfer.receive(entry.source, folder / file, sha256=sha256, console=console)
    except (FileNotFoundError, PermissionError, ConnectionError) as error:
        raise type(error)(_lacking(entry, folder, str(error))) from error


def _on_mirror(mirror: str, entry: Entry, file: str) -> str:
    path = f"{entry.folder}/{file}"
    if mirror.startswith(("http://", "https://")):
        return urllib.parse.quote(f"{mirror.rstrip('/')}/{path}", safe="%/:@")
    return str(Path(mirror).expanduser() / path)


def _from_hub(repository: str, file: str, folder: Path, sha256: str) -> None:
    """Fetches with the hub's client, which resumes, retries, shows progress and knows the token."""
    import huggingface_hub as hub
    from huggingface_hub import errors

    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        hub.hf_hub_download(repository, file, local_dir=folder, endpoint=endpoint)
        facts = hub.get_hf_file_metadata(hub.hf_hub_url(repository, file, endpoint=endpoint))
    except errors.GatedRepoError:
        raise PermissionError(
            f"{repository} is for those who accepted its terms: do that on its page of the hub, "
            "then run `hf auth login`"
        ) from None
    except errors.RepositoryNotFoundError:
        raise FileNotFoundError(
            f"the hub has no repository {repository}, or shows it only after `hf auth login`"
        ) from None
    except errors.RemoteEntryNotFoundError:
        raise FileNotFoundError(f"the hub has no {file} in {repository}") from None
    except Exception as error:  # also errors of its HTTP library, which differs between versions
        if isinstance(error, OSError) and error.errno:
            raise
        raise _by_answer(error.__cause__ or error, repository, file) from None
    pages.refuse(folder / file, hub.hf_hub_url(repository, file, endpoint=endpoint))
    said = facts.etag if facts.etag and len(facts.etag) == 64 else ""  # others are of Git blobs
    _keep_checked(folder / file, sha256 or said)


def _by_answer(error: BaseException, repository: str, file: str) -> OSError:
    """An error for hubs whose replies the client does not translate."""
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (404, 410):
        return FileNotFoundError(f"the hub has no {file} in {repository} ({said})")
    if status in (401, 403):
        return PermissionError(f"the hub does not show {file} in {repository} ({said})")
    return ConnectionError(f"the hub cannot be reached ({said})")


def _keep_checked(path: Path, sha256: str) -> None:
    try:
        transfer.record(path, transfer.check(path, sha256, str(path)))
    except ValueError as error:
        path.unlink()
        raise ValueError(f"{error}. Nothing was kept; try again") from None


def _check_placed(entry: Entry, folder: Path) -> None:
    """Checks a file that was placed by hand, the first time."""
    path = folder / entry.file
    if entry.sha256:
        try:
            transfer.record(path, transfer.check(path, entry.sha256, str(path)))
        except ValueError as error:
            raise ValueError(f"{error}. Delete it, to have it fetched again") from None


def _offline() -> bool:
    said = (os.environ.get(name, "") for name in ("RIVAL_JAX_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() in _YES for value in said)


def _lacking(entry: Entry, folder: Path, why: str) -> str:
    """A text on what is missing, and how to get it without this program."""
    places, last = [], entry.name.rpartition("/")[2]
    for file in entry.files:
        known = file == entry.file and entry.sha256
        rest = "" if len(entry.sha256) == 64 else "..."
        hashed = f" (sha256 {entry.sha256}{rest})" if known else ""
        places.append(f"{entry.address(file)}{hashed} as {folder / file}")
    return (
        f"model {entry.name!r} is not here: {why}. To place it by hand, save "
        f"{' and '.join(places)}; or name a mirror in RIVAL_JAX_MIRROR"
        + ("" if entry.config else f". It is not in the catalogue{_did_you_mean(last)}")
    )


def _did_you_mean(name: str) -> str:
    near = nearest(name)
    return f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""


@contextlib.contextmanager
def _alone(folder: Path, console: Console) -> Iterator[None]:
    """Lets one process fetch at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    lock: filelock.BaseFileLock = filelock.FileLock(folder / ".lock")
    try:
        try:
            lock.acquire(timeout=0)
        except NotImplementedError:  # a file system that has no locks
            lock = filelock.SoftFileLock(folder / ".lock.held")
            lock.acquire(timeout=0)
    except filelock.Timeout:
        said = f"{folder}: waiting for another process that is fetching it ({lock.lock_file})"
        console.print(said, markup=False)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
