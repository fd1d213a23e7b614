"""Where the time goes: waits for input, compiling, and a trace of a few steps on request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import jax
import jax.monitoring

from rival_jax.runtime import hosts

T = TypeVar("T")
AFTER, STEPS = 3, 5  # steps before the trace (they compile), and in it
# jax's events: a program is lowered and will be compiled; it is compiled.
LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"
COMPILING = "/jax/core/compile/backend_compile_duration"


class _State:
    folder = ""
    steps = 0
    waited = 0.0
    compiled = 0.0
    on_compiling: Callable[[bool], None] | None = None  # called when it begins and when it ends


_state = _State()


def _heard(event: str, duration_secs: float, **_: Any) -> None:
    if event == COMPILING:
        _state.compiled += duration_secs
    if event in (LOWERED, COMPILING) and _state.on_compiling:
        _state.on_compiling(event == LOWERED)


jax.monitoring.register_event_duration_secs_listener(_heard)


def tell_compiling(whom: Callable[[bool], None] | None) -> None:
    """From here on calls `whom`, or nobody, with True when compiling begins, False when it ends."""
    _state.on_compiling = whom


def start(folder: str) -> None:
    """From here on steps are counted, and some of them are traced into `folder`."""
    _state.folder, _state.steps = folder, 0


def on_step() -> None:
    """Call it when a step of some loop has ended; process 0 begins or ends the trace here."""
    if not _state.folder or not hosts.first():
        return
    _state.steps += 1
    if _state.steps == AFTER:
        jax.profiler.start_trace(_state.folder)
    elif _state.steps == AFTER + STEPS:
        stop()


def stop() -> None:
    """Writes an unfinished trace; does nothing if it is already written."""
    if _state.folder and hosts.first() and _state.steps >= AFTER:
        jax.profiler.stop_trace()
    _state.folder = ""


def timed(values: Iterable[T]) -> Iterator[T]:
    """The values; the time until each arrives counts as waiting for input."""
    iterator = iter(values)
    while True:
        start = time.monotonic()
        try:
            value = next(iterator)
        except StopIteration:
            return
        finally:
            _state.waited += time.monotonic() - start
        yield value


def waited() -> float:
    """Seconds that this process has waited for input."""
    return _state.waited


def compiled() -> float:
    """Seconds that this process has compiled programs."""
    return _state.compiled
