"""Reads files in a process of its own, where imports, calls of the system and greed are caught.

`python -m tests.checkpoint_guard WARM FILES RESULT`, each a JSON file: FILES are read after WARM,
which makes the readers import what they need, and RESULT tells what became of each.
"""

from __future__ import annotations

import builtins
import codecs
import importlib
import json
import os
import pickle
import resource
import sys
import time
from pathlib import Path

import numpy as np

from rival_jax.weights.reader import read_tensors

MEMORY = 2**30
FORBIDDEN = (
    *("import", "exec", "compile", "marshal.", "pickle.", "ctypes.", "code.", "function."),
    *("os.", "subprocess.", "socket.", "shutil.", "pty.", "tempfile.", "webbrowser.", "urllib."),
)
HARMLESS = ("os.listdir", "os.scandir")

seen: list[str] = []
watching = False


def _hook(event: str, args: tuple) -> None:
    if not watching:
        return
    writes = event == "open" and (args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if (event.startswith(FORBIDDEN) and event not in HARMLESS) or writes:
        seen.append(f"{event} {str(args)[:200]}")
        raise PermissionError(seen[-1])


def _only_known(real):
    """An import that gives what is imported already."""

    def guarded(name, *args, **kwargs):
        if watching and name not in sys.modules:
            seen.append(f"import of {name}")
            raise PermissionError(seen[-1])
        return real(name, *args, **kwargs)

    return guarded


def read(path: str) -> dict:
    """What became of one file; every tensor is copied, so that it is really there."""
    begin, names, error = time.process_time(), [], None
    try:
        if path.endswith(".control"):  # this one does what the readers must not do
            pickle.loads(Path(path).read_bytes())
        tensors = read_tensors(Path(path))
        names = [name for name, value in tensors.items() if np.array(value) is not None]
    except Exception as caught:
        error = caught
    outcome = {
        "names": names,
        "error": type(error).__name__ if error else None,
        "message": str(error) if error else "",
        "seconds": time.process_time() - begin,
        "violations": list(seen),
    }
    while error is not None:
        if isinstance(error, MemoryError):
            outcome["error"] = "MemoryError"
        error = error.__cause__ or error.__context__
    seen.clear()
    return outcome


def main(warm: str, files: str, result: str) -> None:
    global watching
    for path in json.loads(Path(warm).read_text()):
        assert read(path)["error"] is None, path
    for codec in ("cp437", "latin1", "raw_unicode_escape", "unicode_escape"):
        codecs.lookup(codec)
    sys.addaudithook(_hook)
    builtins.__import__ = _only_known(builtins.__import__)
    importlib.import_module = _only_known(importlib.import_module)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = _peak()
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    outcomes = {}
    for path in json.loads(Path(files).read_text()):
        watching = True
        outcomes[path] = read(path)
        watching = False
    Path(result).write_text(json.dumps({"outcomes": outcomes, "memory": _peak() - before}))


def _peak() -> int:
    """Bytes that were resident at most; `ru_maxrss` would count the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main(*sys.argv[1:])
