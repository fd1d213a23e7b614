"""Locks, leftovers and buckets."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from rival_jax.runtime import buckets, workdir
from rival_jax.runtime.results import Category, Run

HOLD = (
    "import sys, pathlib; from rival_jax.runtime import workdir\n"
    "workdir.claim(pathlib.Path(sys.argv[1])); print('mine', flush=True); sys.stdin.read()"
)


def columns():
    return {"name": Category(np.array([0, 1]), ["a", "b"]), "value": np.arange(2.0)}


def test_two_processes_do_not_share_a_work_directory(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "mine\n"
    with pytest.raises(ValueError, match=rf"in use by process {holder.pid} on .* since .*kill"):
        Run(tmp_path, {})
    holder.kill()  # the kernel frees what it held
    holder.communicate()
    run = Run(tmp_path, {})
    assert run.rows("u", {}, columns)
    Run(tmp_path, {})  # one process may open it again
    said = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert "in use by" in said.stderr


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    run = Run(tmp_path, {})
    run.rows("m/u", {}, columns)
    for name in (".partial-x.json", "rows/m/.part-0-u.parquet"):
        (tmp_path / name).write_text("half")
    Run(tmp_path, {})
    assert not [*tmp_path.rglob(".pa*")]
    assert not run.rows("m/u", {}, columns)


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    """The address of a folder in a bucket that lives in memory."""

    class Memory(MemoryFileSystem):
        protocol = "s3"
        store: dict = {}  # noqa: RUF012
        pseudo_dirs = [""]  # noqa: RUF012

    fsspec.register_implementation("s3", Memory, clobber=True)
    monkeypatch.setattr(buckets, "SETTLED", 0.0)
    monkeypatch.setenv("RIVAL_JAX_CACHE", str(tmp_path / "cache"))
    return f"s3://mine/{tmp_path.name}"


def test_a_bucket_holds_all_that_a_folder_would(bucket, tmp_path):
    for place in (tmp_path / "folder", bucket):
        run = Run(place, {"seed": 0})
        assert run.rows("m/u", {}, columns)
        run.save_json("summary.json", {"x": 1})
        run.log("end")
        (run.path / "figures").mkdir()
        (run.path / "figures" / "a.csv").write_text("1")
        run.close()
    names = [name for name, _ in buckets._files(buckets.remote(run.path), workdir.Path())]
    here = [p for p in (tmp_path / "folder").rglob("[!.]*") if p.is_file()]
    assert sorted(names) == sorted(p.relative_to(tmp_path / "folder").as_posix() for p in here)


def test_another_machine_goes_on_where_a_bucket_is(bucket, monkeypatch, tmp_path):
    run = Run(bucket, {"seed": 0})
    run.rows("m/u", {}, columns)
    run.close()
    monkeypatch.setenv("RIVAL_JAX_CACHE", str(tmp_path / "another machine"))
    again = Run(bucket, {"seed": 0})
    assert again.path != run.path
    assert again.read_json("config.json") == {"seed": 0}
    assert not again.rows("m/u", {}, lambda: pytest.fail("computed again"))
    with pytest.raises(ValueError, match="another config"):
        Run(bucket, {"seed": 1})


def test_a_bucket_in_use_is_refused_and_one_left_behind_is_taken(bucket, monkeypatch):
    """A killed process leaves its lease: whoever runs again waits to see whether it is renewed."""
    monkeypatch.setattr(buckets, "LOOKED", 0.05)
    monkeypatch.setattr(buckets, "STALE", 1.0)
    run = Run(bucket, {})
    lease = buckets.remote(run.path) / buckets.LEASE
    theirs = {**json.loads(lease.read_text()), "token": "theirs", "pid": 77, "host": "there"}

    def renew():
        lease.write_text(json.dumps(theirs | {"renewed": time.time()}))

    renew()
    living = threading.Timer(0.3, renew)
    living.start()
    with pytest.raises(ValueError, match="in use by process 77 on there"):
        Run(bucket, {})
    living.join()
    renew()
    Run(bucket, {})


def test_what_stands_in_the_place_of_a_file_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with workdir.atomic(tmp_path / "empty") as partial:
        partial.write_text("x")
    assert (tmp_path / "empty").read_text() == "x"
    (tmp_path / "full/mine").mkdir(parents=True)
    for name, said in (("full", "is a folder, where a file of"), ("empty/x", "should be a folder")):
        refused = pytest.raises(ValueError, match=rf"{name[:4]}.*{said}.*results.*remove it")
        with refused, workdir.atomic(tmp_path / name):
            pytest.fail("nothing is computed for it")
    assert not list(tmp_path.glob(".partial*"))
