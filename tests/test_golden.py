"""The small golden set: what the script makes of the whole, small, and nothing that could run."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from tests.golden import archive, checkpoints
from tests.golden.choose import HERE, chosen
from tests.golden.places import at_kept
from tests.golden.unpack import unpack

FILES = [path for path in HERE.iterdir() if path.is_file()]
ARCHIVES = [path for path in FILES if path.suffix == ".xz"]
COMPUTED = (
    ":odds",
    "linf_ptrue_clean",
    "linf_ptrue_noisy_fg",
    "linf_ptrue_noisy_bg",
)  # exponentials
ONE = "tests/test_data_pickles.py::test_reference_example_is_refused_in_silence"


def test_it_is_small():
    assert sum(path.stat().st_size for path in FILES) <= 3_000_000


def test_it_holds_no_pickles_and_no_photos():
    assert {path.suffix for path in FILES} == {".md", ".py", ".xz"}
    for path in ARCHIVES:
        for name, array in archive.read(path).items():
            assert array.dtype.kind in "biufU", name
            if ":" not in name:  # a file as it is
                content = array.tobytes()
                assert name.endswith(
                    (".json", ".csv", ".md", ".JPEG", ".npy", ".png", "_attr_dict.pkl")
                )
                assert not content.startswith((b"\x80", b"PK")), name
                # Two of the drawn data set's dictionaries are none: that is what they are for.
                assert ".pkl" not in name or content == b"not a pickle", name


def test_it_is_what_the_script_makes(all_shared, tmp_path):
    for path in unpack(tmp_path).rglob("*"):
        assert (all_shared / path.relative_to(tmp_path)).exists(), path
    made = chosen(all_shared)
    assert sorted(made) == sorted(path.stem for path in ARCHIVES)
    for path in ARCHIVES:
        kept, wanted = archive.read(path), made[path.stem]
        assert list(kept) == list(wanted)
        for name, array in wanted.items():
            assert kept[name].dtype == array.dtype, name
            if name.endswith(COMPUTED):
                np.testing.assert_allclose(kept[name], array, rtol=1e-6, atol=1e-9, err_msg=name)
            else:
                np.testing.assert_array_equal(kept[name], array, err_msg=name)


def test_checkpoints_are_put_together_as_they_were(all_shared):
    folder = all_shared / "golden" / "rival10" / "checkpoints"
    for path in folder.iterdir():
        if path.suffix in (".ckpt", ".pt", ".pth"):
            parts, storages = checkpoints.take_apart(path)
            made = checkpoints.put_together(parts, {k: v for k, (_, v) in storages.items()})
            for part in parts:
                assert part[1] != "storage" or part[0] in storages
            if parts[0][0] == "0.pkl":
                assert made == path.read_bytes(), path.name
            else:
                assert members(made) == members(path.read_bytes()), path.name


def members(archive_bytes: bytes) -> dict[str, bytes]:
    """Of a zip file, by name."""
    with zipfile.ZipFile(io.BytesIO(archive_bytes)) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "u1", "?", "<U5"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3, 4)])
def test_arrays_come_back(tmp_path, dtype, shape):
    array = np.random.default_rng(0).normal(size=shape).astype(dtype)
    archive.write(tmp_path / "a.xz", {"a:b": array, "c": np.arange(3)})
    back = archive.read(tmp_path / "a.xz")
    assert list(back) == ["a:b", "c"]
    assert (back["a:b"].dtype, back["a:b"].shape) == (array.dtype, shape)
    np.testing.assert_array_equal(back["a:b"], array)
    np.testing.assert_array_equal(back["c"], np.arange(3))


def test_objects_are_refused(tmp_path):
    with pytest.raises(ValueError, match="a: got object, expected numbers or text"):
        archive.write(tmp_path / "a.xz", {"a": np.array([{}])})


def test_values_that_are_kept_are_found():
    whole = np.arange(24).reshape(2, 3, 4)
    assert at_kept(whole, whole) is whole
    np.testing.assert_array_equal(
        at_kept(whole, np.zeros((2, 5))), [[0, 2, 4, 7, 9], [12, 14, 16, 19, 21]]
    )
    np.testing.assert_array_equal(at_kept(whole, np.zeros(3)), [0, 8, 16])
    np.testing.assert_array_equal(at_kept(whole, np.zeros((2, 3, 1))), whole[..., :1])


@pytest.mark.parametrize("required", ["", "1"])
def test_the_whole_can_be_required(required, root):
    """By CI: there a test that needs reference data fails without the whole."""
    environment = {**os.environ, "RIVAL_JAX_SHARED": "/nowhere"}
    environment["RIVAL_JAX_REQUIRE_SHARED"] = required
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts="]  # no annotation is checked
    command = [sys.executable, "-m", "pytest", *options, ONE]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == bool(required), done.stdout
    assert ("not found at /nowhere" in done.stdout) == bool(required)
