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
from rival_jax.runtime.plugins import plugin
from tests.helpers import QUICKLY
from tests.test_models import SMALL_VIT, VARIANTS, random_images, random_variables

NAMES = sorted(
    module.name
    for module in pkgutil.iter_modules(objectives.__path__)
    if not module.name.startswith("_")
)
TERMS = {
    "cross_entropy": {"total", "correct"},
    "energy": {"energy", "classification", "total", "correct"},
    "gradmask": {"relevance", "classification", "total", "correct"},
    "rrr": {"relevance", "classification", "total", "correct"},
    "robustvit": {"background", "foreground", "classification", "total", "correct"},
}
METHODS = ("attention_gradcam", "rollout")


def batch_of(model, dtype="float32", n=3):
    """Images, soft masks and labels."""
    rng = np.random.default_rng(3)
    return {
        "image": random_images(model, n, dtype),
        "mask": jnp.asarray(np.clip(rng.random((n, *model.image_size)) * 1.6 - 0.3, 0, 1), dtype),
        "label": jnp.asarray(rng.integers(0, 3, n), jnp.int32),
    }


def mean_total(name, model, variables, batch, **options):
    return plugin("objectives", name).terms(model, variables, batch, **options)["total"].mean()


@functools.partial(QUICKLY, static_argnums=(0, 1), static_argnames="through_grads")
def terms_and_gradient(name, model, variables, batch, **options):
    def total(variables):
        found = plugin("objectives", name).terms(model, variables, batch, **options)
        return found["total"].mean(), found

    gradient, found = jax.grad(total, has_aux=True)(variables)
    return found, gradient


@pytest.mark.parametrize(
    ("name", "variant", "options"),
    [
        ("robustvit", "vit", {}),
        ("robustvit", "registers", {"explained": "prediction", "target": "label"}),
        ("energy", "vit", {"method": "relevance"}),
        ("energy", "registers", {"method": "gradient_x_input", "border": "rebinarised"}),
        ("gradmask", "vit", {"border": "released"}),
        ("rrr", "distilled", {"border": "rebinarised"}),
    ],
)
def test_gradients_are_finite_differences(name, variant, options):
    """In float64, along one direction through all parameters; held constant, they are not."""
    model = VARIANTS[variant]
    with jax.enable_x64(True):
        variables, batch = random_variables(model, "float64"), batch_of(model, "float64")
        draw = np.random.default_rng(4).normal
        direction = jax.tree.map(lambda leaf: draw(size=leaf.shape), variables)

        @functools.partial(QUICKLY, static_argnames="through_grads")
        def both(step, through_grads):
            def total(step):
                moved = jax.tree.map(lambda leaf, d: leaf + step * d, variables, direction)
                given = {"through_grads": through_grads, **options}
                return mean_total(name, model, moved, batch, **given)

            return jax.value_and_grad(total)(step)

        values = [both(step, through_grads=True)[0] for step in (1e-6, -1e-6)]
        expected = (values[0] - values[1]) / 2e-6
        got = both(0.0, through_grads=True)[1]
        assert got.dtype == "float64"
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        if not options:
            value, constant = both(0.0, through_grads=False)
            np.testing.assert_allclose(value, np.mean(values), rtol=1e-6)
            assert abs(constant / expected - 1) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_every_objective_in_float32(name):
    """Terms of every example, finite gradients; an example's terms are its own alone."""
    model = VARIANTS["vit"]
    variables, batch = random_variables(model), batch_of(model)
    everything = functools.partial(terms_and_gradient, name, model)
    found, gradient = everything(variables, batch)
    assert found.keys() == TERMS[name]
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
        lowered = QUICKLY(function).lower(variables, batch)
        return lowered.compile().cost_analysis()["flops"]

    forward = flops(lambda v, batch: model.forward(v, batch["image"], {})[0])

    def step(through_grads):
        options = {"through_grads": through_grads}
        return jax.grad(lambda v, batch: mean_total("robustvit", model, v, batch, **options))

    first, second = flops(step(False)), flops(step(True))
    assert first / forward < 4.7  # forward, back to every block's attention, to the parameters
    assert second / first < 2


def test_the_input_gradient_is_of_the_normalised_image():
    """A network that normalises its input has the terms of one that is given it normalised."""
    inner = vit.build(**SMALL_VIT)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)
    outer = vit.build(**SMALL_VIT, mean=mean, std=std)
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
    model = VARIANTS["vit"]
    variables, batch = random_variables(model), batch_of(model)
    head = jax.tree.map(jnp.zeros_like, variables["params"]["head"])
    variables = {"params": {**variables["params"], "head": head}}
    options = {"through_grads": True} if through_grads else {}
    found, gradient = terms_and_gradient("robustvit", model, variables, batch, **options)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((found, gradient)))
    np.testing.assert_allclose(found["background"], 0)


@pytest.mark.parametrize("method", METHODS)
def test_other_methods_make_the_map_by_name(method):
    """Their map, at the image's size, goes through the same losses, and is trained."""
    model = VARIANTS["vit"]
    variables, batch = random_variables(model), batch_of(model)
    options = {"method": method, "through_grads": True, "classification_weight": 0.0}

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
    model = VARIANTS["vit"]
    variables, batch = random_variables(model), batch_of(model)
    settings = {
        "temperature": jnp.array([1.0, 0.55, 2.0]),
        "foreground_weight": jnp.array([0.3, 0.0, 1.0]),
        "classification_weight": jnp.array([0.2, 0.2, 0.0]),
    }
    total = lambda numbers: mean_total("robustvit", model, variables, batch, **numbers)  # noqa: E731
    at_once, total = QUICKLY(jax.vmap(total))(settings), QUICKLY(total)
    for i, value in enumerate(at_once):
        alone = total({key: float(values[i]) for key, values in settings.items()})
        np.testing.assert_allclose(value, alone, rtol=1e-5)


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
    bare = {key: value for key, value in given[2].items() if key != "mask"}
    with pytest.raises(ValueError, match="batch: got image, label; this objective needs mask too"):
        terms(*given[:2], bare)
    resnet = VARIANTS["resnet"]
    given = (resnet, random_variables(resnet), batch_of(resnet))
    with pytest.raises(ValueError, match="has no attention to explain it by"):
        terms(*given)
