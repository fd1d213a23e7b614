"""One program on several hosts: this host's index, agreement between all, a common end.

Every host runs the same program and makes the same calls to this file in the same order. With one
process, each call is trivial. Small values go through jax's coordination service, rows through
collectives of the devices.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from rival_jax.runtime import signals, watch

T = TypeVar("T")
HEARTBEAT = 60  # seconds without a sign of life after which a host counts as lost
STARTING = 5  # factor on the wait for one another at the start
_turns = 0  # of `gathered`


def initialize(
    where: str,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    heartbeat: int = HEARTBEAT,
) -> None:
    """Joins the other hosts; before the first use of a device.

    Args:
      where: "off": one host. "auto": detected by jax on Cloud TPU, SLURM, Kubernetes or MPI.
        "host:port" of process 0, with the two numbers.
      heartbeat: see HEARTBEAT.

    Raises:
      ValueError: if these do not determine the hosts.
    """
    if where == "off":
        return
    known: dict[str, Any] = {}
    if where != "auto":
        if ":" not in where or num_processes is None or process_id is None:
            raise ValueError(
                f"--distributed={where} --num_processes={num_processes} --process_id={process_id}: "
                "expected 'off', 'auto', or host:port of process 0 with both numbers"
            )
        known = {"coordinator_address": where, "process_id": process_id}
        known["num_processes"] = num_processes
    try:
        watch.prepare()
        jax.distributed.initialize(
            **known,
            initialization_timeout=STARTING * heartbeat,
            heartbeat_timeout_seconds=heartbeat,
            shutdown_timeout_seconds=heartbeat,
        )
    except ValueError as error:
        raise ValueError(
            f"--distributed={where}: {error} This is none of the clusters that jax recognises; "
            "pass --distributed=host:port --num_processes=N --process_id=I"
        ) from None
    if count() > 1:
        watch.start(count(), index(), heartbeat)


def count() -> int:
    """The number of processes; each has its own devices."""
    return jax.process_count()


def index() -> int:
    """This process's number, from 0."""
    return jax.process_index()


def first() -> bool:
    """Whether this is the process that prints, draws and writes what all share."""
    return index() == 0


def shares(total: int) -> list[range]:
    """Every host's contiguous part of `total` items; sizes differ by at most one."""
    n = count()
    return [range(total * i // n, total * (i + 1) // n) for i in range(n)]


def agreed(value: T) -> T:
    """Process 0's JSON-able value, on every host."""
    return gathered(value if first() else None)[0]


def decided(decide: Callable[[], T]) -> T:
    """Process 0's decision on every host: its JSON-able value, or the error that it raises."""
    if count() == 1:
        return decide()
    value, error = None, ""
    if first():
        try:
            value = decide()
        except (ValueError, OSError) as raised:
            error = str(raised)
    value, error = agreed((value, error))
    if error:
        raise ValueError(error)
    return value  # pyright: ignore[reportReturnType]


def gathered(value: Any) -> list[Any]:
    """Every host's JSON-able value, by process, on every host."""
    global _turns
    if count() == 1:
        return [value]
    turn, _turns = _turns, _turns + 1
    watch.post(f"said/{turn}/{index()}", json.dumps(value))
    said = [json.loads(watch.read(f"said/{turn}/{host}")) for host in range(count())]
    if turn > 1:  # a host at this turn has read everything of the turn before last
        watch.delete(f"said/{turn - 2}/{index()}")
    return said


def gathered_rows(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All hosts' rows on every host, sorted by `index` if there is one, else by process.

    Args:
      rows: arrays [n, ...] of the same names and types on every host; n may be 0.
    """
    if count() == 1:
        return dict(rows)
    lengths = gathered(len(next(iter(rows.values()))))  # and all hosts are here
    found = {name: _whole(np.asarray(value), lengths) for name, value in rows.items()}
    if "index" not in found:
        return found
    order = np.argsort(found["index"], kind="stable")
    return {name: value[order] for name, value in found.items()}


def _whole(mine: np.ndarray, lengths: list[int]) -> np.ndarray:
    """All hosts' parts of one array, concatenated; sent as bytes, which no device rounds."""
    shape, each = mine.shape[1:], int(np.prod(mine.shape[1:], dtype=int))
    if not max(lengths) * each:
        return np.empty((sum(lengths), *shape), mine.dtype)
    sent = np.zeros((max(lengths), each * mine.itemsize), np.uint8)
    sent[: len(mine)] = np.ascontiguousarray(mine).reshape(len(mine), each).view(np.uint8)
    parts = zip(np.asarray(multihost_utils.process_allgather(sent)), lengths, strict=True)
    joined = np.concatenate([part[:length] for part, length in parts])
    return joined.view(mine.dtype).reshape(len(joined), *shape)


def agreed_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Process 0's arrays, bit for bit, on every host; the others' arguments are ignored."""
    if count() == 1:
        return dict(arrays)
    about = agreed({name: [a.shape, a.dtype.name] for name, a in arrays.items()})
    found = {}
    for name, (shape, dtype) in about.items():
        flat = np.empty((0, int(np.prod(shape, dtype=int))), dtype)
        if first():
            flat = np.asarray(arrays[name]).reshape(1, -1)
        found[name] = gathered_rows({name: flat})[name].reshape(shape)
    return found


def barrier() -> None:
    """Returns when every host is here."""
    gathered(None)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """The whole program: when one host stops or fails within this, all do; see `watch`.

    Raises:
      Interrupted: after a signal to any host, raised wherever the program is; within `Stop` it
        waits.
    """
    with signals.ending():
        try:
            yield
            barrier()
        except signals.Interrupted as stopped:
            if stopped.name and first():
                watch.say(
                    f"{stopped.name}: stopped; what is finished is kept. Run the same command "
                    f"again to go on (exit code {signals.EXIT_INTERRUPTED})"
                )
            if count() > 1:
                watch.stopped(stopped.name or "a signal")
            raise
        except jax.errors.JaxRuntimeError as error:
            if count() > 1:
                watch.doubt(error)
                watch.failed(str(error))
            raise
        except BaseException as error:
            if count() > 1:
                watch.failed(str(error))
            raise
    if count() > 1:
        watch.finished()


class Stop:
    """A SIGTERM or SIGINT to any host, seen by all at the same call of `asked`.

    Use as a context manager around a loop that has a state to save. Outside of it, a signal ends
    the program and all other hosts at once with code 75.
    """

    def __init__(self) -> None:
        self._caught = signals.Caught()

    def __enter__(self) -> Stop:
        self._caught.__enter__()
        watch.enter()
        return self

    def __exit__(self, *error: Any) -> None:
        watch.leave()
        self._caught.__exit__(*error)

    def asked(self) -> str:
        """The signal's name, "" while there is none: the same on all hosts at the same call.

        Every host calls this once per step. When it gives a name: save, then
        `raise signals.Interrupted`.
        """
        return self._caught.name if count() == 1 else watch.asked(self._caught.name)
