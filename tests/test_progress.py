"""What a run says of its speed, and where its time goes."""

from __future__ import annotations

import io
import time

import jax
import numpy as np
import pytest
from rich.console import Console

from rival_jax.runtime import profile, progress


def test_a_lap_is_what_was_done_since_the_last(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress.jax, "device_count", lambda: 4)
    with progress.Meter(1000, "forwards", Console(file=io.StringIO())) as meter:
        meter.say("unit", flops=1e9)
        meter.advance(100)
        now[0] += 5
        meter.lap()
        for _ in profile.timed(slow(now)):
            meter.advance(100)
        now[0] += 2
        lap = meter.lap()
    assert lap["seconds"] == 8
    assert lap["forwards_per_second_and_device"] == pytest.approx(200 / 8 / 4, abs=1e-3)
    assert lap["input_wait"] == pytest.approx(6 / 8)
    assert lap["seconds_left"] == pytest.approx(700 / (300 / 13), abs=0.1)
    assert lap["peak_memory"] > 1 << 20
    assert "share_of_peak" not in lap  # nobody knows a CPU's


def test_time_left_is_without_the_time_of_compiling(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with progress.Meter(1000, "forwards", Console(file=io.StringIO())) as meter:
        now[0] += 60
        jax.monitoring.record_event_duration_secs(profile.COMPILING, 58.0)
        meter.advance(100)
        assert meter.lap()["seconds_left"] == 18  # and not 540


def test_slow_work_is_told_by_the_time_of_one(monkeypatch):
    now, file = [100.0], io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with progress.Meter(4, "figures", Console(file=file, width=200)) as meter:
        meter.say("drawing dots")
        now[0] += 12.5
        meter.advance(1)
    assert file.getvalue() == "drawing dots: 25 %, 12.5 s per figure, 38 s left\n"


@pytest.mark.parametrize(
    ("seconds", "terminal", "said"),
    [(11, False, "computing intervals: 11 s\n"), (9, False, ""), (1, True, "computing intervals")],
)
def test_a_phase_is_named(monkeypatch, seconds, terminal, said):
    now, file = [100.0], io.StringIO()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.phase("computing intervals", Console(file=file, force_terminal=terminal)):
        now[0] += seconds
    assert said in file.getvalue()
    assert said or not file.getvalue()


def test_photos_may_be_read_in_the_midst_of_measuring():
    """For a network of another size; older versions of rich know one display at a time."""
    console = Console(file=io.StringIO(), force_terminal=True)
    with progress.phase("measuring", console), progress.Meter(1, "images", console) as meter:
        meter.advance(1)


def test_compiling_is_counted():
    before = profile.compiled()
    jax.jit(lambda x: x * 3 + 1)(np.arange(7.0)).block_until_ready()
    assert profile.compiled() > before


def test_progress_names_the_phase_and_tells_of_compiling(monkeypatch):
    seen = []
    with progress.Meter(10, "images", Console(file=io.StringIO(), force_terminal=True)) as meter:
        update = meter.bar.update

        def noted(task, **fields):
            seen.append(fields.get("description"))
            update(task, **fields)

        monkeypatch.setattr(meter.bar, "update", noted)
        meter.say("measuring net")
        jax.jit(lambda x: x * 5 + 2)(np.arange(11.0)).block_until_ready()
        meter.advance(10)
    assert seen[:3] == ["measuring net", "compiling, then measuring net", "measuring net"]
    jax.jit(lambda x: x * 5 + 3)(np.arange(11.0))
    assert seen[3:] == [None], "it is told of no longer"


def slow(now):
    for _ in range(2):
        now[0] += 3
        yield


def test_the_share_of_a_known_devices_peak(monkeypatch):
    class Device:
        device_kind, platform = "TPU v5 lite", "tpu"

        def memory_stats(self):
            return {"peak_bytes_in_use": 7}

    monkeypatch.setattr(progress.jax, "local_devices", lambda: [Device()])
    monkeypatch.setattr(progress.jax, "device_count", lambda: 2)
    found = progress.measured(10.0, 4000, "images", 0.0, flops=98.5e9)
    assert found["share_of_peak"] == pytest.approx(0.1)
    assert found["peak_memory"] == 7


def test_a_trace_of_a_few_steps(tmp_path):
    profile.on_step()  # nobody asked
    profile.start(str(tmp_path))
    for _ in range(profile.AFTER + profile.STEPS + 2):
        profile.on_step()
    profile.stop()
    assert [*tmp_path.rglob("*.xplane.pb")]
