"""Updates of a network of the package, with the objective they are made for."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from rival_jax.models import vit
from rival_jax.objectives import robustvit
from rival_jax.runtime import parallel
from rival_jax.runtime.placement import spread, whole
from rival_jax.runtime.update import Recipe, arranged, begin, compiled, end_epoch
from tests import training_cases as cases

SIDE, STEPS, RATE = 16, 4, 1e-3
RECIPE = Recipe(batch_size=8, weight_decay=0.1)
MODEL = vit.build(
    name="small", image_size=(SIDE, SIDE), num_classes=3, patch_size=4, width=32, depth=2, heads=2
)
KEPT = ("params", "moments")
NUMBERS = {"background_weight": np.float32([2.0])}


def terms(model, variables, batch, numbers):
    return robustvit.terms(model, variables, batch, **numbers)


@functools.cache
def trained(devices=1, sharding="replicated", **changes):
    """Some updates: weights before, state after, losses, program's memory, parts on a device."""
    recipe = dataclasses.replace(RECIPE, **changes)
    mesh = parallel.data_mesh(jax.devices()[:devices])
    variables = jax.jit(MODEL.init)(jax.random.key(0))
    state = begin(recipe, variables, ["total"], 1, mesh, sharding)
    shares = [share(state)]
    rows = {name: value[:8] for name, value in cases.drawn(0, side=SIDE).items()}
    batch = spread(arranged([rows], recipe.accumulate, devices), mesh, 2)
    given = ({}, batch, np.float32([RATE]), NUMBERS)
    function = compiled(parallel.Bound(terms, (MODEL,)), recipe, mesh, 1, sharding)
    program = function.lower(state, *given).compile()
    losses = []
    for _ in range(STEPS):
        state, seen = program(state, *given)
        losses.append(whole(seen)["total"].mean())
    shares.append(share(state))
    after = {key: jax.tree.map(lambda leaf: leaf[0], whole(state[key])) for key in KEPT}
    shares.append(share(end_epoch("later", mesh, sharding, state, np.float32([1.0]))))
    memory = program.memory_analysis().temp_size_in_bytes
    return variables["params"], after, np.array(losses), memory, shares


def share(state):
    """How much of weights and moments lies on one device."""
    leaves = jax.tree.leaves([state["params"], state["moments"], state["best"]])
    here = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
    return here / sum(leaf.nbytes for leaf in leaves)


def gaps(one, other):
    """Of every weight but the biases of attention keys, and of those; flat.

    A bias of all keys alike changes no attention. Its gradient is rounding about 0, of which Adam
    makes steps of its usual size.
    """
    found, keys = [], []
    for (path, a), b in zip(
        jax.tree_util.tree_flatten_with_path(one)[0], jax.tree.leaves(other), strict=True
    ):
        gap = np.abs(np.asarray(a) - np.asarray(b)).ravel()
        if jax.tree_util.keystr(path).endswith("['qkv']['bias']"):
            query, key, value = gap.reshape(3, -1)
            gap = np.concatenate([query, value])
            keys.append(key)
        found.append(gap)
    return np.concatenate(found), np.concatenate(keys)


@pytest.mark.parametrize(
    ("changes", "devices"),
    [({"accumulate": 4}, 1), ({"remat": "dots"}, 1), ({"sharding": "fsdp"}, 4)],
)
def test_parts_remat_devices_and_sharding_change_nothing(changes, devices):
    """Gradients, as Adam averages them, and with them the weights.

    Adam divides a gradient by its own size. Where that is near 0 (1e-8 beside the largest, 0.3, for
    one weight of these) rounding decides the step, so weights are compared by their share; in
    float64 none of them differs by more than 2e-15.
    """
    before, plain, losses, _, _ = trained()
    assert gaps(plain["params"], before)[0].max() > 2 * RATE
    _, found, others, _, _ = trained(devices, **changes)
    (adam, *_), (same, *_) = plain["moments"], found["moments"]
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(adam.mu))
    assert gaps(same.mu, adam.mu)[0].max() < 1e-6 * largest
    weights, keys = gaps(found["params"], plain["params"])
    assert (weights < 1e-6).mean() > 0.999
    assert weights.max() < RATE
    assert keys.max() < STEPS * RATE
    np.testing.assert_allclose(others, losses, rtol=1e-5)


def test_bfloat16_trains_float32_weights():
    _, plain, losses, _, _ = trained()
    _, found, others, _, _ = trained(dtype="bfloat16")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found["params"])} == {"float32"}
    assert 1e-5 < gaps(found["params"], plain["params"])[0].max() < 2 * STEPS * RATE
    assert 1e-5 < np.abs(others - losses).max() < 0.02
    assert others[-1] < others[0] - 0.005


def test_parts_and_remat_need_less_memory():
    """Of the program's working memory, as its compiler counts it."""
    memory = trained()[3]
    assert trained(accumulate=4)[3] < 0.6 * memory
    assert trained(remat="dots")[3] < 0.97 * memory


def test_sharded_weights_and_moments_stay_cut():
    """Each device has a quarter of nearly all: at first, after updates, after an epoch."""
    assert max(trained(4, sharding="fsdp")[4]) < 0.26
    assert trained()[4] == [1, 1, 1]
