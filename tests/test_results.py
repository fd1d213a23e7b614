import contextlib
import errno
import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from rival_jax.runtime import results
from rival_jax.runtime.results import Category, Run

CONFIG = {"seed": 0, "noise": {"trials": 2}, "batch_size": "auto"}


def columns(value=1.0):
    return {"name": Category(np.array([0, 1, 0]), ["a", "b"]), "value": np.full(3, value)}


def test_a_unit_is_computed_once(tmp_path):
    run = Run(tmp_path, CONFIG)
    assert run.rows("m/u", {"x": 1}, columns)
    assert not run.rows("m/u", {"x": 1}, lambda: pytest.fail("computed again"))
    assert run.rows("m/u", {"x": 2}, columns)  # depends on something else: another file
    table = results.read_rows(run.unit_path("m/u", {"x": 1}))
    assert table["name"].to_pylist() == ["a", "b", "a"]
    assert len(list((tmp_path / "rows").rglob("*.parquet"))) == 2


def test_rows_are_the_same_bytes_whenever_they_are_written(tmp_path):
    files = []
    for name in ("one", "two"):
        run = Run(tmp_path / name, CONFIG)
        run.rows("u", {}, columns)
        files.append(run.unit_path("u", {}).read_bytes())
    assert files[0] == files[1]


def test_an_interrupted_unit_leaves_nothing(tmp_path):
    run = Run(tmp_path, CONFIG)

    def broken():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.rows("u", {}, broken)
    with contextlib.suppress(RuntimeError), results.atomic(tmp_path / "x.json") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert not list(tmp_path.glob("**/*partial*"))
    assert not (tmp_path / "x.json").exists()


def test_a_full_disk_is_named_and_loses_nothing(tmp_path, monkeypatch):
    run = Run(tmp_path, CONFIG)
    run.rows("done", {}, columns)
    write_table = pq.ParquetWriter.write_table

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match=r"disk is full; .*next.*Finished units are kept") as error:
        run.rows("next", {}, columns)
    assert error.value.errno == errno.ENOSPC
    monkeypatch.setattr(pq.ParquetWriter, "write_table", write_table)
    assert not run.rows("done", {}, columns)
    assert run.rows("next", {}, columns)
    assert not list(tmp_path.glob("**/.partial*"))


def test_another_config_is_refused_unless_asked(tmp_path):
    Run(tmp_path, CONFIG).rows("u", {"seed": 0}, columns)
    other = {**CONFIG, "seed": 1}
    with pytest.raises(ValueError, match=r"seed: 0 there, 1 now.*--extend"):
        Run(tmp_path, other)
    run = Run(tmp_path, other, extend=True)
    assert not run.rows("u", {"seed": 0}, columns)
    assert run.rows("u", {"seed": 1}, columns)


def test_the_batch_size_may_change(tmp_path):
    Run(tmp_path, CONFIG).rows("u", {}, columns)
    Run(tmp_path, {**CONFIG, "batch_size": 7})


def test_options_of_a_data_set_that_is_not_used_may_change(tmp_path):
    def config(used, unused, name="scenes"):
        return {"data": {"name": name, "scenes": {"size": used}, "rival10": {"variant": unused}}}

    Run(tmp_path, config(64, "ordinary")).rows("u", {}, columns)
    Run(tmp_path, config(64, "removed"))
    for other in (config(32, "removed"), config(64, "removed", "rival10")):
        with pytest.raises(ValueError, match="holds the results of another config"):
            Run(tmp_path, other)


def test_json_has_no_nan_and_damage_is_named(tmp_path):
    run = Run(tmp_path, CONFIG)
    run.save_json("a.json", {"x": float("nan"), "y": np.float32(2), "z": [np.arange(2)]})
    assert run.read_json("a.json") == {"x": None, "y": 2.0, "z": [[0, 1]]}
    assert run.read_json("missing.json") is None
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.json is not valid JSON"):
        run.read_json("a.json")


def test_log_and_environment(tmp_path):
    run = Run(tmp_path, CONFIG)
    run.log("start", value=np.float64(1))
    run.log("end")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["start", "end"]
    assert "jax" in run.read_json("environment.json")["packages"]


def test_digests_tell_apart():
    tree = {"a": np.zeros(3, np.float32)}
    same = {"a": np.zeros(3, np.float32)}
    others = [
        {"a": np.zeros(3, np.float64)},
        {"b": np.zeros(3, np.float32)},
        {"a": np.zeros((3, 1), np.float32)},
        {"a": np.array([0, 0, 1e-9], np.float32)},
    ]
    assert results.tree_digest(tree) == results.tree_digest(same)
    assert len({results.tree_digest(t) for t in [tree, *others]}) == 5
    assert results.digest({"a": 1, "b": 2}) == results.digest({"b": 2, "a": 1})


def test_importing_the_package_is_light():
    code = (
        "import sys, rival_jax; "
        "heavy = {'flax', 'torch', 'tensorflow', 'orbax', 'matplotlib', 'grain', 'pyarrow'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
