"""Nearest neighbours: an exact search, DINO's vote, and the experiment around them."""

from __future__ import annotations

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rival_jax import knn
from rival_jax.experiments import runner
from rival_jax.experiments.knn import Experiment
from rival_jax.runtime.results import read_rows
from tests.finetune_cases import one_block_study
from tests.helpers import REFERENCE, config_of, dry_run, quiet, row_bytes, run_in

COUNT, CLASSES = 37, 4


def some_features(count, seed):
    return np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 8, 100])
def test_the_search_is_exact_whatever_the_blocks(block):
    queries, bank = some_features(6, 0), some_features(COUNT, 1)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, bank)]
    every = unit[0] @ unit[1].T
    order = np.argsort(-every, axis=1, kind="stable")[:, :9]
    cosine, place = knn.neighbours(jnp.asarray(queries), jnp.asarray(bank), 9, block=block)
    np.testing.assert_array_equal(place, order)
    np.testing.assert_allclose(cosine, np.take_along_axis(every, order, 1), atol=REFERENCE)
    own = jnp.asarray(order[:, 0]).at[0].set(-1)  # all but the first query know their own photo
    _, place = knn.neighbours(jnp.asarray(queries), jnp.asarray(bank), 8, own=own, block=block)
    np.testing.assert_array_equal(place[1:], order[1:, 1:])
    np.testing.assert_array_equal(place[0], order[0, :8])


def test_of_equally_near_ones_the_first():
    bank = jnp.array([[2.0, 0.0], [1.0, 0.0], [0.0, 0.0], [3.0, 0.0]])
    cosine, place = knn.neighbours(jnp.ones((1, 2)), bank, 4, block=2)
    assert place.tolist() == [[0, 1, 3, 2]]
    assert cosine[0, 3] == 0  # a feature of zeros is like none
    with pytest.raises(ValueError, match="k: got 5, expected 1 to 4, the size of the bank"):
        knn.neighbours(jnp.ones((1, 2)), bank, 5)


def test_the_vote_is_dinos():
    """Unshifted exponentials, summed by class, in float64."""
    rng = np.random.default_rng(2)
    cosine = np.sort(rng.uniform(-1, 1, (6, 9)).astype(np.float32))[:, ::-1]
    labels = rng.integers(0, CLASSES, (6, 9))
    votes = np.exp(cosine.astype(np.float64) / 0.07)
    wanted = np.stack([(votes * (labels == c)).sum(1) for c in range(CLASSES)], axis=1)
    got = knn.weighted_vote(jnp.asarray(cosine), jnp.asarray(labels), CLASSES)
    np.testing.assert_allclose(got, wanted / wanted.sum(1, keepdims=True), atol=1e-5)
    np.testing.assert_array_equal(knn.elected(got, jnp.asarray(labels)), wanted.argmax(1))
    half = knn.weighted_vote(jnp.ones((1, 2), jnp.float16), jnp.array([[0, 1]]), 2)
    assert half.tolist() == [[0.5, 0.5]]  # exp(1 / 0.07) overflows float16


def test_votes_with_few_and_with_many_neighbours():
    cosine, labels = jnp.array([[1.0, 0.9, 0.9, 0.9]]), jnp.array([[2, 1, 1, 0]])
    options = {"votes": ("weighted", "majority"), "numbers": (1, 2, 4)}
    shares, found = knn.elections(cosine, labels, 3, temperature=1.0, **options)
    assert shares.shape == (1, 2, 3, 3)
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-6)
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


def tiny(study, cache, **changes):
    config = config_of("knn")
    config.models, config.cache = (str(study / "tiny"),), str(cache)
    config.data.name, config.data.root = "image_folder", str(study / "data")
    config.knn.k, config.shard, config.statistics.resamples = (1, 4, 20), 4, 40
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config
