import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rival_jax.runtime import parallel
from rival_jax.runtime.members import Member, Watch
from rival_jax.runtime.signals import EXIT_INTERRUPTED, Caught, Interrupted, ending
from rival_jax.runtime.update import Recipe, arranged, begin, compiled
from tests import training_cases as cases
from tests.training_cases import RECIPE, TERMS, VARIABLES, fit, members

ONE = parallel.data_mesh(jax.devices()[:1])


def given_gradient(variables, batch, numbers):
    total = jnp.asarray(batch["image"]).reshape(1, -1) @ variables["params"]["w"]
    return {"total": total}


def test_adamw_is_the_released_one(shared):
    with np.load(shared / "golden" / "robustvit" / "adamw_unit.npz") as stored:
        start, gradients, after = (stored[name] for name in ("start", "gradients", "after"))
    recipe = Recipe(batch_size=1, weight_decay=1e-4)
    variables = {"params": {"w": start}}
    state = begin(recipe, variables, ["total"], 1, ONE)
    update = compiled(parallel.Bound(given_gradient, ()), recipe, ONE, 1)
    for gradient, expected in zip(gradients, after, strict=True):
        batch = {"image": gradient[None, None, None], "index": np.zeros((1, 1, 1), np.int32)}
        state, seen = update(state, {}, batch, np.float32([0.003]), {})
        np.testing.assert_allclose(state["params"]["w"][0], expected, rtol=2e-6, atol=2e-7)
        np.testing.assert_allclose(seen["gradient"], [[np.linalg.norm(gradient)]], rtol=1e-6)


def test_the_rate_falls_as_released(shared, tmp_path):
    with np.load(shared / "golden" / "robustvit" / "lr_schedule.npz") as stored:
        epochs, rates = stored["epoch"], stored["lr"]
    assert epochs.tolist() == list(range(50))
    assert [Recipe().rate(3e-6, epoch) for epoch in range(50)] == pytest.approx(rates, rel=1e-12)
    (trained,) = fit(tmp_path, who=members(0, rate=3e-6))  # its weights: the plain loop, below
    used = [entry["learning_rate"] for entry in trained.history[1:]]
    assert used == pytest.approx(rates[:4], rel=1e-12)


def test_a_plain_loop_gives_the_same(tmp_path):
    """Written again with optax.adamw, whole batches and no masks of padding."""
    (got,) = fit(tmp_path, mesh=ONE)
    params = jax.tree.map(jnp.asarray, VARIABLES["params"])
    rate = optax.piecewise_constant_schedule(0.03, {2 * 3: 0.85})
    rule = optax.adamw(rate, weight_decay=RECIPE.weight_decay)
    state, examples, losses = rule.init(params), cases.drawn(0), []
    step = jax.jit(rule.update)

    @jax.jit
    def loss(params, batch):
        return TERMS({"params": params}, batch, {"weight": 0.01})["total"].mean()

    slope = jax.jit(jax.grad(loss))

    for epoch in range(4):
        order = np.random.default_rng([0, epoch]).permutation(cases.EXAMPLES)
        for start in range(0, cases.EXAMPLES, 8):
            batch = {k: v[order[start : start + 8]] for k, v in examples.items()}
            update, state = step(slope(params, batch), state, params)
            params = optax.apply_updates(params, update)
        losses.append(float(loss(params, cases.drawn(100))))
    for name in params:
        np.testing.assert_allclose(got.last["params"][name], params[name], atol=2e-6)
    assert [entry["epoch"] for entry in got.history] == [-1, 0, 1, 2, 3]
    found = [entry["held_out"]["total"] for entry in got.history]
    np.testing.assert_allclose(found[1:], losses, rtol=1e-5)
    assert [entry["best"] for entry in got.history].index(True) == 1 + int(np.argmin(losses))


@pytest.mark.parametrize(
    ("change", "devices"),
    [({"accumulate": 4}, 1), ({"remat": "dots"}, 1), ({}, 3), ({"accumulate": 2}, 4)],
)
def test_parts_remat_and_devices_change_nothing(tmp_path, change, devices):
    (want,) = fit(tmp_path / "plain", mesh=ONE)
    mesh = parallel.data_mesh(jax.devices()[:devices])
    recipe = dataclasses.replace(RECIPE, **change)
    (got,) = fit(tmp_path / "other", recipe=recipe, mesh=mesh)
    for a, b in zip(jax.tree.leaves(want.last), jax.tree.leaves(got.last), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
    trained = [entry["train"]["total"] for entry in want.history[1:]]
    assert trained == pytest.approx([e["train"]["total"] for e in got.history[1:]], rel=1e-5)


def test_trainings_side_by_side_are_those_one_by_one(tmp_path):
    who = [*members(0, 1), Member("steep", 0, 0.1, {"weight": 0.5})]
    together = fit(tmp_path / "all", who=who)
    for place, member in enumerate(who):
        (alone,) = fit(tmp_path / member.name, who=[member])
        for a, b in zip(
            jax.tree.leaves(alone.best), jax.tree.leaves(together[place].best), strict=True
        ):
            np.testing.assert_allclose(a, b, atol=2e-6)
    last = [one.last["params"]["kernel"] for one in together]
    assert np.abs(last[0] - last[1]).max() > 0.01
    assert np.abs(last[0] - last[2]).max() > 0.01


def test_bfloat16_computes_in_it_and_keeps_float32_weights(tmp_path):
    (want,) = fit(tmp_path / "float32")
    (got,) = fit(tmp_path / "bfloat16", recipe=dataclasses.replace(RECIPE, dtype="bfloat16"))
    a, b = (np.asarray(one.last["params"]["kernel"]) for one in (want, got))
    assert b.dtype == np.float32
    assert 1e-5 < np.abs(a - b).max() < 0.05


def test_decay_can_spare_what_is_no_matrix(tmp_path):
    variables = {"params": {**VARIABLES["params"], "bias": np.ones(3, np.float32)}}
    recipe = dataclasses.replace(RECIPE, weight_decay=5.0, decayed="kernels")
    (spared,) = fit(tmp_path / "spared", recipe=recipe, variables=variables)
    (decayed,) = fit(
        tmp_path / "decayed", recipe=dataclasses.replace(recipe, decayed="all"), variables=variables
    )
    assert spared.last["params"]["bias"].mean() > 0.5 + decayed.last["params"]["bias"].mean()


def test_the_rest_can_be_held(tmp_path):
    variables = {"params": {**VARIABLES["params"], "bias": np.ones(3, np.float32)}}
    recipe = dataclasses.replace(RECIPE, trained="^ker", weight_decay=0.1)
    (found,) = fit(tmp_path / "held", recipe=recipe, variables=variables)
    np.testing.assert_array_equal(found.last["params"]["bias"], 1)
    assert np.abs(found.last["params"]["kernel"] - variables["params"]["kernel"]).max() > 1e-3
    with pytest.raises(ValueError, match=r"trained='attn' names no parameter; .*bias, kernel"):
        fit(tmp_path / "none", recipe=dataclasses.replace(RECIPE, trained="attn"))


def flat(variables, batch, numbers):
    zero = 0 * variables["params"]["bias"].sum()
    return {"total": zero + jnp.zeros(len(batch["label"]))}


@pytest.mark.parametrize(("ties", "epoch"), [("later", 3), ("earlier", 0)])
def test_ties_have_a_rule(tmp_path, ties, epoch):
    recipe = dataclasses.replace(RECIPE, ties=ties)
    (got,) = fit(tmp_path, recipe=recipe, terms=parallel.Bound(flat, ()))
    assert [entry["epoch"] for entry in got.history if entry["best"]] == [epoch]


def test_best_and_last_are_told_apart(tmp_path):
    (got,) = fit(tmp_path, who=members(0, rate=1.5))
    best = next(entry for entry in got.history if entry["best"])
    assert best["epoch"] < 3
    rows = cases.drawn(100)
    for variables, entry in ((got.best, best), (got.last, got.history[-1])):
        loss = jax.jit(lambda v: TERMS(v, rows, {"weight": 0.01})["total"].mean())(variables)
        assert float(loss) == pytest.approx(entry["held_out"]["total"], rel=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_stops_with_its_batch(tmp_path, bad):
    def change(batch):
        if 13 in batch["index"]:
            batch["image"][list(batch["index"]).index(13)] = bad
        return batch

    data = cases.data(change=change)
    with pytest.raises(ValueError, match=r"linear_0: the term 'loss' of seed0/13 is not finite at"):
        fit(tmp_path, data=data, who=members(0), seconds=0.0)
    (file,) = tmp_path.glob("not_finite_linear_0_step*.npz")
    with np.load(file) as saved:
        row = saved["names"].tolist().index("seed0/13")
        assert not np.isfinite(saved["image"][row]).any()
        assert saved["image"].shape == (8, 4, 4, 3)
        assert saved["mask"].shape == (8, 4, 4)
        assert not np.isfinite(saved["term_loss"][row])
        assert saved["label"][row] == cases.drawn(0)["label"][13]


def test_weights_that_blow_up_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"not finite at step|of the held-out images is"):
        fit(tmp_path, who=members(0, rate=1e38))


def test_a_signal_saves_stops_and_goes_on(tmp_path):
    (want,) = fit(tmp_path / "undisturbed")
    told = []

    def on_step(images):
        told.append(images)
        if len(told) == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    says = []
    with pytest.raises(Interrupted) as stopped:
        fit(tmp_path / "stopped", watch=Watch(on_step=on_step, say=says.append))
    assert stopped.value.code == EXIT_INTERRUPTED == 75
    assert says == ["SIGTERM after step 6 of 12: the state is saved"]
    (got,) = fit(tmp_path / "stopped")
    assert got.history == want.history
    for a, b in zip(jax.tree.leaves(want.last), jax.tree.leaves(got.last), strict=True):
        np.testing.assert_array_equal(a, b)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_at_the_end_is_heard(tmp_path):
    """In the last epoch the state is saved; later, the program ends where it is."""

    def stop(entry):
        if entry["epoch"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        fit(tmp_path, watch=Watch(on_epoch=stop, say=lambda text: None))
    steps = []
    (got,) = fit(tmp_path, watch=Watch(on_step=steps.append))
    assert len(steps) == 1  # all that were done before
    assert len(got.history) == 5
    with pytest.raises(Interrupted), ending(), Caught():
        os.kill(os.getpid(), signal.SIGINT)


def script(folder: Path, seconds: float):
    command = [sys.executable, "-m", "tests.training_cases", str(folder), str(seconds)]
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True
    )


def saved(trained, folder: Path):
    """All that must not depend on interruptions."""
    for place, one in enumerate(trained):
        cases.save(one, folder / f"{place}.npz")
    return [dict(np.load(folder / f"{place}.npz")) for place in range(len(trained))]


@pytest.mark.whole
def test_killed_and_restarted_gives_the_same_bits(tmp_path):
    whole = fit(tmp_path / "whole", who=members(0, 1))
    killed, rng = tmp_path / "killed", np.random.default_rng()
    for number, wanted in ((signal.SIGKILL, -9), (signal.SIGTERM, EXIT_INTERRUPTED)):
        with script(killed, 0.1) as process:
            for _ in range(int(rng.integers(1, 6))):
                assert process.stdout.readline() == "step\n"
            process.send_signal(number)
            rest, _ = process.communicate()
            assert process.returncode == wanted, rest
    steps = []
    again = fit(killed / "work", who=members(0, 1), watch=Watch(on_step=steps.append))
    assert len(steps) < 12  # from what the last one saved
    for got, want in zip(saved(again, killed), saved(whole, tmp_path), strict=True):
        assert got.keys() == want.keys()
        for name in want:
            np.testing.assert_array_equal(got[name], want[name])


def test_a_state_of_another_training_is_refused(tmp_path):
    def stop(entry):
        if entry["epoch"] == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        fit(tmp_path, watch=Watch(on_epoch=stop, say=lambda text: None))
    with pytest.raises(ValueError, match=r"another training .*model: 'linear' there, 'cubic' now"):
        fit(tmp_path, about={"model": "cubic"})
    with pytest.raises(ValueError, match=r"another training .*recipe: "):
        fit(tmp_path, recipe=dataclasses.replace(RECIPE, epochs=9))
    wider = {"params": {"kernel": np.zeros((48, 5), np.float32), "bias": np.zeros(5, np.float32)}}
    with pytest.raises(ValueError, match=r"another architecture: .*\(1, 3\), expected \(1, 5\)"):
        fit(tmp_path, variables=wider)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"dtype": "float16"}, "dtype got 'float16', expected one of float32, bfloat16"),
        ({"accumulate": 3}, "accumulate 3 does not divide batch_size 8"),
        ({"epochs": 0}, "epochs got 0, expected at least 1"),
        ({"ties": "both"}, "ties got 'both'"),
        ({"trained": "("}, "trained got '[(]', no regular expression"),
    ],
)
def test_recipes_without_a_meaning_are_refused(values, text):
    with pytest.raises(ValueError, match=text):
        Recipe(**values)


def test_batches_are_arranged_for_parts_and_devices():
    batch = {k: v[:6] for k, v in cases.drawn(0).items()}
    found = arranged([batch, batch], 2, 2)
    assert found["image"].shape == (2, 2, 4, 4, 4, 3)
    assert found["index"].tolist() == [[[0, 1, 2, 3], [4, 5, -1, -1]]] * 2
