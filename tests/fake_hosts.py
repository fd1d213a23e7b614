"""Hosts that are threads of one process: for what is done before anything reaches a device."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from rival_jax.runtime import hosts


def on_hosts(monkeypatch, count: int, program: Callable[[], Any]) -> list[Any]:
    """What `program` returns on each of `count` hosts; an error if one raises."""
    local, barrier, said = threading.local(), threading.Barrier(count), [None] * count

    def gathered(value):
        said[local.index] = value
        barrier.wait(60)
        found = list(said)
        barrier.wait(60)
        return found

    def gathered_rows(rows):
        parts = gathered(dict(rows))
        whole = {name: np.concatenate([part[name] for part in parts]) for name in rows}
        order = np.argsort(whole["index"], kind="stable") if "index" in whole else slice(None)
        return {name: value[order] for name, value in whole.items()}

    def run(index):
        local.index = index
        try:
            return program()
        except BaseException:
            barrier.abort()
            raise

    with monkeypatch.context() as patch:
        patch.setattr(hosts, "count", lambda: count)
        patch.setattr(hosts, "index", lambda: getattr(local, "index", 0))
        patch.setattr(hosts, "gathered", gathered)
        patch.setattr(hosts, "gathered_rows", gathered_rows)
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(run, range(count)))
