import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from rival_jax import fronts, models
from rival_jax.experiments.pareto import study
from rival_jax.images import Images, per_image
from rival_jax.named import Axis
from rival_jax.objectives import energy_swap, masktune, swapped
from rival_jax.report.results import Results
from rival_jax.report.study import Study
from rival_jax.runtime.results import read_rows
from tests import finetune_cases as cases
from tests.finetune_cases import run_in
from tests.helpers import config_of

CURES = ("last_layer", "robustvit", "tokencut")
SHARE = st.floats(-1, 1, width=32, allow_subnormal=False)  # which jax takes for 0
on_front = jax.jit(fronts.on_front)
within = jax.jit(inspect.unwrap(fronts.within))  # whose bound is a known number
POINTS = st.lists(st.tuples(*(SHARE,) * 2), min_size=1, max_size=8)


@settings(deadline=None, max_examples=40)
@given(POINTS)
def test_the_front_is_what_no_other_point_beats(points):
    price, gain = np.array(points, np.float32).T
    beaten = [any(c <= p and r >= g and (c < p or r > g) for c, r in points) for p, g in points]
    assert on_front(price, gain).tolist() == [not one for one in beaten]


@settings(deadline=None, max_examples=40)
@given(POINTS, SHARE)
def test_the_best_within_the_bound(points, bound):
    price, gain = np.array(points, np.float32).T
    worth = [(-g, i) for i, (p, g) in enumerate(points) if p <= bound and g > 0]
    place = int(within(price, gain, bound=bound))
    assert place == (min(worth)[1] if worth else -1)


def parts_of(values):
    """Two test sets of two classes; `values` by set: is point right [images, points]?"""
    names = [("original", 1.0), ("a", 1.0), ("a", 0.5), ("b", 1.0), ("b", 0.5)]
    axis = Axis(("variant", "alpha"), tuple(names[: values["first"].shape[1]]))
    parts = {}
    for test, right in values.items():
        images = Axis(("example",), tuple((f"{test}{i:03}",) for i in range(len(right))))
        hits = per_image(right.astype(float), (images, axis))
        labels = np.arange(len(right)) * 2 // len(right)
        parts[test] = Images({"correct": hits}, labels, ("x", "y")), hits
    return parts


CURE_POINTS = {"a": ["a"], "b": ["b"]}


def results_of(values):
    found, taken = study.chosen(parts_of(values), CURE_POINTS, 0.02)
    made = Study("pareto", (), (), study.gains)
    return made.results(found, ("first", "last"), resamples=50, seed=0), taken


def test_a_choice_is_not_judged_by_the_images_that_made_it():
    """Points that gain nothing: the best looks good on the images that chose it alone."""
    rng, chosen, judged = np.random.default_rng(0), [], []
    for _ in range(300):
        values = {test: rng.random((40, 5)) < 0.5 for test in ("first", "last")}
        parts = parts_of(values)
        found, _ = study.chosen(parts, {"a": ["a", "b"]}, 1.0)
        joined = np.asarray(found.values["joined"].values)[40:, 1]
        judged.append(np.diff(joined.mean(0))[0])
        level = values["last"].mean(0)
        chosen.append(level[1:].max() - level[0])
    assert np.mean(chosen) > 0.05
    assert abs(np.mean(judged)) < 4 * np.std(judged) / 300**0.5


def test_a_dear_setting_is_not_taken():
    def values(*levels):
        return np.arange(400)[:, None] * 7 % 100 < 100 * (0.5 + np.array([0.0, *levels]))

    dear = {"first": values(-0.2, -0.01, 0, -0.1), "last": values(0.3, 0.1, -0.1, 0)}
    found, taken = results_of(dear)
    assert taken == {"a": [("a", 0.5)] * 2, "b": [("original", 1.0)] * 2}
    for measure, value in (("gained", 0.1), ("lost", 0.01)):
        row = found.one(measure=measure, cure="a", contrast="")
        assert row["estimate"] == pytest.approx(value, abs=0.01)
        assert (row["images"], row["classes"]) == (400, 2)
        assert found.one(measure=measure, cure="b", contrast="")["estimate"] == 0
    pair = found.one(measure="gained", cure="b", contrast="minus a")
    assert pair["estimate"] == pytest.approx(-0.1, abs=0.01)
    cheap = {"first": values(-0.01, -0.2, 0, 0), "last": dear["last"]}
    found, taken = results_of(cheap)
    assert taken["a"] == [("a", 1.0)] * 2
    gained = found.one(measure="gained", cure="a", contrast="")
    assert gained["estimate"] == pytest.approx(0.3, abs=0.01)


def test_every_class_is_halved():
    images = Axis(("example",), tuple((f"{i}.png",) for i in range(11)))
    labels = np.array([0] * 6 + [1] * 5)
    found = Images({"correct": per_image(np.ones(11), (images,))}, labels, ("x", "y"))
    half = study.halves(found)
    assert [(half[labels == k] == 0).sum() for k in (0, 1)] == [3, 3]
    turned = Axis(("example",), images.keys[::-1])
    back = Images({"correct": per_image(np.ones(11), (turned,))}, labels[::-1], ("x", "y"))
    assert study.halves(back).tolist() == half[::-1].tolist()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = cases.make(tmp_path_factory.mktemp("pareto"))
    c = cases.config(folder)
    changed = config_of("pareto")
    changed.update({k: c[k] for k in ("models", "data", "shifted", "split", "noise", "cache")})
    changed.train, changed.tokencut.root = c.train, str(cases.draw_found(folder / "found"))
    changed.statistics.resamples, changed.variants = 40, CURES
    changed.settings = ("", "learning_rate=3e-2")
    changed.evaluate.alphas = (0.5,)
    return run_in(folder / "finished", changed)


@pytest.mark.whole
def test_one_command_says_which_cure(finished):
    found = Results.read(finished.path).where(study="pareto")
    for name in CURES:
        for measure in ("lost", "gained"):
            row = found.one(measure=measure, cure=name, contrast="")
            assert row["low"] <= row["estimate"] <= row["high"]
    exact, guessed = (read_rows(finished.path / "rows" / f"{n}_seed0")["iou"] for n in CURES[1:])
    assert not exact.equals(guessed)  # found masks beside exact ones
    text = (finished.path / "tables.md").read_text()
    for title in ("Best setting within the bound", "Every setting, points", "RobustViT's rule"):
        assert title in text
    assert (finished.path / "figures" / "front.csv").is_file()


@pytest.mark.whole
def test_only_the_last_layer_is_trained(finished):
    cards = {card["name"]: card for card in finished.read_json("networks.json")}
    _, before = models.load(finished.config["models"][0])
    for name, few in (("last_layer_seed0", True), ("robustvit_seed0", False)):
        _, after = models.load(cards[name]["last"])
        pairs = zip(
            jax.tree.leaves_with_path(before["params"]),
            jax.tree.leaves(after["params"]),
            strict=True,
        )
        moved = {p[0].key for (p, a), b in pairs if not np.array_equal(a, b)}
        assert (moved == {"head"}) == few


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return models.load(str(cases.save_one_block(tmp_path_factory.mktemp("net") / "tiny")))


def batch_of(key=0):
    keys = jax.random.split(jax.random.key(key), 4)
    image, other = (jax.random.uniform(k, (3, 16, 16, 3)) for k in keys[:2])
    mask, other_mask = (
        (jax.random.uniform(k, (3, 16, 16)) > 0.5).astype(jnp.float32) for k in keys[2:]
    )
    told = {"image": image, "mask": mask, "label": jnp.array([0, 1, 2])}
    told |= {"other_image": other, "other_mask": other_mask}
    return told | {"outputs": jnp.tile(jnp.array([0, 1]), (3, 1))}


def test_swapped_is_the_term_of_energy_swap(tiny):
    model, variables = tiny
    batch = batch_of() | {"label": jnp.array([0, 1, 1])}
    before = {**variables, "original": variables["params"]}
    whole = jax.jit(lambda v: energy_swap.terms(model, v, batch)["swapped"])(before)
    found = jax.jit(lambda v: swapped.terms(model, v, batch))(variables)
    np.testing.assert_allclose(found["total"], whole, rtol=1e-5)


def test_masktune_hides_what_the_original_relied_on(tiny):
    model, variables = tiny
    given, batch = {**variables, "original": variables["params"]}, batch_of()
    run = jax.jit(
        lambda given, batch, d: masktune.terms(
            model, given, batch, method="relevance", deviations=d
        )["total"]
    )
    forward = jax.jit(model.forward)
    logits, _ = forward(variables, batch["image"], {})
    plain = -special.log_softmax(logits, axis=1)[np.arange(3), batch["label"]]
    np.testing.assert_allclose(run(given, batch, 100.0), plain, rtol=1e-4)
    everything, _ = forward(
        variables, np.broadcast_to(np.float32(model.mean), batch["image"].shape), {}
    )
    hidden = -special.log_softmax(everything, axis=1)[np.arange(3), batch["label"]]
    np.testing.assert_allclose(run(given, batch, -100.0), hidden, rtol=1e-4)
    assert not np.allclose(run(given, batch, 1.0), plain, rtol=1e-3)
    # Where the training has moved the network, the original's map still decides.
    shaken = jax.tree.map(lambda x: np.asarray(x) + np.float32(0.1), variables["params"])
    moved = {**variables, "params": shaken, "original": variables["params"]}
    swapped_roles = {**variables, "params": shaken, "original": shaken}
    assert not np.allclose(run(moved, batch, 1.0), run(swapped_roles, batch, 1.0), rtol=1e-4)
    with pytest.raises(ValueError, match="needs original"):
        masktune.terms(model, variables, batch)
