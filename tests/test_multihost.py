"""The same rows from one process and from several, and what they do when one of them ends."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from rival_jax.alignment import METRICS
from rival_jax.runtime.results import read_rows
from rival_jax.runtime.signals import EXIT_INTERRUPTED
from rival_jax.runtime.watch import EXIT_LOST
from tests.helpers import REFERENCE, draw_study, save_tiny_vit
from tests.multihost import finish, launch, printed, rfs_command

pytestmark = pytest.mark.whole

IMAGES = dict.fromkeys(("rfs", "saliency", "knn", "sis"), 30)
IMAGES |= dict.fromkeys(("segmentation", "perturbation"), 14)
COUNTED = {*METRICS, "hit", "marked", "map", "map_class_wise"}
PIXEL = 5e-3  # what a pixel does to a metric whose value lies on the threshold, to the last bit
ALL = bool(os.environ.get("RIVAL_JAX_ALL_TOPOLOGIES"))  # minutes; otherwise under one
TOPOLOGIES = ((1, 1), (2, 2), *(((1, 8), (4, 1)) if ALL else ()))  # processes, devices of each


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[tuple[int, int], Path]:
    """Work directories of the experiments, by topology; run side by side."""
    study = tmp_path_factory.mktemp("multihost")
    draw_study(study / "data", per_class=5)
    save_tiny_vit(study / "tiny")
    (study / "data/images/class1/3.png").write_bytes(b"no photo")
    found = {}
    for topology in TOPOLOGIES:
        out = study / "{}x{}".format(*topology)
        command = ["tests.multihost_program", f"--study={study}", f"--out={out}"]
        codes = finish(launch(*topology, command, out / "logs"), 200)
        assert codes == [0] * topology[0], printed(out / "logs")
        found[topology] = out
    return found


def rows_of(out: Path, name: str):
    """All rows of a run in one order."""
    rows = read_rows(out / name / "rows")
    keys = [key for key in rows.column_names if rows[key].type in ("string", "int16", "int32")]
    keys += [key for key in ("level", "share") if key in rows.column_names]
    return rows.sort_by([(key, "ascending") for key in keys])


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("topology", TOPOLOGIES[1:], ids=lambda t: f"{t[0]} x {t[1]}")
def test_rows_do_not_depend_on_the_topology(runs, topology, name):
    want, got = (rows_of(runs[key], name) for key in (TOPOLOGIES[0], topology))
    assert len(set(got["example"].to_pylist())) == IMAGES[name]
    assert got.column_names == want.column_names
    for key in want.column_names:
        ours, theirs = got[key].to_pylist(), want[key].to_pylist()
        if isinstance(theirs[0], float):
            np.testing.assert_allclose(ours, theirs, atol=PIXEL if key in COUNTED else REFERENCE)
        else:
            assert ours == theirs, key


@pytest.mark.parametrize("topology", TOPOLOGIES[1:], ids=lambda t: f"{t[0]} x {t[1]}")
def test_noise_and_summaries_do_not_depend_on_the_topology(runs, topology):
    for name in IMAGES:
        want, got = (
            {file: json.loads((runs[key] / name / file).read_text()) for file in FILES}
            for key in (TOPOLOGIES[0], topology)
        )
        assert got["noise.json"] == want["noise.json"]
        assert len(got["noise.json"]) == 14  # one of 15 photos cannot be read
        assert got["data.json"] == want["data.json"]
        loose = name in ("saliency", "segmentation", "perturbation")
        close(got["summary.json"], want["summary.json"], PIXEL if loose else 1e-4)


@pytest.mark.skipif(not ALL, reason="takes minutes: set RIVAL_JAX_ALL_TOPOLOGIES=1")
def test_a_run_goes_on_after_a_lost_host_and_after_a_signal(tmp_path):
    command = rfs_command(tmp_path, levels=5, trials=24)
    cache = {"RIVAL_JAX_CACHE": str(tmp_path / "jit")}
    calm, hit = (f"--workdir={tmp_path / name}" for name in ("calm", "hit"))
    assert finish(launch(1, 1, [*command, calm], tmp_path / "logs", **cache)) == [0]
    for life, (number, victim, codes) in enumerate(
        (
            (signal.SIGKILL, 1, [EXIT_LOST, -signal.SIGKILL]),
            (signal.SIGTERM, 1, [EXIT_INTERRUPTED, EXIT_INTERRUPTED]),
        )
    ):
        logs = tmp_path / str(life)
        processes = launch(2, 1, [*command, hit], logs, **cache)
        wait_for_units(tmp_path / "hit", 1 + life, processes)
        processes[victim].send_signal(number)
        since = time.monotonic()
        assert finish(processes, 60) == codes, printed(logs)
        assert time.monotonic() - since < 10 + 10  # the heartbeat's time, and a busy machine
    assert "another host was lost, seen by host 0 of 2" in printed(tmp_path / "0")
    assert "SIGTERM: stopped; what is finished is kept" in printed(tmp_path / "1")
    assert finish(launch(1, 4, [*command, hit], tmp_path / "logs2", **cache)) == [0]
    want, got = (rows_of(tmp_path, name) for name in ("calm", "hit"))
    assert got.select(["example", "correct"]).equals(want.select(["example", "correct"]))
    np.testing.assert_allclose(got["probability"], want["probability"], atol=REFERENCE)
    lines = [json.loads(line) for line in (tmp_path / "hit/log.jsonl").read_text().splitlines()]
    done = [line["unit"] for line in lines if line["event"] == "unit"]
    assert sorted(done) == sorted(set(done))  # none computed twice
    assert not [*(tmp_path / "hit").rglob(".pa*")]


def wait_for_units(workdir: Path, count: int, processes, seconds: float = 90) -> None:
    """Returns when so many units are finished and the processes still run."""
    end = time.monotonic() + seconds
    while len([*(workdir / "rows").rglob("[!.]*.parquet")]) < count:
        assert time.monotonic() < end
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)


FILES = ("noise.json", "data.json", "summary.json")


def close(got, want, tolerance, place=""):
    """Equal, numbers about."""
    assert type(got) is type(want), place
    if isinstance(want, dict):
        assert got.keys() == want.keys(), place
        for key in want:
            close(got[key], want[key], tolerance, f"{place}.{key}")
    elif isinstance(want, list):
        assert len(got) == len(want), place
        for i, (ours, theirs) in enumerate(zip(got, want, strict=True)):
            close(ours, theirs, tolerance, f"{place}[{i}]")
    elif isinstance(want, float):
        assert got == pytest.approx(want, abs=tolerance, rel=tolerance), place
    else:
        assert got == want, place
