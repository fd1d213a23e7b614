"""Progress with rate and time left: a bar on a terminal, occasional lines in a log."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from rival_jax.runtime import hosts, profile
from rival_jax.runtime.names import visible

LOG_EVERY = 10.0  # seconds between lines if there is no terminal
PEAKS = {  # start of a device's kind -> operations per second, in bfloat16 without sparsity
    "TPU v2": 23e12,
    "TPU v3": 61e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
    "NVIDIA A100": 312e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA B200": 2250e12,
    "NVIDIA L4": 121e12,
    "Tesla T4": 65e12,
    "Tesla V100": 125e12,
}


class Meter:
    """Counts work towards a total; use as a context manager.

    With several hosts, equal speed is assumed: this one's work counts for each.

    Args:
      total: units of work over all hosts; unit: their name ("forwards").
      console: where it is drawn.
    """

    def __init__(self, total: int, unit: str, console: Console):
        self.total, self.unit, self.console = total, unit, console
        self.done, self.text, self.flops = 0, "", 0.0
        self.started = self.printed = time.monotonic()
        self.compiled = profile.compiled()
        self.lapped = (self.started, 0, profile.waited())
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[rate]}"),
        )
        quiet = not console.is_terminal or console.quiet
        self.bar = Progress(*columns, console=console, disable=quiet)
        self.task = self.bar.add_task("", total=total, rate="")

    def __enter__(self) -> Meter:
        self.bar.start()
        if not self.bar.disable:
            profile.tell_compiling(self._compiling)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        profile.tell_compiling(None)
        self.bar.stop()

    def say(self, text: str, flops: float = 0.0) -> None:
        """Names the phase and the work: "reading cub test"; `flops`: of a unit of it, if known."""
        self.text, self.flops = visible(text), flops
        self.bar.update(self.task, description=self.text)

    def _compiling(self, begins: bool) -> None:
        text = f"compiling, then {self.text}" if begins else self.text
        self.bar.update(self.task, description=text)

    def more(self, amount: int) -> None:
        """There is more to do than the total said."""
        self.total += amount
        self.bar.update(self.task, total=self.total)

    def advance(self, amount: int) -> None:
        """More work done by this host."""
        amount *= hosts.count()
        self.done += amount
        now = time.monotonic()
        rate, left = self._speed(now)
        told = f"{pace(rate, self.unit)}, {duration(left or 0.0)} left"
        self.bar.update(self.task, advance=amount, rate=told)
        if not self.console.is_terminal and now - self.printed >= LOG_EVERY:
            self.printed = now
            share = min(100, 100 * self.done / max(self.total, 1))
            self.console.print(f"{self.text}: {share:.0f} %, {told}")

    def _speed(self, now: float) -> tuple[float, float | None]:
        """Units per second since the start, and seconds left; compiling, done once, is left out."""
        rate = self.done / max(now - self.started - (profile.compiled() - self.compiled), 1e-9)
        return rate, max(0, self.total - self.done) / rate if rate else None

    def lap(self) -> dict[str, Any]:
        """The work since the last call, for the log; see `measured`."""
        now, waited = time.monotonic(), profile.waited()
        before, done, waited_before = self.lapped
        self.lapped = (now, self.done, waited)
        new = (now - before, self.done - done, self.unit, waited - waited_before)
        found = measured(*new, self.flops)
        _, left = self._speed(now)
        return {**found, "seconds_left": left and round(left, 1)}


@contextlib.contextmanager
def phase(text: str, console: Console) -> Iterator[None]:
    """Names work of unknown length: on a terminal while it lasts, in a log if it took long."""
    started = time.monotonic()
    shown = console.is_terminal and not console.quiet
    with console.status(text) if shown else contextlib.nullcontext():
        yield
    taken = time.monotonic() - started
    if not console.is_terminal and taken >= LOG_EVERY:
        console.print(f"{text}: {duration(taken)}")


def measured(
    seconds: float, done: int, unit: str, waited: float, flops: float = 0.0
) -> dict[str, Any]:
    """The speed of some work over all hosts, as in `log.jsonl`.

    Args:
      seconds: duration. done: how much of `unit` all hosts did in that time.
      waited: the part of the seconds spent waiting for input.
      flops: operations per unit, 0 if unknown.

    Returns:
      {unit}_per_second_and_device, input_wait (share of the time), peak_memory (bytes; a device's,
      or the process's if devices do not report it), and share_of_peak if `flops` and the device's
      peak (bfloat16) are known.
    """
    device = jax.local_devices()[0]
    rate = done / max(seconds, 1e-9) / jax.device_count()
    found = {
        "seconds": round(seconds, 3),
        f"{unit}_per_second_and_device": round(rate, 3),
        "input_wait": round(waited / max(seconds, 1e-9), 4),
        "peak_memory": peak_memory(device),
    }
    peak = next((p for kind, p in PEAKS.items() if device.device_kind.startswith(kind)), 0)
    return found | ({"share_of_peak": round(rate * flops / peak, 4)} if peak and flops else {})


def peak_memory(device: Any) -> int:
    """The most bytes that a device held at once; for a CPU, that the process held."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "peak_bytes_in_use" in stats:
        return int(stats["peak_bytes_in_use"])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def pace(rate: float, unit: str) -> str:
    """Units per second, or the time of one if that is more than a second.

    >>> pace(1234.0, "forwards"), pace(0.4, "figures")
    ('1,234 forwards/s', '2.5 s per figure')
    """
    if rate >= 1 or not rate:
        return f"{rate:,.0f} {unit}/s"
    return f"{1 / rate:.1f} s per {unit.removesuffix('s')}"


def duration(seconds: float) -> str:
    """Seconds in readable units.

    >>> duration(42.3), duration(125.0), duration(7300.0)
    ('42 s', '2 min 5 s', '2 h 1 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
