"""Nearest neighbours: an exact search, DINO's vote, and the experiment around them."""

from __future__ import annotations

import dataclasses
import functools
import re
import shutil

import jax
import numpy as np
import pytest

from rival_jax import knn
from rival_jax.experiments import runner
from rival_jax.experiments.knn import Experiment
from rival_jax.runtime.results import Run, read_rows
from tests.finetune_cases import one_block_study
from tests.helpers import REFERENCE, config_of, draw_study, dry_run, quiet, row_bytes, run_in

COUNT, CLASSES = 37, 4
neighbours = jax.jit(knn.neighbours, static_argnums=2, static_argnames="block")


def some_features(count, seed):
    return np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 8, 100])
def test_the_search_is_exact_whatever_the_blocks(block):
    queries, bank = some_features(6, 0), some_features(COUNT, 1)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, bank)]
    every = unit[0] @ unit[1].T
    order = np.argsort(-every, axis=1, kind="stable")[:, :9]
    cosine, place = neighbours(queries, bank, 9, block=block)
    np.testing.assert_array_equal(place, order)
    np.testing.assert_allclose(cosine, np.take_along_axis(every, order, 1), atol=REFERENCE)
    own = np.append(-1, order[1:, 0])  # all but the first query know their own photo
    place = np.asarray(neighbours(queries, bank, 8, own=own, block=block)[1])
    np.testing.assert_array_equal(place[1:], order[1:, 1:])
    np.testing.assert_array_equal(place[0], order[0, :8])


def test_of_equally_near_ones_the_first():
    bank = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 0.0], [3.0, 0.0]])
    cosine, place = neighbours(np.ones((1, 2)), bank, 4, block=2)
    assert place.tolist() == [[0, 1, 3, 2]]
    assert cosine.tolist()[0][3] == 0  # a feature of zeros is like none
    with pytest.raises(ValueError, match="k: got 5, expected 1 to 4, the size of the bank"):
        neighbours(np.ones((1, 2)), bank, 5)


def test_the_vote_is_dinos():
    """Unshifted exponentials, summed by class, in float64."""
    rng = np.random.default_rng(2)
    cosine = np.sort(rng.uniform(0.8, 1, (6, 9)).astype(np.float32))[:, ::-1]
    labels = rng.integers(0, CLASSES, (6, 9))
    votes = np.exp(cosine.astype(np.float64) / 0.07)
    wanted = np.stack([(votes * (labels == c)).sum(1) for c in range(CLASSES)], axis=1)
    vote = jax.jit(knn.weighted_vote, static_argnums=2)
    got = vote(cosine, labels, CLASSES)
    np.testing.assert_allclose(got, wanted / wanted.sum(1, keepdims=True), atol=1e-5)
    np.testing.assert_array_equal(jax.jit(knn.elected)(got, labels), wanted.argmax(1))
    assert (wanted.argmax(1) != labels[:, 0]).any(), "the nearest alone would do"
    half = vote(np.ones((1, 2), np.float16), np.array([[0, 1]]), 2)
    assert half.tolist() == [[0.5, 0.5]]  # exp(1 / 0.07) overflows float16


def test_votes_with_few_and_with_many_neighbours():
    cosine, labels = np.array([[1.0, 0.9, 0.9, 0.9]]), np.array([[2, 1, 1, 0]])
    options = {"votes": ("weighted", "majority"), "numbers": (1, 2, 4), "num_classes": 3}
    elections = jax.jit(functools.partial(knn.elections, temperature=1.0, **options))
    shares, found = elections(cosine, labels)
    assert shares.shape == (1, 2, 3, 3)
    np.testing.assert_allclose(np.sum(shares, -1), 1, atol=1e-6)
    assert found.tolist() == [[[2, 2, 1], [2, 2, 1]]]  # of two with a vote each, the nearest


def test_pixels_are_told_apart():
    photos = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 3), np.uint8)
    photos[7] = photos[3]
    photos[8] = photos[3]
    photos[8, 0, 0] = photos[3, 0, 0, ::-1]  # the same bytes in another order
    found = np.asarray(jax.jit(knn.pixel_hash)(photos)).tolist()
    assert found[3] == found[7]
    assert len({tuple(one) for one in found}) == 49


# ---- the experiment


def tiny(study, **changes):
    config = config_of("knn")
    config.models = (str(study / "tiny"),)
    config.data.name, config.data.root = "image_folder", str(study / "data")
    config.knn.k, config.shard, config.statistics.resamples = (1, 4, 20), 4, 40
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run on 16 photos without splits, two of which are one photo; and its console."""
    study = one_block_study(tmp_path_factory.mktemp("knn"))
    photos = study / "data" / "images" / "class0"
    shutil.copy(photos / "0.png", photos / "again.png")
    console = quiet()
    run, results = run_in(study / "run", tiny(study), console)
    return study, run, results, " ".join(console.file.getvalue().split())


def by_hand(study, k):
    """What each photo's k nearest of the others vote for, by majority: {example: class}."""
    experiment = Experiment(tiny(study), quiet())
    one, source = experiment.networks[0], experiment.test
    photos = np.stack([np.asarray(source[i]["image"]) for i in range(len(source))])
    _, taps = jax.jit(one.model.forward)(one.variables, photos / np.float32(255), {})
    features = np.asarray(taps["features"])
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    like = features @ features.T - 9 * np.eye(len(features))
    found = {}
    for name, row in zip(source.names, like, strict=True):
        near = source.labels[np.argsort(-row, kind="stable")[:k]]
        counts = np.bincount(near, minlength=3)
        winner = next(c for c in near if counts[c] == counts.max())
        found[name] = source.classes[winner]
    return found


def test_photos_are_classified_by_the_others(done):
    study, run, results, said = done
    rows = read_rows(run.path / "rows").to_pylist()
    assert len(rows) == 16 * 2 * 2  # photos, votes, numbers of neighbours
    for k in (1, 4):
        mine = [r for r in rows if (r["vote"], r["k"]) == ("majority", k)]
        assert {r["example"]: r["predicted"] for r in mine} == by_hand(study, k)
    assert all(r["correct"] == (r["predicted"] == r["label"]) for r in rows)
    nearest = [r["probability"] for r in rows if r["k"] == 1]
    assert set(nearest) == {0.0, 1.0}
    row = results.one(measure="accuracy", vote="weighted", k=4)
    assert row["images"] == 16
    assert "neighbours of a photo are the other photos of split test" in said
    assert "There are 15 neighbours: k = 20 is left out" in said


def test_photos_that_are_there_twice_are_told(done):
    _, run, _, said = done
    twice = {r["example"] for r in read_rows(run.path / "rows").to_pylist() if r["twin"]}
    assert twice == {"class0/0.png", "class0/again.png"}
    told = "2 of 16 photos are also among the neighbours, pixel by pixel (such as class0/0.png)"
    assert told in said
    assert told in (run.path / "report.html").read_text()
    for ending in ("png", "svg", "csv"):
        assert (run.path / "figures" / f"accuracy.{ending}").stat().st_size > 0


def test_a_deleted_unit_comes_back_the_same(done, monkeypatch):
    study, run, _, _ = done
    monkeypatch.setattr(runner, "write_document", lambda *args: None)
    before = row_bytes(run.path)
    assert len(before) == 4  # shards
    next((run.path / "rows").rglob("0001*.parquet")).unlink()
    run_in(run.path, tiny(study))
    assert row_bytes(run.path) == before


def test_what_cannot_be_asked_for(done, tmp_path):
    study = done[0]
    with pytest.raises(ValueError, match=r"config.knn.k: there are 15 neighbours; name fewer"):
        Experiment(tiny(study, **{"knn.k": (16,)}), quiet())
    assert "tiny: 32 photos" in dry_run(tiny(study))
    for split, classes in (("train", 2), ("test", 3)):
        draw_study(tmp_path / split, classes=classes, per_class=2)
    split = tiny(study, **{"data.root": str(tmp_path)})
    with pytest.raises(ValueError, match="splits 'train' and 'test' need the same classes, and "):
        Experiment(split, quiet())


def test_a_network_of_nan_is_refused(done, tmp_path):
    experiment = Experiment(tiny(done[0]), quiet())
    (one,) = experiment.networks
    nan = jax.tree.map(lambda leaf: leaf * np.nan, one.variables)
    experiment.networks = [dataclasses.replace(one, variables=nan)]
    named = f"tiny gives NaN for 16 of 16 photos, the first {experiment.train.names[0]}; "
    with pytest.raises(ValueError, match=re.escape(named)):
        runner.run(experiment, Run(tmp_path, tiny(done[0]).to_dict()), quiet())


def test_neighbours_of_another_split(done, tmp_path, monkeypatch):
    """Fewer than a hundred photos are enough; a photo's copy in the other split is counted."""

    def written(run, *args):
        for name in ("report.html", "tables.md"):
            (run.path / name).write_text("")

    monkeypatch.setattr(runner, "write_document", written)
    draw_study(tmp_path / "train", per_class=3)
    draw_study(tmp_path / "test", per_class=2)
    for path in (tmp_path / "test" / "images").rglob("0.png"):
        path.rename(path.with_name("other.png"))
    changes = {"data.root": str(tmp_path), "knn.k": (1,), "knn.votes": ("weighted",)}
    run, _ = run_in(tmp_path / "run", tiny(done[0], **changes))
    rows = {r["example"]: r for r in read_rows(run.path / "rows").to_pylist()}
    assert len(rows) == 6
    copies = {name for name, row in rows.items() if row["twin"]}
    assert "class0/other.png" in copies
    assert all(rows[name]["correct"] for name in copies)  # each has its copy's class
    run.finish()
    console = quiet()
    run_in(tmp_path / "run", tiny(done[0], **changes), console)
    assert "nothing new to report" in console.file.getvalue()
    assert "also among the neighbours" in console.file.getvalue(), "as seen in the rows, then"
