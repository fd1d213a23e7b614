"""With one process: trivial. With several, see `test_multihost`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from rival_jax.runtime import hosts, signals


@pytest.mark.parametrize(("total", "count"), [(15, 4), (3, 8), (0, 2), (7, 1)])
def test_shares_are_contiguous_and_all_there(monkeypatch, total, count):
    monkeypatch.setattr(hosts, "count", lambda: count)
    shares = hosts.shares(total)
    assert [i for share in shares for i in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_process_agrees_with_itself():
    rows = {"index": np.arange(3), "value": np.ones((3, 2))}
    assert hosts.agreed({"a": 1}) == {"a": 1}
    assert hosts.gathered(5) == [5]
    assert hosts.gathered_rows(rows).keys() == rows.keys()
    assert hosts.decided(lambda: 3) == 3
    hosts.barrier()
    with pytest.raises(ValueError, match="bad"):
        hosts.decided(lambda: (_ for _ in ()).throw(ValueError("bad")))


@pytest.mark.parametrize("who", [("elsewhere", 2, 0), ("here:1", None, 0), ("here:1", 2, None)])
def test_hosts_that_are_not_named_are_refused(who):
    with pytest.raises(ValueError, match=r"expected 'off', 'auto', or host:port"):
        hosts.initialize(*who)


def test_a_signal_outside_of_a_loop_ends_the_program():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(signals.Interrupted) as stopped, signals.ending():
        os.kill(os.getpid(), signal.SIGTERM)
    assert (stopped.value.code, stopped.value.name) == (75, "SIGTERM")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_within_a_loop_waits_to_be_asked_for():
    said = []
    with pytest.raises(signals.Interrupted), signals.ending(), hosts.Stop() as stop:  # noqa: PT012
        said.append(stop.asked())
        os.kill(os.getpid(), signal.SIGINT)
        said.append(stop.asked())
    assert said == ["", "SIGINT"]


def test_a_signal_is_an_exit_code_and_a_line():
    code = (
        "import os, signal; from rival_jax.runtime import hosts\n"
        "with hosts.together(): os.kill(os.getpid(), signal.SIGTERM); print('on')"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == signals.EXIT_INTERRUPTED
    assert "SIGTERM: stopped; what is finished is kept" in found.stderr
    assert not found.stdout


BUSY = """
import os, signal, sys, threading, time
from rival_jax.runtime import signals

class Ended:
    def __del__(self):  # what a handler raises here is lost
        time.sleep(1)

with signals.ends_within(float(sys.argv[2]), "ended"), signals.ending():
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    if sys.argv[1] == "destructor":
        Ended()
        time.sleep(30)
    if sys.argv[1] == "caught":
        try:
            time.sleep(30)
        except signals.Interrupted:
            time.sleep(30)
    if sys.argv[1] == "done":
        with signals.Caught() as caught:
            while not caught.name:
                time.sleep(0.01)
            caught.name = ""
if sys.argv[1] == "done":
    time.sleep(1)
    print("alive")
"""


def test_a_signal_within_a_destructor_comes_again():
    found = subprocess.run([sys.executable, "-c", BUSY, "destructor", "20"], capture_output=True)
    assert (found.returncode, found.stdout, found.stderr) == (75, b"", b"")


@pytest.mark.parametrize(("kind", "code"), [("caught", 75), ("done", 0)])
def test_a_signal_that_nobody_heeds_ends_the_process_in_time(kind, code):
    began = time.monotonic()
    found = subprocess.run(
        [sys.executable, "-c", BUSY, kind, "0.5"], capture_output=True, text=True
    )
    assert found.returncode == code, found.stderr
    assert time.monotonic() - began < 25
    assert ("ended" in found.stderr) == (code == 75)
    assert ("alive" in found.stdout) == (code == 0)
