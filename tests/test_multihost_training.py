"""Training on several hosts is training on one: weights, losses, states, signals."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from rival_jax.runtime.signals import EXIT_INTERRUPTED
from rival_jax.weights.safetensors import read_tensors
from tests import finetune_cases
from tests import training_cases as cases
from tests.helpers import REFERENCE
from tests.training_hosts import ended, finetuned, together

pytestmark = pytest.mark.whole

STARTED = ("going_on", "plain", "parts", "cut", "infinite", "finetune")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Photos and a network for `finetune`."""
    return finetune_cases.make(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Two hosts, of which one got a signal."""
    folder = tmp_path_factory.mktemp("hosts")
    assert ended(together(folder, 2, 2, "stopped")) == [EXIT_INTERRUPTED] * 2, logs(folder)
    return folder


@pytest.fixture(scope="module")
def two(stopped, work):
    """The same two again, with all the rest; beside it the state that they found."""
    shutil.copytree(stopped / "stopped", stopped / "left")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FINETUNE_FOLDER", str(work))
        assert ended(together(stopped, 2, 2, *STARTED)) == [0, 0], logs(stopped)
    return stopped


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What one host gets."""
    folder = tmp_path_factory.mktemp("one")
    return files(cases.fit(folder / "work", who=cases.members(0, 1)), folder)


def logs(folder):
    return "\n".join(file.read_text()[-3000:] for file in folder.glob("host*.txt"))


def files(trained, folder):
    """What `training_cases.save` writes of each."""
    for place, member in enumerate(trained):
        cases.save(member, folder / f"{place}.npz")
    return [dict(np.load(folder / f"{place}.npz")) for place in range(len(trained))]


def of_host(folder, case, host):
    return [dict(np.load(folder / f"{case}_host{host}_{member}.npz")) for member in (0, 1)]


def assert_same(got, want, atol):
    for mine, other in zip(got, want, strict=True):
        assert mine.keys() == other.keys()
        for name in mine.keys() - {"history"}:
            np.testing.assert_allclose(mine[name], other[name], rtol=0, atol=atol)
        a, b = (eval(str(arrays["history"])) for arrays in (mine, other))
        assert [entry["best"] for entry in a] == [entry["best"] for entry in b]
        for part in ("train", "held_out"):
            for x, y in zip(a[1:], b[1:], strict=True):
                assert x[part] == pytest.approx(y[part], abs=atol)


@pytest.mark.parametrize("case", ["plain", "parts", "cut"])
def test_two_hosts_train_what_one_does(two, one, case):
    assert_same(of_host(two, case, 0), one, REFERENCE)
    assert_same(of_host(two, case, 1), of_host(two, case, 0), 0)


def test_a_signal_to_one_stops_all_at_the_same_step(stopped):
    said = [json.loads((stopped / f"stopped_host{i}.json").read_text()) for i in (0, 1)]
    assert said[0] == said[1]
    assert said[0]["said"][0].startswith("SIGTERM after step ")
    assert 4 <= said[0]["steps"] < 12


def test_the_same_hosts_go_on_with_the_same_bits(two):
    for host in (0, 1):
        assert_same(of_host(two, "stopped", host), of_host(two, "plain", 0), 0)


def test_another_number_of_hosts_goes_on(two, one, tmp_path):
    steps = []
    watch = cases.Watch(on_step=steps.append)
    trained = cases.fit(two / "left", who=cases.members(0, 1), watch=watch)
    assert len(steps) < 12
    assert_same(files(trained, tmp_path), one, REFERENCE)


def test_a_number_that_is_not_finite_is_told_by_all(two):
    texts = {(two / f"infinite_host{i}.txt").read_text() for i in (0, 1)}
    assert len(texts) == 1
    assert "the term 'loss' of seed0/13 is not finite at step" in texts.pop()
    (file,) = (two / "infinite").glob("not_finite_linear_0_step*.npz")
    with np.load(file) as saved:
        order = np.random.default_rng([0, 0]).permutation(cases.EXAMPLES)
        start = 8 * (order.tolist().index(13) // 8)
        expected = [f"seed0/{row}" for row in order[start : start + 8]]
        assert [name for name in saved["names"].tolist() if name] == expected


def test_finetune_gives_the_same_networks(two, work, tmp_path):
    finetuned(work, tmp_path)
    found = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("model.safetensors"))
    assert len(found) == 4
    for file in found:
        a, b = (read_tensors(root / file) for root in (tmp_path, two / "finetune"))
        for name in a:
            gap = np.abs(a[name] - b[name])
            if name.endswith("qkv.bias"):  # of the keys: no attention depends on it
                gap = gap.reshape(3, -1)[[0, 2]]
            assert gap.max() < REFERENCE, name
    units = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("rows/**/*.parquet"))
    assert len(units) == 8
    for file in units:
        a, b = (pq.read_table(root / file) for root in (tmp_path, two / "finetune"))
        assert a.drop_columns(floats(a)) == b.drop_columns(floats(b))
        for name in floats(a):
            # Average precision ranks pixels: rounding changes places of those that are as relevant.
            near = 1e-3 if name == "average_precision" else REFERENCE
            np.testing.assert_allclose(a[name], b[name], rtol=0, atol=near)


def floats(table):
    return [name for name in table.column_names if str(table[name].type) in ("float", "double")]
