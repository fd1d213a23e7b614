"""Saliency methods: the reference packages' maps, what theory promises, invariances."""

from __future__ import annotations

import functools
import inspect
import itertools
import pkgutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rival_jax import maps, saliency, taps
from rival_jax.models import clip_resnet, clip_vit, resnet, vit
from rival_jax.saliency import (
    _layers,
    _propagate,
    full_lrp,
    integrated_gradients,
    lrp,
    partial_lrp,
)
from tests.golden.places import at_kept
from tests.helpers import PARITY, QUICKLY, SMALL, golden, held, nhwc
from tests.test_models import SMALL_VIT, VARIANTS, from_file, random_images, random_variables

FAMILIES = {
    "resnet": (resnet, "03_noise_e2e_resnet", {}),
    "vit": (vit, "03_noise_e2e_vit", {"num_heads": 4}),
    "clip_resnet": (clip_resnet, "04_clip_resnet", {"num_heads": 2}),
    "clip_vit": (clip_vit, "04_clip_vit", {"num_heads": 3}),
}
METHODS = sorted(
    module.name
    for module in pkgutil.iter_modules(saliency.__path__)
    if not module.name.startswith("_")
)
LRP = {"lrp", "partial_lrp", "full_lrp"}
NEED_ATTENTION = {"relevance", "rollout", "raw_attention", "attention_gradcam", *LRP}


def loaded(shared, name):
    family, file, args = FAMILIES[name]
    return from_file(family, shared / f"golden/rival10/{file}.safetensors", **args)


def close(got, expected, atol, name=""):
    np.testing.assert_allclose(got, expected, rtol=0, atol=atol, err_msg=name)


def score_of(expected, category):
    """The logit of a class; of the golden file's own linear head where the network has none."""
    if "classifier_weight" not in expected:
        return taps.class_score(category)
    weight, bias = expected["classifier_weight"], expected["classifier_bias"]
    return lambda logits, values: taps.class_score(category)(logits @ weight.T + bias, values)


@pytest.mark.parametrize("name", held(FAMILIES, left_out=["clip_resnet"]))
def test_gradcam_is_the_package(shared, name):
    """Raw maps and both releases' scaling; the rows of the golden file in one batch."""
    expected = golden(shared, f"05_gradcam_{name}.npz")
    model, variables = loaded(shared, name)
    images = jnp.asarray(nhwc(expected["input"])[expected["image_index"]])
    if images.shape[1:3] != model.image_size:
        model, variables = resnet.resized(model, variables, images.shape[1:3], "antialias")
    score = score_of(expected, jnp.asarray(expected["category"], jnp.int32))

    @jax.jit
    def everything(variables, images):
        layer = _layers.cam_layer(model, variables, images, score)
        return *layer, saliency.explain("gradcam", model, variables, images, score, scaling="cam")

    activations, gradients, scaled = everything(variables, images)
    for key, value in (("activations", activations), ("gradients", gradients)):
        value, wanted = jnp.moveaxis(value, -1, 1), expected[key]
        close(at_kept(value, wanted), wanted, PARITY, key)
    raw = jnp.einsum("bhwc,bc->bhw", activations, gradients.mean((1, 2)))
    np.testing.assert_allclose(raw, expected["cam_raw"], rtol=0, atol=PARITY)
    close(at_kept(scaled, expected["cam"]), expected["cam"], PARITY)
    scaled = saliency.SCALINGS["cam_2021"](raw, images.shape[1:3])
    close(at_kept(scaled, expected["cam_2021"]), expected["cam_2021"], PARITY)


def test_scorecam_is_the_package(shared):
    expected = golden(shared, "05_scorecam_resnet.npz")
    model, variables = loaded(shared, "resnet")
    images = jnp.asarray(nhwc(expected["input"]))
    score = taps.class_score(jnp.asarray(expected["category"], jnp.int32))
    explain = functools.partial(saliency.explain, "scorecam", model, score=score, scaling="cam")
    got = QUICKLY(explain)(variables, images)
    close(at_kept(got, expected["cam"]), expected["cam"], PARITY)


@pytest.mark.parametrize("case", ["7to224", "14to224", "5x4to33x27", "12to6"])
def test_scaling_is_the_package(shared, case):
    expected = golden(shared, "05_cam_postprocess.npz")
    raw = jnp.asarray(expected[f"raw_{case}"], jnp.float32)
    for prefix, scaled in (("cam", maps.cam_scaled), ("cam2021", maps.cam_scaled_2021)):
        wanted = expected[f"{prefix}_{case}"]
        size = [int(side) for side in case.partition("to")[2].split("x")]
        got = scaled(raw[: len(wanted)], (size[0], size[-1]))
        close(at_kept(got, wanted), wanted, PARITY, prefix)


def test_explanations_of_a_transformer_are_the_reference(shared):
    folder = shared / "golden/robustvit"
    with np.load(folder / "explanations.npz") as file:
        expected = dict(file)
    model, variables = from_file(vit, folder / "vit_a_weights.safetensors", num_heads=4)
    images = jnp.asarray(nhwc(expected["images"]))

    def row(method, target="top", **options):
        score = taps.class_score(jnp.asarray(expected[f"index_{target}"], jnp.int32))
        explain = saliency.plugin("saliency", method).maps
        return explain(model, variables, images, score, **options).reshape(len(images), -1)

    @jax.jit
    def everything():
        score = taps.class_score(jnp.asarray(expected["index_top"], jnp.int32))
        explain = lambda method: saliency.explain(method, model, variables, images, score)  # noqa: E731
        return {
            "raw_attention_last_layer": row("raw_attention"),
            "attn_gradcam_before_minmax_top": row("attention_gradcam"),
            "attn_gradcam_before_minmax_other": row("attention_gradcam", "other"),
            "rollout_start0": row("rollout"),
            "rollout_start1": row("rollout", first_block=1),
            "raw_attention_last_layer_map": explain("raw_attention")[:, None],
            "attn_gradcam_top_map": explain("attention_gradcam")[:, None],
        }

    for key, value in everything().items():
        atol = 2e-5 * np.abs(expected[key]).max()
        close(at_kept(value, expected[key]), expected[key], atol, key)


def with_released_epsilon(next_fun, args, kwargs, context):
    """The release's own copy of the network for LRP has another constant in the last norm."""
    if context.module.path == ("norm",):
        object.__setattr__(context.module, "epsilon", 1e-5)
    return next_fun(*args, **kwargs)


# Tolerances of the reference data, relative to the largest value.
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-6), ("float32", 1e-2)])
def test_lrp_is_the_reference(shared, dtype, rtol):
    """Every block's attention, three kinds of maps, and the logits of its network."""
    folder = shared / "golden/robustvit"
    given = dict(np.load(folder / "explanations.npz"))
    model, variables = from_file(vit, folder / "vit_a_weights.safetensors", num_heads=4)

    @QUICKLY
    def everything(variables, images, labels):
        of = (model, variables, images, taps.class_score(labels))
        tokens = lambda maps: maps.reshape(len(images), -1)  # noqa: E731
        maps, logits = lrp.maps_and_logits(*of)
        cams = _propagate.propagate(*of).attentions
        return {
            **{f"lrp_attn_cam_block{i}": cam for i, cam in enumerate(cams)},
            "transformer_attribution_start0": tokens(maps),
            "transformer_attribution_start1": tokens(lrp.maps(*of, first_block=1)),
            "partial_lrp_last_layer": tokens(partial_lrp.maps(*of)),
            "full_lrp": full_lrp.maps(*of),
            "logits_lrp_model": logits,
        }

    with jax.enable_x64(dtype == "float64"), nn.intercept_methods(with_released_epsilon):
        variables = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), dtype), variables)
        images = jnp.asarray(nhwc(given["images"]), dtype)
        labels = {kind: jnp.asarray(given[f"index_{kind}"], jnp.int32) for kind in ("top", "other")}
        found = {kind: everything(variables, images, label) for kind, label in labels.items()}
    files = ["explanations_lrp_float64"]
    files += ["explanations_lrp"] if dtype == "float32" and not SMALL else []
    for file in files:
        expected = dict(np.load(folder / f"{file}.npz"))
        expected.pop("transformer_attribution_start1_top_map", None)
        for key, wanted in expected.items():
            name, _, kind = key.rpartition("_")
            value = found[kind][name] if kind in found else found["top"][key]
            assert value.dtype == dtype
            close(at_kept(value, wanted), wanted, rtol * np.abs(wanted).max(), f"{file} {key}")


def test_relevance_is_propagated_through_transformers_alone():
    """Those whose head reads the class token: else the rules would be of another network."""
    parts = ({"pool": "avg"}, {"gated": "packed"}, {"qk_norm": True})
    for method, part in itertools.product(LRP, parts):
        other = vit.build(**SMALL_VIT | {"depth": 1}, **part)
        given = (other, random_variables(other), random_images(other), taps.predicted_score)
        with pytest.raises(ValueError, match="only through the package's own vision transformers"):
            saliency.explain(method, *given)


@pytest.mark.parametrize("name", held(["gae_a", "gae_b", "gae_c"], left_out=["gae_b", "gae_c"]))
def test_relevance_is_the_reference(shared, name):
    folder, args = shared / "golden/robustvit", {"gae_a": 4, "gae_b": 3, "gae_c": 2}
    model_args = {"num_heads": args[name]} | ({"norm_eps": 1e-5} if name == "gae_c" else {})
    weights_file = folder / f"vit_{name[-1]}_weights.safetensors"
    model, variables = from_file(vit, weights_file, **model_args)
    with np.load(folder / f"{name}.npz") as file:
        expected = dict(file)
    images = jnp.asarray(nhwc(expected["images"]))
    given = taps.class_score(jnp.asarray(expected["index_given"], jnp.int32))

    @jax.jit
    def everything(variables):
        """Of both classes: gradients of every block's attention, their parts of it, the maps."""
        found = {}
        for target, score in (("given", given), ("argmax", taps.predicted_score)):
            attentions, gradients = _layers.attention(model, variables, images, score)
            for i, (attention, gradient) in enumerate(zip(attentions, gradients, strict=True)):
                found[f"{target}_attn_grad_block{i}"] = gradient
                found[f"{target}_cam_bar_block{i}"] = jax.nn.relu(attention * gradient).mean(1)
            row = maps.relevance(attentions, gradients)
            found[f"{target}_relevance_tokens"] = row
            scaled = saliency.explain("relevance", model, variables, images, score)
            found[f"{target}_relevance"] = scaled[:, None]
        return found

    for key, value in everything(variables).items():
        atol = 2e-5 * np.abs(expected[key]).max()
        close(at_kept(value, expected[key]), expected[key], atol, key)


def kind_of_network(name, method):
    """A transformer has no more blocks than the method could mix up: compiling takes the time."""
    if name == "resnet":
        return VARIANTS[name]
    more = {"distilled": True, "register_tokens": 3} if name == "more tokens" else {}
    return vit.build(**SMALL_VIT | {"depth": 2 if method in NEED_ATTENTION else 1}, **more)


@pytest.mark.parametrize("name", ["vit", "more tokens", "resnet"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_every_kind_of_network(method, name):
    """Finite maps of the images' size in [0, 1]; an image's map does not depend on the others."""
    model = kind_of_network(name, method)
    variables, images = random_variables(model), random_images(model, 3)
    if method in NEED_ATTENTION and not model.attention_taps:
        with pytest.raises(ValueError, match="no attention to explain it with"):
            saliency.explain(method, model, variables, images, taps.predicted_score)
        return
    explain = jax.jit(lambda v, x: saliency.explain(method, model, v, x, taps.predicted_score))
    got = np.asarray(explain(variables, images))
    assert got.shape == images.shape[:3]
    assert (got >= 0).all()
    assert (got <= 1).all()
    others = explain(variables, jnp.stack([images[1], 1 - images[0], images[0]]))
    np.testing.assert_allclose(others[0], got[1], atol=1e-5)


def test_scorecam_and_gradcam_differ_and_follow_the_score():
    model = VARIANTS["resnet"]
    variables, images = random_variables(model), random_images(model)
    scores = [taps.class_score(jnp.full(2, label)) for label in (0, 1)]
    for method in ("gradcam", "hirescam", "scorecam", "input_gradient", "gradient_x_input"):
        explain = lambda score, m=method: saliency.explain(m, model, variables, images, score)  # noqa: E731
        found = jax.jit(lambda e=explain: [e(score) for score in scores])()
        assert np.abs(found[0] - found[1]).max() > 1e-3, method


def test_integrated_gradients_add_up_to_the_score():
    """Completeness: the sum of the attributions is the score minus that of the baseline."""
    model = VARIANTS["vit"]
    variables, images = random_variables(model), random_images(model)
    score = taps.class_score(jnp.zeros(2, int))
    options = {"steps": 200, "baseline": 0.5}
    find = functools.partial(integrated_gradients.attributions, model, score=score, **options)
    got, scored = (
        QUICKLY(find)(variables, images),
        QUICKLY(lambda v, x: score(*model.forward(v, x, {}))),
    )
    ends = [scored(variables, x) for x in (images, np.full_like(images, 0.5))]
    np.testing.assert_allclose(got.sum((1, 2, 3)), ends[0] - ends[1], atol=1e-2)


def test_gradient_x_input_explains_a_linear_score():
    """Of sum(w * x) it is |w * x| summed over the colours; the input gradient is max |w|."""
    model = VARIANTS["resnet"]
    variables, images = random_variables(model), random_images(model)
    weight = np.random.default_rng(0).normal(size=images.shape[1:])
    score = lambda logits, values: (values["image"] * weight).sum((1, 2, 3))  # noqa: E731

    def explain(method, **options):
        options |= {"score": score, "scaling": "none"}
        return QUICKLY(functools.partial(saliency.explain, method, model, **options))(
            variables, images
        )

    got = explain("gradient_x_input")
    wanted = np.abs((weight * (images - np.asarray(model.mean))).sum(-1))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
    got = explain("input_gradient")
    np.testing.assert_allclose(got[0], np.abs(weight).max(-1), rtol=1e-5)
    got = explain("smoothgrad", samples=3)
    np.testing.assert_allclose(got[0], np.abs(weight).max(-1), rtol=1e-5)


def test_any_feature_can_be_explained():
    """With global pooling GradCAM of a feature is that feature's own map (study, section 6)."""
    model = VARIANTS["resnet"]
    variables, images = random_variables(model), random_images(model)
    _, values = jax.jit(model.forward)(variables, images, {})
    for unit in range(3):
        score = taps.unit_score("features", unit)
        explain = jax.jit(lambda v, x, s=score: saliency.explain("gradcam", model, v, x, s))
        got = explain(variables, images)
        own = maps.minmax_normalise(maps.upsample(values["layer2"][..., unit], model.image_size))
        np.testing.assert_allclose(got, own, atol=2e-5)


def test_names_that_mean_nothing():
    model = VARIANTS["resnet"]
    given = (model, random_variables(model), random_images(model), taps.predicted_score)
    with pytest.raises(ValueError, match="no 'gradcm'; did you mean 'gradcam'"):
        saliency.explain("gradcm", *given)
    with pytest.raises(ValueError, match="saliency scaling: no 'min_max'; did you mean 'minmax'"):
        saliency.explain("gradcam", *given, scaling="min_max")


def test_every_method_says_what_it_gives():
    for method in METHODS:
        assert "[b, h, w]" in inspect.getdoc(saliency.plugin("saliency", method).maps)


def test_a_flat_map_stays_flat_when_it_is_resized():
    """A resize leaves a constant uneven by a few roundings; scaled up they would be a picture."""
    flat = maps.upsample(jnp.full((5, 4), 0.75), (33, 27))
    assert (maps.minmax_normalise(flat) == 0).all()
    assert maps.minmax_normalise(jnp.array([[1.0, 1.001]]))[0, 1] == 1
