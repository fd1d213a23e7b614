"""Signals that stop a run: at once, or remembered so that it can save its state first."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, NoReturn

EXIT_INTERRUPTED = 75  # the shell's "try again": the same command goes on where this one stopped
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(SystemExit):
    """A signal stopped the work; everything needed to continue is saved; the exit code is 75."""

    def __init__(self, name: str = "") -> None:
        super().__init__(EXIT_INTERRUPTED)
        self.name = name


class Caught:
    """Remembers the first SIGTERM or SIGINT; the second acts as if the first had not been caught.

    Use as a context manager. `name` is the signal's, empty while there is none. A signal that is
    still unhandled at the end is raised then.
    """

    def __init__(self) -> None:
        self.name = ""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Caught:
        self._before = _handle(self._remember)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()
        if self.name and kind is None:  # it came too late for the block
            signal.raise_signal(signal.Signals[self.name])

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        _restore(self._before)
        self._before = {}


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Within it, the first SIGTERM or SIGINT raises `Interrupted`, wherever the program is.

    For programs that lose nothing by it, since files are written whole or not at all. Nothing can
    be raised in a destructor, so there the signal is sent again a moment later.
    """
    again: list[threading.Timer] = []

    def end(number: int, frame: FrameType | None) -> None:
        _restore(before)
        raise Interrupted(signal.Signals(number).name)

    def unraised(about: sys.UnraisableHookArgs) -> None:
        if not isinstance(about.exc_value, Interrupted) or not before:
            return report(about)
        _handle(end)
        main, number = threading.main_thread().ident, signal.Signals[about.exc_value.name]
        again.append(threading.Timer(0.01, signal.pthread_kill, (main, number)))
        again[-1].start()

    before = _handle(end)
    report, sys.unraisablehook = sys.unraisablehook, unraised
    try:
        yield
    finally:
        sys.unraisablehook = report
        for timer in again:
            timer.cancel()
            timer.join()
        _restore(before)


@contextlib.contextmanager
def ends_within(seconds: float, words: str) -> Iterator[None]:
    """Within it, a process that gets SIGTERM or SIGINT ends after `seconds` at the latest.

    Python's handlers cannot run while a program is compiled or computed. A thread still notices the
    signal, waits, and then ends the process with code 75.

    Args:
      words: printed at that point.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    except ValueError:  # not the main thread
        for end in (reader, writer):
            os.close(end)
        yield
        return
    done = threading.Event()

    def listen() -> None:
        while number := os.read(reader, 1):
            if number[0] in SIGNALS and not done.wait(seconds):
                print(words, file=sys.stderr, flush=True)
                end_now(EXIT_INTERRUPTED)
            if done.is_set():
                return

    threading.Thread(target=listen, name="deadline", daemon=True).start()
    try:
        yield
        done.set()
    except Interrupted:
        raise  # the thread watches the rest of the way
    except BaseException:
        done.set()
        raise
    finally:
        if done.is_set():
            signal.set_wakeup_fd(before)
            os.write(writer, b"\0")


def end_now(code: int) -> NoReturn:
    """Ends the process at once, after flushing output.

    The interpreter's normal exit waits for threads and takes memory from programs that still run.
    """
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _handle(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """The earlier handlers; none outside the main thread, where signals never arrive."""
    before: dict[int, Any] = {}
    for number in SIGNALS:
        with contextlib.suppress(ValueError):
            before[number] = signal.signal(number, handler)
    return before


def _restore(before: dict[int, Any]) -> None:
    for number, handler in before.items():  # None: the earlier handler was not set from Python
        signal.signal(number, signal.SIG_DFL if handler is None else handler)
