"""Progress with a rate and the time left: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LOG_EVERY = 10.0  # seconds between lines where there is no terminal


class Meter:
    """Counts work done towards a total; use as a context manager.

    Args:
      total: units of work; unit: their name ("forwards").
      console: where it is drawn.
    """

    def __init__(self, total: int, unit: str, console: Console):
        self.total, self.unit, self.console = total, unit, console
        self.done, self.text = 0, ""
        self.started = self.printed = time.monotonic()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[rate]}  left"),
            TimeRemainingColumn(compact=True),
        )
        self.bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self.task = self.bar.add_task("", total=total, rate="")

    def __enter__(self) -> Meter:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def say(self, text: str) -> None:
        """What is being worked on, shown from now on."""
        self.text = text
        self.bar.update(self.task, description=text)

    def advance(self, amount: int) -> None:
        """More work done."""
        self.done += amount
        now = time.monotonic()
        rate = self.done / max(now - self.started, 1e-9)
        self.bar.update(self.task, advance=amount, rate=f"{rate:,.0f} {self.unit}/s")
        if not self.console.is_terminal and now - self.printed >= LOG_EVERY:
            self.printed = now
            left = (self.total - self.done) / rate
            share = 100 * self.done / max(self.total, 1)
            self.console.print(
                f"{self.text}: {share:.0f} %, {rate:,.0f} {self.unit}/s, {duration(left)} left"
            )


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(42.3), duration(125), duration(7300)
    ('42 s', '2 min 5 s', '2 h 1 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
