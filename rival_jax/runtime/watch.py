"""What hosts learn about each other in the background: signals, failures, losses.

A thread on every host watches jax's coordination service. A host that gets a signal or fails leaves
a note there, and the others end too. A host that dies leaves none and is found missing.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import json
import signal
import sys
import threading
import time
from typing import Any, NoReturn

import jax
from jax._src import distributed  # the coordination service's client has no public name

from rival_jax.runtime import signals
from rival_jax.runtime.signals import EXIT_INTERRUPTED

EXIT_LOST = 76  # another host is gone: start all hosts again with the same command
EXIT_FAILED = 1  # an error that would recur
LOOK_EVERY = 0.5  # seconds
GRACE = 25.0  # seconds a host has to end by itself after a signal; clouds give 30
CHUNK = 1 << 20  # characters of one message
PREFIX = "rival_jax"


class _Room:
    """What this process knows about the others."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.hosts, self.index, self.heartbeat = 1, 0, 0
        self.inside = 0  # loops that wait for the same call of `asked` on all hosts
        self.calls = 0  # of `asked`
        self.signal = ""  # received by this process inside such a loop
        self.note: dict[str, Any] = {}  # the reason why all end
        self.target = threading.Event()  # whether `stop_at` is known
        self.stop_at = 0
        self.done = threading.Event()
        self.thread: threading.Thread | None = None


_room = _Room()


def post(key: str, text: str) -> None:
    """Leaves a text for the others."""
    parts = [text[i : i + CHUNK] for i in range(0, len(text), CHUNK)] or [""]
    for number, part in reversed(list(enumerate(parts))):
        head = f"{len(parts)}\n" if number == 0 else ""
        _client().key_value_set(f"{PREFIX}/{key}/{number}", head + part)


def read(key: str) -> str:
    """A text left by some host; waits for it as long as all are alive."""
    head, _, text = _awaited(f"{PREFIX}/{key}/0").partition("\n")
    return text + "".join(_awaited(f"{PREFIX}/{key}/{i}") for i in range(1, int(head)))


def delete(key: str) -> None:
    """Removes this host's text."""
    _client().key_value_delete(f"{PREFIX}/{key}/")


def _client() -> Any:
    return distributed.global_state.client


def _awaited(key: str) -> str:
    while True:  # short waits, so that signals are handled
        try:
            return _client().blocking_key_value_get(key, 500)
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                lost(str(error))


def prepare() -> None:
    """From here on a lost host, or one that never joins, leads to a message and an exit code.

    jax aborts a process whose peer is lost, from its own thread. Its callback for that cannot be a
    Python function (jax 0.10, 0.12), so the abort signal is handled.
    """
    ctypes.CDLL(None).signal(signal.SIGABRT, _aborted)


def start(hosts: int, index: int, heartbeat: int) -> None:
    """Starts watching for the others' notes."""
    _room.hosts, _room.index, _room.heartbeat = hosts, index, heartbeat
    _room.thread = threading.Thread(target=_look, name="watch", daemon=True)
    _room.thread.start()


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _aborted(number: int) -> None:
    lost("jax gave up; its words are above")


def lost(why: str) -> NoReturn:
    """Ends this process at once, since another host is gone without a note."""
    time.sleep(2 * LOOK_EVERY)  # a leaving host's note may still arrive
    note = _room.note
    if note:
        signals.end_now(int(note["code"]))
    reason = " ".join(why.split())[:300]
    say(
        f"another host was lost, seen by {_name()} ({reason}). What is finished is kept: start all "
        f"hosts again with the same command (exit code {EXIT_LOST})"
    )
    signals.end_now(EXIT_LOST)


def _name() -> str:
    return f"host {_room.index} of {_room.hosts}" if _room.hosts > 1 else "one that waited for it"


def enter() -> None:
    """From here on, a signal waits for a call of `asked`."""
    with _room.lock:
        _room.inside += 1


def leave() -> None:
    """Undoes `enter`."""
    with _room.lock:
        _room.inside -= 1


def asked(own: str) -> str:
    """See `hosts.Stop.asked`; `own` is the signal this process received, "" for none."""
    with _room.lock:
        _room.calls += 1
        _room.signal = _room.signal or own
        if not _room.note:
            return ""
    _room.target.wait()
    return str(_room.note["why"]) if _room.calls >= _room.stop_at else ""


def _look() -> None:
    while not _room.done.wait(LOOK_EVERY):
        try:
            if _room.signal and not _room.note:
                _leave_note(EXIT_INTERRUPTED, _room.signal)
            notes = _client().key_value_dir_get(f"{PREFIX}/end/")
            if notes:
                _obey(json.loads(notes[0][1]))
                return
        except jax.errors.JaxRuntimeError as error:
            if _room.done.is_set():
                return
            lost(str(error))


def _leave_note(code: int, why: str) -> None:
    note = {"host": _room.index, "code": code, "why": why}
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        _client().key_value_set(f"{PREFIX}/end/{_room.index}", json.dumps(note))


def _obey(note: dict[str, Any]) -> None:
    """Ends this process because another host, or this one, ends."""
    if note["code"] == EXIT_FAILED:
        _room.note = note
        if note["host"] != _room.index:
            time.sleep(4 * LOOK_EVERY)  # this host may report the same error, or a better one
            say(f"host {_room.index} ends: host {note['host']} failed: {note['why']}")
            signals.end_now(EXIT_FAILED)
        return
    with _room.lock:
        _room.note = note
        mine = {"calls": _room.calls, "inside": _room.inside > 0}
    post(f"at/{_room.index}", json.dumps(mine))
    states = [json.loads(read(f"at/{host}")) for host in range(_room.hosts)]
    waiting = any(state["inside"] for state in states)
    _room.stop_at = 1 + max(state["calls"] for state in states)
    _room.target.set()
    if not waiting:
        _thread.interrupt_main(signal.SIGTERM)
    if not _room.done.wait(GRACE if not waiting else 4 * GRACE):
        say(f"host {_room.index} did not end within {GRACE:.0f} s of {note['why']}; ended")
        signals.end_now(EXIT_INTERRUPTED)


def stopped(name: str) -> None:
    """Ends this host after a signal: tells the others and waits a moment for them."""
    if not _room.note:
        _leave_note(EXIT_INTERRUPTED, name)
    if not _closed(within=GRACE / 5):
        signals.end_now(EXIT_INTERRUPTED)


def failed(why: str) -> None:
    """Ends this host after an error: tells the others."""
    if not _room.note:
        _leave_note(EXIT_FAILED, why)
        time.sleep(3 * LOOK_EVERY)


def doubt(error: Exception) -> None:
    """After an error of the devices: returns unless it means that another host is gone."""
    say(f"host {_room.index}: {' '.join(str(error).split())[:300]}; are the other hosts there?")
    time.sleep(_room.heartbeat + 10)  # `lost` or a note of the others ends the process meanwhile


def finished() -> None:
    """The program's end, reached by all hosts."""
    _closed(within=GRACE)


def _closed(within: float) -> bool:
    """Leaves the others in an orderly way; whether all of them came in time."""
    try:
        _client().wait_at_barrier(f"{PREFIX}/close", int(1000 * within))
    except jax.errors.JaxRuntimeError:
        return False
    _room.done.set()
    if _room.thread:
        _room.thread.join(2 * LOOK_EVERY)
    with contextlib.suppress(RuntimeError):
        jax.distributed.shutdown()
    return True


def say(text: str) -> None:
    """Prints a line on any host."""
    print(text, file=sys.stderr, flush=True)
