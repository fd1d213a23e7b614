"""What each process of `test_multihost_ends` runs: steps, until something ends them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rival_jax.runtime import hosts, signals


def main(kind: str, ready: str, *flags: str) -> None:
    """Steps of a kind; `ready` is a file that says that they have begun."""
    given = dict(flag.removeprefix("--").split("=") for flag in flags)
    who = (int(given["num_processes"]), int(given["process_id"]))
    hosts.initialize(given["distributed"], *who, heartbeat=int(given["heartbeat"]))
    with hosts.together():
        assert hosts.gathered(hosts.index()) == [0, 1]
        assert hosts.agreed({"from": hosts.index()}) == {"from": 0}
        if hosts.first():
            Path(ready).touch()
        if kind == "loop":
            loop()
        elif kind == "fails" and hosts.index() == 1:
            raise ValueError("this photo is bad")
        elif kind != "waits" or hosts.index() == 1:
            time.sleep(60)
        hosts.barrier()  # where the others wait


def loop() -> None:
    """Steps of another length on each host; all have a state to save."""
    with hosts.Stop() as stop:
        for step in range(10_000):
            time.sleep(0.01 * (1 + hosts.index()))
            if name := stop.asked():
                print(f"{name} after step {step}", flush=True)
                raise signals.Interrupted


if __name__ == "__main__":
    main(*sys.argv[1:])
