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
NUMBERS = {"background_weight": np.float32([2.0])}


def terms(model, variables, batch, numbers):
    return robustvit.terms(model, variables, batch, **numbers)


@functools.cache
def trained(devices=1, sharding="replicated", **changes):
    """Some updates: weights before and after, losses, the program's memory, parts on a device."""
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
    weights = jax.tree.map(lambda leaf: leaf[0], whole(state["params"]))
    shares.append(share(end_epoch("later", mesh, sharding, state, np.float32([1.0]))))
    memory = program.memory_analysis().temp_size_in_bytes
    return variables["params"], weights, np.array(losses), memory, shares


def share(state):
    """How much of weights and moments lies on one device."""
    leaves = jax.tree.leaves([state["params"], state["moments"], state["best"]])
    here = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
    return here / sum(leaf.nbytes for leaf in leaves)


def moved(one, other, keys=False):
    """The largest difference of a weight: of the biases of attention keys, or of all others.

    A bias of all keys alike changes no attention. Its gradient is rounding about 0, of which Adam
    makes steps of its usual size.
    """
    most = 0.0
    for (path, a), b in zip(
        jax.tree_util.tree_flatten_with_path(one)[0], jax.tree.leaves(other), strict=True
    ):
        gap = np.abs(np.asarray(a) - np.asarray(b))
        if jax.tree_util.keystr(path).endswith("['qkv']['bias']"):
            parts = gap.reshape(3, -1)
            gap = parts[1] if keys else parts[[0, 2]]
        elif keys:
            continue
        most = max(most, float(gap.max()))
    return most


@pytest.mark.parametrize(
    ("changes", "devices"),
    [({"accumulate": 4}, 1), ({"remat": "dots"}, 1), ({"sharding": "fsdp"}, 4)],
)
def test_parts_remat_devices_and_sharding_change_nothing(changes, devices):
    before, plain, losses, _, _ = trained()
    assert moved(plain, before) > 2 * RATE
    _, found, others, _, _ = trained(devices, **changes)
    assert moved(found, plain) < 5e-6
    assert moved(found, plain, keys=True) < STEPS * RATE
    np.testing.assert_allclose(others, losses, rtol=1e-5)


def test_bfloat16_trains_float32_weights():
    _, plain, losses, _, _ = trained()
    _, found, others, _, _ = trained(dtype="bfloat16")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {"float32"}
    assert 1e-5 < moved(found, plain) < 2 * STEPS * RATE
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
