"""Pixels taken away in the order of maps: as released, by hand, and the experiment."""

from __future__ import annotations

import functools
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from rival_jax import models, perturbation
from rival_jax.experiments import runner
from rival_jax.experiments.perturbation import study as room
from rival_jax.runtime.results import read_rows
from tests.finetune_cases import one_block_study, save_one_block
from tests.helpers import EXACT, PARITY, REFERENCE, config_of, nhwc, row_bytes, run_in

# ---- pure functions


def by_hand(found, count):
    """The first of a stable sort, highest first."""
    order = np.argsort(-found.ravel(), kind="stable")
    taken = np.zeros(found.size, bool)
    taken[order[:count]] = True
    return taken.reshape(found.shape)


def test_the_highest_are_those_of_a_stable_sort():
    maps = np.random.default_rng(0).integers(0, 4, (3, 5, 6)).astype(np.float32) - 1
    order, take = jax.jit(perturbation.descending), jax.jit(perturbation.highest)
    for count in (0, 1, 7, 29, 30):
        for sign in (1, -1):  # the lowest are the highest of the negative
            some = sign * maps
            want = [by_hand(one, count) for one in some]
            np.testing.assert_array_equal(take(some, order(some), np.int32(count)), want)


def test_areas_are_those_of_numpy():
    shares, values = (0.0, 0.1, 0.4, 1.0), np.random.default_rng(0).random((3, 4))
    got = perturbation.area(jnp.asarray(values, jnp.float32), shares, "from_zero")
    np.testing.assert_allclose(got, np.trapezoid(values, shares), atol=EXACT)
    part = jnp.asarray(values[:, 1:], jnp.float32)
    got = perturbation.area(part, shares[1:], "trapezoid")
    np.testing.assert_allclose(got, np.trapezoid(values[:, 1:], shares[1:]) / 0.9, atol=EXACT)
    with pytest.raises(ValueError, match=r"got 0.1 as the first, expected 0"):
        perturbation.area(part, shares[1:], "from_zero")
    with pytest.raises(ValueError, match=r"shares: got 2 for values \(3, 3\)"):
        perturbation.area(part, shares[:2], "mean")
    np.testing.assert_array_equal(perturbation.area(part[:, :1], (0.1,), "trapezoid"), part[:, 0])
    columns = [jnp.asarray(v, jnp.float32) for v in values.T]
    for test, some, at in (
        ("deletion", columns[1:], shares[1:]),
        ("insertion", columns[:-1], shares[:-1]),
        ("negative", columns[1:], shares[1:]),
    ):
        photo = columns[-1] if test == "insertion" else columns[0]
        got = perturbation.curve_area(test, at, "from_zero", photo, *some)
        np.testing.assert_allclose(got, np.trapezoid(values, shares), atol=EXACT)


def test_what_stands_in_for_pixels():
    image = np.random.default_rng(0).random((2, 6, 6, 3), np.float32)
    fill = jax.jit(functools.partial(perturbation.filled, mean=(0.1, 0.2, 0.3), sigma=2.0))
    black, mean, network, blur = np.asarray(fill(image))
    assert not black.any()
    np.testing.assert_allclose(mean[:, 0, 0], image.mean((1, 2)), atol=EXACT)
    np.testing.assert_allclose(network[1, 2, 3], (0.1, 0.2, 0.3), atol=EXACT)
    assert float(blur.std()) < 0.5 * float(image.std())
    assert perturbation.FILLS == ("black", "mean", "network", "blur")


def test_insertion_is_the_complement_of_deletion():
    """A network that adds up the photo: what is taken away and put back add up to all of it."""
    image = np.random.default_rng(1).random((2, 4, 4, 3), np.float32)
    maps = np.random.default_rng(2).random((2, 4, 4), np.float32)
    forward = lambda v, x, added: (x.sum((1, 2)), {})  # noqa: E731
    settings = (("deletion", "black", 0.25), ("insertion", "black", 0.25), ("none", "black", 0.0))
    mask = np.zeros((2, 4, 4))
    mask[:, :2] = 1

    @jax.jit
    def perturbed(image, maps, mask):
        given, how = (forward, {}, image, maps, settings), {"mean": (0.0, 0.0, 0.0), "sigma": 1.0}
        return perturbation.perturbed(*given, **how, mask=mask)

    logits, inside = map(np.asarray, perturbed(image, maps, mask))
    np.testing.assert_allclose(logits[0] + logits[1], logits[2], atol=REFERENCE)
    np.testing.assert_allclose(logits[2], image.sum((1, 2)), atol=REFERENCE)
    taken = np.stack([by_hand(one, 4) for one in maps])
    np.testing.assert_allclose(inside[0], (taken & (mask > 0)).sum((1, 2)) / 4)
    assert np.isnan(inside[2]).all()


def test_golden_perturbation(all_shared):
    """Hits, logits and areas as released, by the experiment's own function."""
    folder = all_shared / "golden" / "robustvit"
    with np.load(folder / "perturbation.npz") as file:
        stored = dict(file)
    weights = folder / "vit_a_weights.safetensors"
    half = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    model, variables = models.load(str(weights), given={"num_heads": 4, **half})
    image, found = jax.device_put(nhwc(stored["images01"])), jnp.asarray(stored["relevance"][:, 0])
    labels, steps = jnp.asarray(stored["labels"], jnp.int32), tuple(stored["steps"].tolist())
    given = model.forward, variables, image, labels, found
    settings = [(t, "black", share) for t in ("positive", "negative") for share in steps]
    scores = functools.partial(perturbation.scores, settings=settings, explained=labels)
    how = {"mean": model.mean, "sigma": 1.0}
    got = jax.jit(lambda: scores(*given, **how))()
    counts = [int(48 * 48 * share) for share in steps]
    assert counts == stored["n_pixels_removed"].tolist()
    for k, test in enumerate(("positive", "negative")):
        mine = {name: np.asarray(value)[:, 9 * k : 9 * k + 9].T for name, value in got.items()}
        np.testing.assert_array_equal(mine["correct"], stored[f"{test}_hits"])
        for name, key in (
            ("log_odds", "log_odds"),
            ("logit_difference", "logit_diff"),
            ("probability_difference", "prob_diff"),
        ):
            np.testing.assert_allclose(mine[name], stored[f"{test}_{key}"], atol=PARITY)
        accuracy = jnp.asarray(mine["correct"].mean(1), jnp.float32)
        np.testing.assert_allclose(accuracy, stored[f"{test}_accuracy"], atol=EXACT)
        for rule, name in (("mean", "mean"), ("trapezoid", "trapezoid_normalised")):
            area = perturbation.curve_area(test, steps, rule, accuracy[0], *accuracy)
            np.testing.assert_allclose(area, stored[f"{test}_auc_{name}"], atol=REFERENCE)


# ---- the experiment


def tiny(study, **changes):
    config = config_of("perturbation")
    config.models = (str(study / "tiny"), str(study / "cured"))
    config.pairs = ("tiny=cured",)
    config.data.name, config.data.root = "masked_folder", str(study / "data")
    config.saliency.methods = ("gradcam",)
    config.perturbation.fills, config.perturbation.shares = ("blur",), (0.25, 0.75)
    config.perturbation.steps = 2
    config.statistics.resamples = 30
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = one_block_study(tmp_path_factory.mktemp("study"))
    save_one_block(folder / "cured", seed=1)
    return folder


@pytest.fixture(scope="module")
def done(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("perturbation")
    return run_in(folder / "run", tiny(study))


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr(runner, "write_document", lambda *a: None)


def test_every_network_is_scored_by_every_order(done):
    run, _ = done
    rows = read_rows(run.path / "rows").to_pylist()
    orders = {(row["model"], row["map"], row["method"]) for row in rows}
    both = [("tiny", "cured"), ("cured", "tiny")]
    assert orders == {
        *((model, "own", "gradcam") for model, _ in both),
        *((model, "random", "random") for model, _ in both),
        *((model, other, "gradcam") for model, other in both),
    }
    settings = {(row["test"], row["fill"], row["share"]) for row in rows}
    assert len(settings) == 1 + 2 * 2 + 2 + 2
    assert len(rows) == 15 * len(settings) * len(orders)
    photo = [row for row in rows if row["test"] == "none"]
    assert len({(row["model"], row["example"], row["probability"]) for row in photo}) == 30
    chance = [
        {
            r["example"]: r["inside"]
            for r in rows
            if r["map"] == "random" and (r["model"], r["test"], r["share"]) == (m, "deletion", 0.5)
        }
        for m, _ in both
    ]
    assert chance[0] == chance[1]  # the same order for all networks


def test_results_are_those_of_the_rows(done):
    run, results = done
    rows = read_rows(run.path / "rows").to_pylist()

    def mean(column, **at):
        return np.mean([r[column] for r in rows if all(r[k] == v for k, v in at.items())])

    own = {"model": "cured", "map": "own", "test": "positive", "fill": "blur"}
    ends = [mean("correct", **own, share=share) for share in (0.25, 0.75)]
    accuracy = results.where(measure="accuracy", contrast="", **own)
    assert [row["estimate"] for row in accuracy] == pytest.approx(ends, abs=EXACT)
    levels = results.where(measure="accuracy_area", contrast="", test="positive", fill="blur")
    area = {(r["model"], r["map"]): r["estimate"] for r in levels}
    assert area["cured", "own"] == pytest.approx(np.mean(ends), abs=EXACT)
    pairs = results.where(measure="accuracy_area", test="positive", fill="blur")
    told = {row["contrast"]: row["estimate"] for row in pairs if row["contrast"]}
    assert told["minus tiny"] == pytest.approx(area["cured", "own"] - area["tiny", "own"], abs=1e-6)
    for contrast, (first, second) in {
        "cured: own maps minus those of tiny": (("cured", "own"), ("cured", "tiny")),
        "tiny: own maps minus those of cured": (("tiny", "own"), ("tiny", "cured")),
        "cured minus tiny, by the maps of tiny": (("cured", "tiny"), ("tiny", "own")),
    }.items():
        assert told[contrast] == pytest.approx(area[first] - area[second], abs=1e-6), contrast
    random = results.where(measure="accuracy_area", contrast="minus random order", model="tiny")
    want = area["tiny", "own"] - area["tiny", "random"]
    assert random.one(test="positive", fill="blur")["estimate"] == pytest.approx(want, abs=1e-6)
    name, fill = "explained_probability", {"test": "insertion", "fill": "blur"}
    own = {"model": "tiny", "map": "own"}
    ends = [mean(name, **own, **fill, share=share) for share in (0.0, 0.5)]
    ends += [mean(name, **own, test="none")]
    got = results.where(measure=f"{name}_area", contrast="", **own).one(**fill)
    want = (ends[0] / 2 + ends[1] + ends[2] / 2) / 2
    assert got["estimate"] == pytest.approx(want, abs=REFERENCE)


def test_the_page_shows_curves_areas_and_photos(done):
    run, _ = done
    for name in ("accuracy", "explained_probability", "inside", "photos"):
        for ending in ("png", "svg", "csv"):
            assert (run.path / "figures" / f"{name}.{ending}").stat().st_size > 0
    told = (run.path / "tables.md").read_text()
    assert "tiny gradcam of cured" in told
    assert "cured gradcam minus tiny | positive, blur" in told


def test_a_deleted_unit_comes_back_the_same(done, no_figures):
    run, results = done
    before = row_bytes(run.path)
    (gone,) = (run.path / "rows" / "tiny").glob("cured_gradcam*.parquet")
    gone.unlink()
    config = ConfigDict(run.read_json("config.json"), convert_dict=True)
    _, again = run_in(run.path, config)
    assert row_bytes(run.path) == before
    assert json.dumps(again.rows) == json.dumps(results.rows)


def test_networks_of_other_sizes_are_not_crossed():
    notes = []
    networks = [SimpleNamespace(name=name) for name in ("a", "b", "c")]
    sizes = {"a": 16, "b": 16, "c": 32}
    self = SimpleNamespace(
        pairs=[("a", "b"), ("a", "c")],
        ways=dict.fromkeys("abc", ("gradcam",)),
        subject=SimpleNamespace(
            models=networks, geometry=lambda model: sizes[model.name], note=notes.append
        ),
    )
    assert room.Experiment._crossed(self) == [("a", "b")]
    assert "a and c have no maps for each other" in notes[0]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("perturbation.tests", ("positiv",), "config.perturbation.tests: no 'positiv'"),
        ("perturbation.fills", ("white",), "config.perturbation.fills: no 'white'"),
        ("perturbation.shares", (0.0, 0.5), "config.perturbation.shares: got .*between 0 and 1"),
        ("perturbation.area", "auc", "config.perturbation.area: no 'auc'"),
        ("pairs", ("cured=tiny",), "config.models: name cured before tiny"),
    ],
)
def test_bad_values_stop_before_any_work(study, key, value, message):
    config = tiny(study)
    section, _, name = key.rpartition(".")
    (config[section] if section else config)[name] = value
    with pytest.raises(ValueError, match=message):
        run_in(study / "nowhere", config)


@pytest.mark.whole
def test_the_networks_of_known_reliance_are_told_apart(tmp_path, no_figures):
    """What the one trained on tied backgrounds uses first is less often object."""
    config = config_of("perturbation")
    config.data.scenes.per_class, config.statistics.resamples = 4, 200
    config.perturbation.tests, config.perturbation.fills = ("positive",), ("mean",)
    config.perturbation.shares = (0.1, 0.3)
    _, results = run_in(tmp_path, config)
    inside = results.where(measure="inside", contrast="minus scenes/vit_00")
    for row in inside:
        assert row["high"] < -0.1
        assert row["p"] < 0.01
    area = results.where(measure="accuracy_area", contrast="minus scenes/vit_00").one()
    assert area["low"] > 0  # losing what its maps mark costs it less


def test_presets_hold_the_protocols():
    clean, paper, released = (
        config_of("perturbation", p).perturbation for p in ("clean", "paper", "released")
    )
    assert list(paper.shares) == [pytest.approx(k / 10) for k in range(1, 10)]
    for c, area in ((paper, "trapezoid"), (released, "mean")):
        assert (c.tests, c.fills, c.area) == (("positive", "negative"), ("black",), area)
    assert (clean.deletion, clean.insertion) == ("network", "blur")
