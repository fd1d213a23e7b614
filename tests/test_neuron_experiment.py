"""The experiment: a planted detector is found, random weights report nothing, restarts."""

from __future__ import annotations

import functools
import io
import shutil

import jax
import numpy as np
import pytest
from rich.console import Console

from rival_jax import models
from rival_jax.experiments import _neuron_passes, neurons
from rival_jax.report import neuron_page
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Run, read_rows
from tests import stamped_scenes as stamped
from tests.helpers import config_of

pytestmark = pytest.mark.usefixtures("drawn_once", "optimised")


@pytest.fixture(scope="module")
def optimised():
    """Passes over the data are optimised a little: at level 0 they run for longer than it takes."""
    compiled = parallel._compiled
    jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 1})

    def made(*args):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jax, "jit", jit)
            return compiled(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "_compiled", made)
        yield


def quiet():
    return Console(file=io.StringIO())


def stamped_config(shuffled=20):
    config = config_of("neurons")
    config.models = ("stamp",)
    config.data.name = "tests.stamped_scenes"
    config.neurons.shuffled = shuffled
    config.neurons.top = 10
    config.neurons.permutations = 999
    config.neurons.pictures = 1
    config.statistics.resamples = 50
    config.batch_size = 60
    return config


def shown(patch, variables):
    """Sets what the model of the config is."""
    patch.setattr(models, "load", lambda *a, **k: (stamped.MODEL, variables))
    patch.setattr(models, "describe", lambda *a: "64 px")


@pytest.fixture
def weights(monkeypatch):
    return functools.partial(shown, monkeypatch)


def run_in(folder, config):
    run = Run(folder, config.to_dict())
    run.log("start", argv=[])
    return neurons.run(config, run, quiet()), run


@pytest.fixture(scope="module")
def done(drawn_once, optimised, tmp_path_factory):
    """Summary and run of the network with a detector; tests change nothing in its folder."""
    with pytest.MonkeyPatch.context() as patch:
        shown(patch, stamped.planted(jax.random.key(0)))
        return run_in(tmp_path_factory.mktemp("neurons") / "run", stamped_config())


def row_bytes(run):
    return {p.name: p.read_bytes() for p in sorted((run.path / "rows").rglob("*.parquet"))}


@pytest.fixture
def no_report(monkeypatch):
    monkeypatch.setattr(neuron_page, "write_document", lambda *a: None)


def test_a_planted_detector_is_found(done):
    summary, run = done
    found = summary["models"]["stamp"]
    reported = {(p["class"], p["attribute"]): p for p in found["pairs"] if p["reported"]}
    carriers = {key for key in reported if key[1] == stamped.STAMPED}
    assert len(carriers) >= 2
    for key in carriers:
        assert reported[key]["feature"] == stamped.PLANTED
        assert reported[key]["iou"]["low"] > 0.5
        assert reported[key]["p_pairing"] < 0.01
    assert (run.path / "report.html").exists()
    assert {p.suffix for p in (run.path / "figures").iterdir()} == {".png", ".svg", ".csv"}


def test_random_weights_report_nothing(tmp_path, weights, no_report):
    weights(stamped.init(jax.random.key(11)))
    summary, _ = run_in(tmp_path / "run", stamped_config())
    found = summary["models"]["stamp"]
    assert found["tested"] > 30
    assert found["reported"] == 0
    # Most pass the permutation of masks: features of random convolutions do follow bright parts.
    assert np.mean([p["p_pairing"] <= 0.05 for p in found["pairs"]]) > 0.5
    p = [p["p_shuffled"] for p in found["pairs"]]
    assert 0.2 < np.mean(p) < 0.8
    assert found["shuffled_reporting"] <= 2  # of 20, each in the place of the one in question


def test_a_restart_gives_the_same_bytes_and_computes_what_is_missing(
    done, tmp_path, weights, no_report, monkeypatch
):
    weights(stamped.planted(jax.random.key(0)))
    first, before, config = done[0], row_bytes(done[1]), stamped_config()
    shutil.copytree(done[1].path, tmp_path / "run")
    assert len(before) == 3
    calls = []
    mapped = _neuron_passes.Passes._mapped
    monkeypatch.setattr(_neuron_passes.Passes, "_mapped", lambda *a: calls.append(1) or mapped(*a))
    second, run = run_in(tmp_path / "run", config)
    assert not calls
    assert second == first
    for path in (run.path / "rows").rglob("test-*"):
        path.unlink()
    run_in(tmp_path / "run", config)
    assert len(calls) == 1  # the held-out pass alone
    assert row_bytes(run) == before


def test_rows_are_what_they_say(done):
    run = done[1]
    table = read_rows(*(run.path / "rows").rglob("search-*"))
    network, rank = table["network"].to_numpy(), table["rank"].to_numpy()
    assert set(network) == set(range(21))
    assert set(rank) == set(range(10))
    value = table["activation"].to_numpy()
    follows = (rank[1:] == rank[:-1] + 1) & (np.diff(table["feature"].to_numpy()) == 0)
    assert (value[1:] <= value[:-1])[follows & (np.diff(network) == 0)].mean() > 0.9
    present = table["present"].to_numpy(zero_copy_only=False)
    assert (table["iou"].to_numpy()[~present] == 0).all()
    for unit, columns in {
        "test": {"network", "feature", "example", "activation", "iou"},
        "pairing": {"map_of", "mask_of", "iou"},
    }.items():
        names = set(read_rows(*(run.path / "rows").rglob(f"{unit}-*")).column_names)
        assert columns | {"model", "label", "attribute"} == names


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("neurons.absent", "full", "config.neurons.absent: no 'full'"),
        ("neurons.top", 0, "config.neurons.top=0, expected 1 or more"),
        ("neurons.threshold", 1.0, "config.neurons.threshold=1.0, expected between 0 and 1"),
        ("neurons.least_images", 500, "no attribute has 500 images of a class in both splits"),
        ("data.split", "train", "nothing would be held out"),
        ("batch_size", 0, "config.batch_size=0"),
    ],
)
def test_bad_values_stop_before_any_work(tmp_path, weights, key, value, message):
    weights(stamped.init(jax.random.key(0)))
    config = stamped_config()
    with config.unlocked():
        config.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=message):
        run_in(tmp_path / "run", config)
    assert not list((tmp_path / "run").rglob("*.parquet"))


def test_dry_run_prints_the_cost(weights):
    weights(stamped.init(jax.random.key(0)))
    console = quiet()
    neurons.dry_run(stamped_config(shuffled=3), console)
    said = console.file.getvalue()
    assert "120 images twice and 120 once, by 4 networks: 1,440 forwards" in said
    assert "nothing was run" in said
