"""Signals that ask a run to stop: remembered, so that it can save its state first."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

EXIT_INTERRUPTED = 75  # the shell's "try again": the same command goes on where this one stopped
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(SystemExit):
    """A signal stopped the work after its state was saved; the process ends with code 75."""

    def __init__(self) -> None:
        super().__init__(EXIT_INTERRUPTED)


class Caught:
    """Remembers the first SIGTERM or SIGINT; the second acts as if nobody had caught the first.

    Use as a context manager. `name` is the signal's, empty while there is none.
    """

    def __init__(self) -> None:
        self.name = ""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Caught:
        for number in SIGNALS:
            try:
                self._before[number] = signal.signal(number, self._remember)
            except ValueError:  # not in the main thread, where nobody gets signals
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
