"""The experiment: a planted detector is found, random weights report nothing, restarts."""

from __future__ import annotations

import functools
import io
import shutil
from unittest import mock

import jax
import numpy as np
import pytest
from rich.console import Console

from rival_jax import models, neurons
from rival_jax.experiments import runner
from rival_jax.experiments.neurons import study
from rival_jax.experiments.neurons.page import page
from rival_jax.experiments.neurons.search import Search
from rival_jax.experiments.neurons.study import Experiment
from rival_jax.images import Images, per_image
from rival_jax.named import Axis
from rival_jax.report.document import write_document
from rival_jax.report.results import Results
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Run, read_rows
from tests import stamped_scenes as stamped
from tests.damaged_runs import NAMES, renamed, reported
from tests.helpers import config_of, frozen

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
    runner.run(Experiment(config, quiet()), run, quiet())
    return Results.read(folder), run


@pytest.fixture(scope="module")
def done(drawn_once, optimised, tmp_path_factory):
    """Results and run of the network with a detector; tests change nothing in its folder."""
    with pytest.MonkeyPatch.context() as patch:
        shown(patch, stamped.planted(jax.random.key(0)))
        return run_in(tmp_path_factory.mktemp("neurons") / "run", stamped_config())


def row_bytes(run):
    return {p.name: p.read_bytes() for p in sorted((run.path / "rows").rglob("*.parquet"))}


@pytest.fixture
def no_report(monkeypatch):
    monkeypatch.setattr(runner, "write_document", lambda *a: None)


def of_pairs(results, measure):
    """A number of every pair, by class and attribute."""
    rows = results.where(measure=measure, **{"class": results.of("class")})
    return {(row["class"], row["attribute"]): row["estimate"] for row in rows}


def test_a_planted_detector_is_found(done):
    results, run = done
    reported = {pair for pair, yes in of_pairs(results, "reported").items() if yes}
    carriers = {pair for pair in reported if pair[1] == stamped.STAMPED}
    assert len(carriers) >= 2
    for label, attribute in carriers:
        iou = results.one(measure="iou", attribute=attribute, **{"class": label})
        assert iou["feature"] == stamped.PLANTED
        assert iou["low"] > 0.5
        assert of_pairs(results, "p_pairing")[label, attribute] < 0.01
    first = results.where(measure="iou").rows[1]  # after the mean over all
    assert (first["class"], first["attribute"]) in reported
    mean = np.mean([of_pairs(results, "iou")[pair] for pair in reported])
    assert results.one(measure="iou_reported")["estimate"] == pytest.approx(mean, abs=1e-6)
    assert results.one(measure="reported", **{"class": None})["estimate"] == len(reported)
    text = (run.path / "report.html").read_text()
    assert f"{len(reported)} have a feature that marks the attribute" in text
    assert {p.suffix for p in (run.path / "figures").iterdir()} == {".png", ".svg", ".csv"}


def test_numbers_are_means_of_the_rows(done):
    """Of every pair on the images of the class with the attribute, and over all pairs alike."""
    results, run = done
    sums = {}
    for row in read_rows(*(run.path / "rows").rglob("test-*")).to_pylist():
        place = sums.setdefault((row["label"], row["attribute"]), ([], []))
        place[row["network"] > 0].append(row["iou"])
    for measure, kind in (("iou", 0), ("shuffled_iou", 1)):
        want = {pair: np.mean(values[kind]) for pair, values in sums.items()}
        got = of_pairs(results, measure)
        assert got == {pair: pytest.approx(value, abs=1e-6) for pair, value in want.items()}
        whole = results.one(measure=measure, **{"class": None})
        assert whole["estimate"] == pytest.approx(np.mean([*want.values()]), abs=1e-6)


def test_random_weights_report_nothing(tmp_path, weights, no_report):
    weights(stamped.init(jax.random.key(11)))
    results, _ = run_in(tmp_path / "run", stamped_config())
    assert results.one(measure="tested")["estimate"] > 30
    assert not any(of_pairs(results, "reported").values())
    assert not results.where(measure="iou_reported").rows
    # Most pass the permutation of masks: features of random convolutions do follow bright parts.
    assert np.mean(np.array([*of_pairs(results, "p_pairing").values()]) <= 0.05) > 0.5
    assert 0.2 < np.mean([*of_pairs(results, "p_shuffled").values()]) < 0.8
    # Of 20, each in the place of the one in question.
    assert results.one(measure="shuffled_reporting")["estimate"] <= 2


def test_a_restart_gives_the_same_bytes_and_computes_what_is_missing(
    done, tmp_path, weights, no_report, monkeypatch
):
    weights(stamped.planted(jax.random.key(0)))
    before, config = row_bytes(done[1]), stamped_config()
    shutil.copytree(done[1].path, tmp_path / "run")
    assert len(before) == 3
    calls = []
    found = Search.found
    monkeypatch.setattr(Search, "found", lambda *a: calls.append(1) or found(*a))
    shuffle = mock.Mock(side_effect=neurons.with_shuffled)
    monkeypatch.setattr(neurons, "with_shuffled", shuffle)
    second, run = run_in(tmp_path / "run", config)
    assert not calls
    assert not shuffle.called
    assert list(second.lines()) == list(done[0].lines())
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
        ("neurons.top", 0, "config.neurons.top: got 0, expected a whole number from 1 up"),
        ("neurons.threshold", 1.0, "config.neurons.threshold: got 1.0"),
        ("neurons.least_images", 500, "no attribute has 500 images of a class in both splits"),
        ("data.split", "train", "nothing would be held out"),
        ("batch_size", 0, "config.batch_size: got 0"),
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
    runner.dry_run(Experiment(stamped_config(shuffled=3), console), console)
    said = console.file.getvalue()
    assert "120 images twice and 120 once (" in said
    assert "), by 4 networks = 1,440 forwards, " in said
    assert "nothing was run" in said


def test_two_models_and_names_that_do_harm(done, tmp_path):
    """Also without a feature, and files of figures of names that are nearly the same."""
    rng, models = np.random.default_rng(0), ("a/b", "a_b", "..")
    attributes = NAMES[7:14]
    axes = [Axis((name,), tuple((key,) for key in keys)) for name, keys in
            (("example", [f"{NAMES[i % 9]}{i}" for i in range(16)]), ("model", models),
             ("network", range(3)), ("attribute", attributes))]  # fmt: skip
    iou = rng.uniform(size=[len(axis.keys) for axis in axes])
    iou[..., 0] = 0  # a feature that is none
    iou[::2, ..., 1] = np.nan
    values = {"iou": per_image(iou, axes), "activation": per_image(iou + 1, axes)}
    images = Images(values, np.arange(16) % 4, NAMES[:4])
    pairs = [(c, m, a) for c in NAMES[:4] for m in models for a in attributes[1:]]
    features = {pair: (i, 0.5) for i, pair in enumerate(pairs)}
    cross = {pair: rng.uniform(size=(2, 2)) for pair in pairs}
    found, config = study.Found(images, features, cross), stamped_config(shuffled=2)
    config.neurons.false_discovery_rate = 0.9
    results = study.results(found, frozen(config).neurons, 0, **config.statistics)
    assert {row["feature"] for row in results if row.get("attribute") == attributes[0]} == {-1}
    assert len(results.where(measure="iou", model="a_b")) == 1 + 2 * len(attributes) * 2 - 2
    look = np.zeros((8, 8, 3), np.uint8), np.eye(8) > 0, np.eye(8) > 0

    def write(run, console):
        told = page(frozen(config), results, found.of, dict.fromkeys(models, lambda *a: look))
        write_document(run, console, told)

    folder = renamed(done[1].path, tmp_path / "run", {"stamp": "a_b"})
    assert "a_b" in reported(folder, write)
    assert len(list((folder / "figures").glob("*pairs*.svg"))) == 3, "no two share a file"
