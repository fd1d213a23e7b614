"""How two hosts end together: after a signal to one, an error of one, or the loss of one."""

from __future__ import annotations

import re
import signal
import time

import pytest

from rival_jax.runtime.signals import EXIT_INTERRUPTED
from rival_jax.runtime.watch import EXIT_LOST
from tests.multihost import finish, launch, printed

pytestmark = pytest.mark.whole

BUSY = 10  # seconds that this machine may be busy with other things


def ended(folder, kind, number=None, victim=0):
    """(exit codes, what was printed, seconds from the signal to the end)."""
    ready = folder / "ready"
    command = ["tests.multihost_ends", kind, str(ready)]
    processes = launch(2, 1, command, folder / "logs")
    end = time.monotonic() + 60
    while not ready.exists() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(1)  # until the others wait in the barrier, which nothing outside can see
    if number:
        processes[victim].send_signal(number)
    since = time.monotonic()
    return finish(processes, 60), printed(folder / "logs"), time.monotonic() - since


@pytest.mark.parametrize(("kind", "victim"), [("sleeps", 0), ("waits", 1), ("waits", 0)])
def test_a_signal_to_one_ends_both(tmp_path, kind, victim):
    codes, text, seconds = ended(tmp_path, kind, signal.SIGTERM, victim)
    assert codes == [EXIT_INTERRUPTED] * 2, text
    assert "SIGTERM: stopped; what is finished is kept" in text
    assert seconds < BUSY


def test_loops_stop_at_the_same_step(tmp_path):
    codes, text, _ = ended(tmp_path, "loop", signal.SIGINT, 1)
    assert codes == [EXIT_INTERRUPTED] * 2, text
    assert len(set(re.findall(r"SIGINT after step \d+", text))) == 1, text
    assert len(re.findall(r"SIGINT after step \d+", text)) == 2, text


def test_an_error_of_one_ends_both_and_is_not_tried_again(tmp_path):
    codes, text, _ = ended(tmp_path, "fails")
    assert codes == [1, 1], text
    assert "host 0 ends: host 1 failed: this photo is bad" in text


@pytest.mark.parametrize(("victim", "within"), [(0, 0), (1, 10)])
def test_a_lost_host_is_noticed_within_the_heartbeat(tmp_path, victim, within):
    codes, text, seconds = ended(tmp_path, "waits", signal.SIGKILL, victim)
    assert codes[victim] == -signal.SIGKILL
    assert codes[1 - victim] == EXIT_LOST, text
    assert f"another host was lost, seen by host {1 - victim} of 2" in text
    assert seconds < within + BUSY
