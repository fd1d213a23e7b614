import contextlib
import errno
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from rival_jax import noise
from rival_jax.report.html import run_facts
from rival_jax.runtime import checksums, results, row_files
from rival_jax.runtime.environment import read_argv
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


def flipped(file, bit):
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


DAMAGE = {
    "cut": (lambda file: file.write_bytes(file.read_bytes()[:-100]), "damaged or cut short"),
    "its tail is cut": (lambda file: file.write_bytes(file.read_bytes()[:-1]), "cut short|not as"),
    "empty": (lambda file: file.write_bytes(b""), "is empty"),
    "longer": (lambda file: file.write_bytes(file.read_bytes() + b"PAR1"), "not as it was"),
    "of another tool": (lambda file: pq.write_table(row_files.read(file), file), "no checksum"),
    "of another unit": (
        lambda file: shutil.copy(next(file.parent.glob("other-*")), file),
        "of another file",
    ),
    "a dangling link": (
        lambda file: (file.unlink(), file.symlink_to(file.parent / "nowhere")),
        "is missing",
    ),
    "a link to another unit": (
        lambda file: (file.unlink(), file.symlink_to(next(file.parent.glob("other-*")))),
        "of another file",
    ),
    "an empty folder": (lambda file: (file.unlink(), file.mkdir()), ""),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_rows_are_computed_again_to_the_same_bytes(tmp_path, kind):
    damage, words = DAMAGE[kind]
    run, said = Run(tmp_path, CONFIG), []
    run.rows("m/u", {}, columns)
    run.rows("m/other", {}, columns)
    file = run.unit_path("m/u", {})
    before = file.read_bytes()
    damage(file)
    run = Run(tmp_path, CONFIG, say=said.append)
    assert run.rows("m/u", {}, columns)
    assert file.read_bytes() == before
    assert not file.is_symlink()
    assert not run.rows("m/other", {}, columns)
    assert len(said) == bool(words)
    if words:
        assert re.search(rf"u-.*parquet.*({words}).*computed again", said[0])
        assert '"event": "damaged"' in (tmp_path / "log.jsonl").read_text()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    run = Run(tmp_path, CONFIG)
    (run.unit_path("u", {}) / "mine").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"is a folder, where a file of results.*remove it"):
        run.rows("u", {}, columns)


def test_every_flipped_bit_of_rows_is_seen(tmp_path):
    run = Run(tmp_path, CONFIG)
    run.rows("u", {}, columns)
    file = run.unit_path("u", {})
    before = file.read_bytes()
    for bit in range(0, 8 * len(before), 5):
        changed = bytearray(before)
        changed[bit // 8] ^= 1 << bit % 8
        assert row_files._fault(bytes(changed), file.name), bit
    assert not row_files.fault(file)
    flipped(file, 80)
    with pytest.raises(ValueError, match=r"u-.*parquet is not as it was written.*run its command"):
        row_files.read(file)


def test_the_generator_is_in_the_identity_of_rows(tmp_path, monkeypatch):
    run = Run(tmp_path, CONFIG)
    before = run.unit_path("u", {})
    monkeypatch.setattr(noise, "GENERATOR", "another")
    assert run.unit_path("u", {}) != before


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


def of_data(root, **more):
    return {"data": {"name": "masked_folder", "root": root, **more}}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (of_data("/a/photos"), of_data("/b/photos")),
        (
            of_data("/a", masked_folder={"manifest": "/a/x.csv"}),
            of_data("/b", masked_folder={"manifest": "/b/x.csv"}),
        ),
    ],
)
def test_data_that_moved_are_the_same_if_their_fingerprint_is(tmp_path, before, now):
    run = Run(tmp_path, before)
    run.settle({"fingerprint": "aa"})
    run.rows("u", {}, columns)
    run = Run(tmp_path, now)
    with pytest.raises(ValueError, match=r"root: '/a.*' there, '/b.*' now.*--extend"):
        run.settle({"fingerprint": "bb"})
    assert run.read_json("config.json") == before  # refused again the next time
    run = Run(tmp_path, now)
    run.settle({"fingerprint": "aa"})
    assert run.read_json("config.json") == now


@pytest.mark.parametrize("other", [of_data(""), {"data": {"name": "rival10", "root": "/b"}}])
def test_data_of_another_name_are_no_data_that_moved(tmp_path, other):
    run = Run(tmp_path, of_data("/a"))
    run.settle({"fingerprint": "aa"})
    run.rows("u", {}, columns)
    with pytest.raises(ValueError, match="another config"):
        Run(tmp_path, other)


OUTPUTS = ("summary.json", "summary.csv", "tables.md", "report.html", "units.json", "figures/a.png")


@pytest.mark.parametrize("name", [*OUTPUTS, "config.json", "outputs.json"])
@pytest.mark.parametrize("damage", ["gone", "changed", "empty"])
def test_a_run_is_finished_while_all_that_it_left_is_there(tmp_path, name, damage):
    run = Run(tmp_path, CONFIG)
    (tmp_path / "figures").mkdir()
    for output in OUTPUTS:
        (tmp_path / output).write_text(output)
    assert not run.finished()
    run.finish()
    assert run.finished()
    assert Run(tmp_path, CONFIG).finished()
    if damage == "gone":
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text("" if damage == "empty" else "{]")
    assert not run.finished()


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
    for damaged in (b"{", b"", b'{"x": 1', b'{"\xff": 1}', b"[" * 100_000):
        (tmp_path / "a.json").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.json is not valid JSON.*delete it"):
            run.read_json("a.json")


def test_log_and_environment(tmp_path):
    run = Run(tmp_path, CONFIG)
    run.log("start", value=np.float64(1))
    run.log("end")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["start", "end"]
    known = run.read_json("environment.json")
    assert "jax" in known["packages"]
    run.save_json("environment.json", {**known, "commit": None})  # of an installed package
    told = dict(run_facts(tmp_path)["environment"])
    assert told.keys() == known.keys() - {"commit"}
    assert "jax " in told["packages"]


@pytest.mark.parametrize("end", ['{"event": "u', '{"argv": [1', "\x00\x01", '{"argv": 3}'])
def test_a_cut_line_of_the_log_costs_that_line_alone(tmp_path, end):
    Run(tmp_path, CONFIG).log("start", argv=["--seed=0"])
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write(end)
    assert read_argv(tmp_path) == ["--seed=0"]
    Run(tmp_path, CONFIG).log("start", argv=["--seed=1"])
    assert read_argv(tmp_path) == ["--seed=1"]
    (tmp_path / "log.jsonl").unlink()
    assert read_argv(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_checksum_beside_a_file_holds_while_nothing_changes(tmp_path, kind):
    path, inside = tmp_path / "x", tmp_path / "x"
    if kind == "folder":
        path.mkdir()
        inside = path / "weights"
    inside.write_bytes(b"0123")
    assert not checksums.holds(path)
    checksums.note(path)
    assert checksums.holds(path)
    inside.write_bytes(b"0124")
    assert not checksums.holds(path)
    inside.write_bytes(b"0123")
    (tmp_path / "x.blake2b").write_bytes(b"\xff")
    assert not checksums.holds(path)


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
        "print(sorted(heavy & set(sys.modules))); "
        "import rival_jax.main, rival_jax.experiments.rfs.study, rival_jax.report.grids; "
        "print('matplotlib' in sys.modules)"  # no figure was drawn
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["[]", "False"]
