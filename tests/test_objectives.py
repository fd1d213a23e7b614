"""Objectives of finetuning: finite differences, one forward pass, and what options mean."""

from __future__ import annotations

import functools
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rival_jax import objectives, saliency, taps
from rival_jax.models import vit
from rival_jax.objectives import energy_swap
from rival_jax.runtime.plugins import plugin
from tests.helpers import QUICKLY
from tests.test_models import (
    ONE_BLOCK,
    SMALL_VIT,
    VARIANTS,
    forward,
    random_images,
    random_variables,
)

NAMES = sorted(
    module.name
    for module in pkgutil.iter_modules(objectives.__path__)
    if not module.name.startswith("_")
)
TERMS = {
    "cross_entropy": {"total", "correct"},
    "energy": {"energy", "classification", "total", "correct"},
    "energy_swap": {"energy", "kept", "swapped", "total", "correct"},
    "gradmask": {"relevance", "classification", "total", "correct"},
    "masktune": {"total", "correct"},
    "rrr": {"relevance", "classification", "total", "correct"},
    "robustvit": {"background", "foreground", "classification", "total", "correct"},
    "swapped": {"total", "correct"},
}
# Only relevance goes through several blocks at once: of the rest one is compiled in half the time.
MODELS = dict.fromkeys(NAMES, ONE_BLOCK["vit"]) | {"robustvit": VARIANTS["vit"]}
# Given always, so that all tests of it have one program.
NUMBERS = {
    "robustvit": {"temperature": 1.0, "foreground_weight": 0.3, "classification_weight": 0.2}
}
METHODS = {
    "attention_gradcam": (ONE_BLOCK["vit"], True),
    "rollout": (VARIANTS["vit"], False),
    "raw_attention": (ONE_BLOCK["vit"], False),
    "lrp": (ONE_BLOCK["vit"], True),
    "partial_lrp": (ONE_BLOCK["vit"], False),
    "full_lrp": (ONE_BLOCK["vit"], False),
}  # a network, and whether derivatives flow through gradients
SWITCHES = ("through_grads", "method", "border", "explained", "target")


def batch_of(model, dtype="float32", n=3):
    """Images, soft masks and labels; other images and masks, and outputs that are trained on."""
    rng = np.random.default_rng(3)
    mask = lambda: np.clip(rng.random((n, *model.image_size)) * 1.6 - 0.3, 0, 1)  # noqa: E731
    batch = {
        "image": random_images(model, n, dtype),
        "mask": jnp.asarray(mask(), dtype),
        "label": jnp.asarray(rng.integers(0, 3, n), jnp.int32),
    }
    return {
        **batch,
        "other_image": 1 - batch["image"],
        "other_mask": jnp.asarray(mask(), dtype),
        "outputs": jnp.asarray(np.tile([0, 2], (n, 1)), jnp.int32),
    }


def with_original(model, variables, dtype="float32"):
    """Variables with other weights, as those of before the training."""
    original = jax.tree.map(lambda leaf: 0.9 * leaf, random_variables(model, dtype)["params"])
    return {**variables, "original": original}


def mean_total(name, model, variables, batch, **options):
    return plugin("objectives", name).terms(model, variables, batch, **options)["total"].mean()


@functools.partial(QUICKLY, static_argnums=(0, 1), static_argnames=SWITCHES)
def terms_and_gradient(name, model, variables, batch, **options):
    """Terms of every example, and the gradient of the mean total to the parameters."""

    def total(params):
        given = {**variables, "params": params}
        found = plugin("objectives", name).terms(model, given, batch, **options)
        return found["total"].mean(), found

    gradient, found = jax.grad(total, has_aux=True)(variables["params"])
    return found, gradient


@pytest.mark.parametrize(
    ("name", "model", "options"),
    [
        ("robustvit", ONE_BLOCK["vit"], {}),
        ("robustvit", ONE_BLOCK["registers"], {"explained": "prediction", "target": "label"}),
        ("energy", VARIANTS["vit"], {"method": "relevance"}),
        ("robustvit", ONE_BLOCK["vit"], {"method": "lrp"}),
        ("energy_swap", ONE_BLOCK["registers"], {"temperature": 2.0, "border": "rebinarised"}),
        ("gradmask", ONE_BLOCK["vit"], {"border": "released"}),
        ("rrr", ONE_BLOCK["distilled"], {"border": "rebinarised"}),
    ],
    ids=["robustvit", "prediction", "energy", "lrp", "energy_swap", "gradmask", "rrr"],
)
def test_gradients_are_finite_differences(name, model, options):
    """In float64, along one direction through all parameters; held constant, they are not."""
    with jax.enable_x64(True):
        variables, batch = random_variables(model, "float64"), batch_of(model, "float64")
        variables = with_original(model, variables, "float64")
        draw = np.random.default_rng(4).normal
        direction = jax.tree.map(lambda leaf: draw(size=leaf.shape), variables["params"])

        def both(step, through_grads):
            """The mean total, and how fast it grows along the direction."""
            moved = jax.tree.map(lambda p, d: p + step * d, variables["params"], direction)
            given = (name, model, {**variables, "params": moved}, batch)
            found, gradient = terms_and_gradient(*given, through_grads=through_grads, **options)
            slopes = jax.tree.map(lambda g, d: (np.asarray(g) * d).sum(), gradient, direction)
            assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype("float64")}
            return np.mean(found["total"]), sum(jax.tree.leaves(slopes))

        values = [both(step, through_grads=True)[0] for step in (1e-6, -1e-6)]
        expected = (values[0] - values[1]) / 2e-6
        got = both(0.0, through_grads=True)[1]
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        if not options:
            value, constant = both(0.0, through_grads=False)
            np.testing.assert_allclose(value, np.mean(values), rtol=1e-6)
            assert abs(constant / expected - 1) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_every_objective_in_float32(name):
    """Terms of every example, finite gradients; an example's terms are its own alone."""
    model = MODELS[name]
    variables, batch = with_original(model, random_variables(model)), batch_of(model)
    everything = functools.partial(terms_and_gradient, name, model, **NUMBERS.get(name, {}))
    found, gradient = everything(variables, batch)
    assert found.keys() == TERMS[name]
    if name == "energy":
        expected = 4 * found["energy"] + 0.2 * found["classification"]
        np.testing.assert_allclose(found["total"], expected, rtol=1e-5)
    assert all(value.shape == (3,) for value in found.values())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((found, gradient)))
    assert any((leaf != 0).any() for leaf in jax.tree.leaves(gradient))
    others, _ = everything(variables, jax.tree.map(lambda leaf: leaf[::-1], batch))
    for term, value in found.items():
        np.testing.assert_allclose(others[term][::-1], value, rtol=1e-4, err_msg=term)


def test_a_step_has_one_forward_pass():
    """Multiply-adds, in forward passes: with another one there would be one more."""
    model = vit.build(**{**SMALL_VIT, "image_size": (32, 32), "width": 32, "depth": 3})
    variables, batch = random_variables(model), batch_of(model)

    def flops(function):
        return jax.jit(function).lower(variables, batch).cost_analysis()["flops"]

    once = flops(lambda v, batch: model.forward(v, batch["image"], {})[0])

    def step(through_grads):
        options = {"through_grads": through_grads}
        return jax.grad(lambda v, batch: mean_total("robustvit", model, v, batch, **options))

    first, second = flops(step(False)), flops(step(True))
    assert first / once < 4.7  # forward, back to every block's attention, to the parameters
    assert second / first < 2


def test_the_input_gradient_is_of_the_normalised_image():
    """A network that normalises its input has the terms of one that is given it normalised."""
    inner = ONE_BLOCK["vit"]
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)
    outer = vit.build(**{**SMALL_VIT, "depth": 1}, mean=mean, std=std)
    variables, batch = random_variables(inner), batch_of(inner)
    normalised = {**batch, "image": (batch["image"] - jnp.array(mean)) / jnp.array(std)}

    @functools.partial(QUICKLY, static_argnums=0)
    def both(model, batch):
        terms = [plugin("objectives", name).terms for name in ("gradmask", "rrr")]
        return [term(model, variables, batch)["relevance"] for term in terms]

    for got, expected in zip(both(outer, batch), both(inner, normalised), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4)


@pytest.mark.parametrize("through_grads", [False, True])
def test_a_network_that_looks_nowhere_has_a_finite_gradient(through_grads):
    """A head of zeros: no logit depends on the image, the map is flat, and no loss is NaN."""
    model = ONE_BLOCK["vit"] if through_grads else MODELS["robustvit"]
    variables, batch = with_original(model, random_variables(model)), batch_of(model)
    head = jax.tree.map(jnp.zeros_like, variables["params"]["head"])
    variables["params"] = {**variables["params"], "head": head}
    options = {"through_grads": True} if through_grads else NUMBERS["robustvit"]
    found, gradient = terms_and_gradient("robustvit", model, variables, batch, **options)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((found, gradient)))
    np.testing.assert_allclose(found["background"], 0)


@pytest.mark.parametrize("method", METHODS)
def test_other_methods_make_the_map_by_name(method):
    """Their map, at the image's size, goes through the same losses, and is trained."""
    model, through_grads = METHODS[method]
    variables, batch = random_variables(model), batch_of(model)
    options = {"method": method, "through_grads": through_grads, "classification_weight": 0.0}

    @QUICKLY
    def everything(variables):
        total = lambda v: mean_total("robustvit", model, v, batch, **options)  # noqa: E731
        score = taps.class_score(batch["label"])
        explained = saliency.explain(method, model, variables, batch["image"], score)
        return jax.value_and_grad(total)(variables), explained

    (total, gradient), explained = everything(variables)
    outside, inside = (explained * (1 - batch["mask"])) ** 2, (1 - explained) ** 2
    assert (explained != 0).any()
    wanted = 0.8 * (2 * outside + 0.3 * inside * batch["mask"] ** 2).mean()
    np.testing.assert_allclose(total, wanted, rtol=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert any((leaf != 0).any() for leaf in jax.tree.leaves(gradient))


def test_one_program_for_many_weights_and_temperatures():
    model = MODELS["robustvit"]
    variables, batch = with_original(model, random_variables(model)), batch_of(model)
    settings = {
        "temperature": jnp.array([1.0, 0.55, 2.0]),
        "foreground_weight": jnp.array([0.3, 0.0, 1.0]),
        "classification_weight": jnp.array([0.2, 0.2, 0.0]),
    }
    total = lambda numbers: mean_total("robustvit", model, variables, batch, **numbers)  # noqa: E731
    for i, value in enumerate(QUICKLY(jax.vmap(total))(settings)):
        numbers = {key: float(values[i]) for key, values in settings.items()}
        alone, _ = terms_and_gradient("robustvit", model, variables, batch, **numbers)
        np.testing.assert_allclose(value, alone["total"].mean(), rtol=1e-5)


def test_what_cannot_be_asked_for():
    model = VARIANTS["vit"]
    given = (model, random_variables(model), batch_of(model))
    terms = plugin("objectives", "robustvit").terms
    with pytest.raises(ValueError, match="gradcam cannot hold its gradients constant; set"):
        terms(*given, method="gradcam")
    with pytest.raises(ValueError, match="saliency: no 'relevence'; did you mean 'relevance'"):
        terms(*given, method="relevence")
    with pytest.raises(ValueError, match="target='truth'; expected one of"):
        terms(*given, target="truth")
    with pytest.raises(ValueError, match="explained='top'; expected one of"):
        terms(*given, explained="top")
    bare = {key: given[2][key] for key in ("image", "label")}
    with pytest.raises(ValueError, match="variables: got params; this objective needs original"):
        energy_swap.terms(*given)
    with pytest.raises(ValueError, match="batch: got image, label; this objective needs mask too"):
        terms(*given[:2], bare)
    resnet = VARIANTS["resnet"]
    given = (resnet, random_variables(resnet), batch_of(resnet))
    with pytest.raises(ValueError, match="has no attention to explain it with"):
        terms(*given)


def test_energy_swap_is_made_of_what_it_says():
    """Energies of photo and exchanged photo, the divergence from before, the loss among few."""
    model = MODELS["energy_swap"]
    variables, batch = with_original(model, random_variables(model)), batch_of(model)
    swapped = {
        **batch,
        "image": energy_swap.on_background(
            *(batch[name] for name in ("image", "mask", "other_image", "other_mask"))
        ),
    }

    found, _ = terms_and_gradient("energy_swap", model, variables, batch)
    one, other = (
        terms_and_gradient("energy", model, variables, b)[0]["energy"] for b in (batch, swapped)
    )
    now, before, on_other = (
        forward(model.forward, {"params": variables[kind]}, b["image"], {})[0]
        for kind, b in (("params", batch), ("original", batch), ("params", swapped))
    )
    np.testing.assert_allclose(found["energy"], (one + other) / 2, rtol=1e-4)
    now, before, on_other = (np.asarray(one, np.float64) for one in (now, before, on_other))
    log_now, log_before = (one - np.log(np.exp(one).sum(1, keepdims=True)) for one in (now, before))
    expected = (np.exp(log_before) * (log_before - log_now)).sum(1)
    np.testing.assert_allclose(found["kept"], expected, rtol=1e-3, atol=1e-6)
    for i, label in enumerate(np.asarray(batch["label"])):
        among = on_other[i, sorted({0, 2, int(label)})]
        expected = np.log(np.exp(among).sum()) - on_other[i, label]
        np.testing.assert_allclose(found["swapped"][i], expected, rtol=1e-4)
    expected = 8 * found["energy"] + found["kept"] + found["swapped"]
    np.testing.assert_allclose(found["total"], expected, rtol=1e-5)


def test_energy_swap_keeps_the_network_at_first():
    """Before the first step nothing has moved; no class without masks is pushed down."""
    model = MODELS["energy_swap"]
    variables, batch = random_variables(model), batch_of(model)
    variables = {**variables, "original": variables["params"]}
    batch["label"] = batch["label"] * 0  # of 0 and 2 alone
    found, gradient = terms_and_gradient("energy_swap", model, variables, batch)
    np.testing.assert_allclose(found["kept"], 0, atol=1e-6)
    bias = np.asarray(gradient["head"]["bias"])  # no energy depends on it
    assert (np.abs(bias[[0, 2]]) > 1e-3).all()
    np.testing.assert_allclose(np.delete(bias, [0, 2]), 0, atol=1e-7)


def test_an_object_before_another_background():
    """Its own pixels on the object, the other's off it, and nothing of the other's object."""
    image, other = jnp.full((1, 2, 2, 3), 0.2), jnp.zeros((1, 2, 2, 3)).at[:, 0].set(0.6)
    mask = jnp.array([[[1.0, 0.0], [0.0, 0.0]]])
    other = other.at[:, 1, 1].set(1.0)  # the other's object
    other_mask = jnp.array([[[0.0, 0.0], [0.0, 1.0]]])
    got = energy_swap.on_background(image, mask, other, other_mask)[..., 0]
    np.testing.assert_allclose(got, [[[0.2, 0.6], [0.0, 0.4]]], rtol=1e-6)
    full = energy_swap.on_background(image, mask, other, jnp.ones((1, 2, 2)))
    assert jnp.isfinite(full).all()
