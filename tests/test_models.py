"""Networks: reference outputs, what the taps promise, precision, names and the real weights."""

from __future__ import annotations

import functools
import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rival_jax import models, taps, weights
from rival_jax.models import clip_resnet, clip_vit, positions, renaming, resnet, vit
from rival_jax.models.network import module_of
from tests.golden.places import at_kept
from tests.helpers import EXACT, PARITY, QUICKLY, golden, held, nhwc

SMALL_VIT = {"num_classes": 3, "image_size": (8, 12), "patch_size": 4, "width": 8, "heads": 2}
SMALL_VIT |= {"depth": 2, "name": "small"}
SMALL_RESNET = {"num_classes": 3, "image_size": (16, 16), "depths": (1, 1), "width": 4}
SMALL_RESNET |= {"name": "small"}
VITS = {
    "vit": {},
    "distilled": {"distilled": True},
    "registers": {"register_tokens": 3},
    "registers_no_embed_class": {"register_tokens": 3, "no_embed_class": True},
    "average": {"pool": "avg", "qkv_bias": False},
    "layer_scale": {"layer_scale": True, "gelu": "tanh"},
    "representation": {"representation_size": 5},
    "headless": {"num_classes": 0},
}
VARIANTS = {
    **{name: vit.build(**{**SMALL_VIT, **options}) for name, options in VITS.items()},
    "resnet": resnet.build(**SMALL_RESNET),
    "bottleneck": resnet.build(**SMALL_RESNET, bottleneck=True),
    "clip_vit": clip_vit.build(
        name="small", image_size=(8, 12), patch_size=4, width=8, depth=2, heads=2, projection=7
    ),
    "clip_resnet": clip_resnet.build(
        name="small", image_size=(64, 64), depths=(1, 2, 1, 1), width=4, heads=2, features=7
    ),
}
ONE_BLOCK = {name: vit.build(**{**SMALL_VIT, "depth": 1, **VITS[name]}) for name in VITS}
# Compiled in half the time, where the blocks of a variant are those of another one.
SHALLOW = {**VARIANTS, **ONE_BLOCK, **{name: VARIANTS[name] for name in ("vit", "layer_scale")}}
TRANSFORMERS = [name for name, model in VARIANTS.items() if model.attention_taps]
VIT_TINY = "data/weights/vit_tiny_patch16_224.augreg_in21k_ft_in1k"


@pytest.fixture(params=VARIANTS)
def small(request) -> tuple:
    model = VARIANTS[request.param]
    return model, random_variables(model), random_images(model)


def random_variables(model, dtype="float32"):
    """Every leaf drawn, so that no bias, scale or running statistic is trivially 0 or 1."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        values = rng.normal(size=leaf.shape) / math.sqrt(max(1, math.prod(leaf.shape[:-1])))
        values = np.exp(values) if path[-1].key in ("var", "scale") else values
        return jax.device_put(values.astype(dtype))  # by jnp.asarray each shape is a program

    return jax.tree_util.tree_map_with_path(draw, _leaves(model))


@functools.cache
def _leaves(model):
    return jax.eval_shape(model.init, jax.random.key(0))


def random_images(model, n=2, dtype="float32"):
    return jax.device_put(np.random.default_rng(1).random((n, *model.image_size, 3)).astype(dtype))


@functools.partial(QUICKLY, static_argnums=0)
def forward(function, variables, images, added):
    """A model's `forward`; compiled once for all tests of equal networks."""
    return function(variables, images, added)


def from_file(family, path: Path, num_classes=None, **model_args):
    """A network of the reference data: pixels go in as they are."""
    tensors = renaming.canonical(weights.read_tensors(path))[0]
    plain = weights.Config(model_args=model_args, num_classes=num_classes)
    model = family.build(name=path.stem, **family.infer(tensors, plain))
    return model, family.convert(tensors, model)


FORWARD = {
    "04_resnet_basic": (resnet, {}),
    "04_resnet_bottleneck": (resnet, {}),
    "04_vit": (vit, {"num_heads": 3}),
    "04_deit": (vit, {"num_heads": 2}),
}


@pytest.mark.parametrize("name", held(FORWARD, left_out=list(FORWARD)[1:]))
def test_forward_is_the_reference(all_shared, name):
    """Small networks of these kinds are in tests/golden too, with other tests."""
    family, model_args = FORWARD[name]
    expected = golden(all_shared, f"{name}.npz")
    path = all_shared / f"golden/rival10/{name}.safetensors"
    model, variables = from_file(family, path, **model_args)
    logits, values = forward(model.forward, variables, jax.device_put(nhwc(expected["input"])), {})
    got = {"input": values["image"], "logits": logits, "features": values["features"]}
    if family is resnet:
        got["layer4"] = values["layer4"]
    else:
        got |= {"last_norm1": values[model.cam_tap], "final_norm_tokens": values["norm"]}
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        value = nhwc(value) if value.ndim == 4 else value
        np.testing.assert_allclose(got[key], value, rtol=0, atol=PARITY, err_msg=key)


OTHER_TRANSFORMERS = {
    "vit_a": {"num_heads": 4},
    "vit_b": {"num_heads": 3},
    "vit_b_distilled": {"num_heads": 3},
    "vit_b_prelogits": {"num_heads": 3},
    "vit_c": {"num_heads": 2, "norm_eps": 1e-5},  # and no bias in qkv
}


@pytest.mark.parametrize(
    "name", held(OTHER_TRANSFORMERS, left_out=["vit_b", "vit_b_prelogits", "vit_c"])
)
def test_other_transformers_are_the_reference(shared, name):
    folder, model_args = shared / "golden/robustvit", OTHER_TRANSFORMERS[name]
    model, variables = from_file(vit, folder / f"{name}_weights.safetensors", **model_args)
    with np.load(folder / f"{name}_forward.npz") as file:
        expected = dict(file)
    logits, values = forward(model.forward, variables, jax.device_put(nhwc(expected["images"])), {})
    got = {"logits": logits, "tokens_final_norm": values["norm"]}
    got |= {f"attn_{tap.split('/')[0]}": values[tap] for tap in model.attention_taps}
    if name != "vit_b_distilled":
        got["pre_logits" if name == "vit_b_prelogits" else "cls_features"] = values["features"]
    else:
        got["cls_features"], got["dist_features"] = jnp.split(values["features"], 2, axis=1)
    for key, value in got.items():
        atol = 2e-5 * np.abs(expected[key]).max()
        value = at_kept(value, expected[key])
        np.testing.assert_allclose(value, expected[key], rtol=0, atol=atol, err_msg=key)


def test_the_clip_transformer_is_the_reference(shared):
    expected = golden(shared, "04_clip_vit.npz")
    path = shared / "golden/rival10/04_clip_vit.safetensors"
    model, variables = from_file(clip_vit, path, num_heads=3)
    logits, values = forward(model.forward, variables, jax.device_put(nhwc(expected["input"])), {})
    np.testing.assert_array_equal(logits, values["features"])
    got = {
        "features": values["features"],
        "last_ln_1_LND": values[model.cam_tap].swapaxes(0, 1),
        "ln_pre_tokens": values["embedding"],
        "ln_post_cls": values["norm"][:, 0],
    }
    for key, value in got.items():
        np.testing.assert_allclose(value, expected[key], rtol=0, atol=PARITY, err_msg=key)


def test_the_clip_resnet_is_the_reference(shared):
    expected = golden(shared, "04_clip_resnet.npz")
    path = shared / "golden/rival10/04_clip_resnet.safetensors"
    model, variables = from_file(clip_resnet, path, num_heads=2)
    logits, values = forward(model.forward, variables, jax.device_put(nhwc(expected["input"])), {})
    np.testing.assert_array_equal(logits, values["features"])
    for key in {"stem", "layer4"} & expected.keys():  # tests/golden has the features alone
        reference = nhwc(expected[key])
        np.testing.assert_allclose(values[key], reference, rtol=0, atol=PARITY, err_msg=key)
    np.testing.assert_allclose(logits, expected["features"], rtol=0, atol=PARITY)
    np.testing.assert_allclose(values["attnpool/attention"].sum(-1), 1, rtol=1e-5)


def test_dino_at_another_size_gives_the_reference_key_features(shared):
    """40 x 56 pixels through a network of 32 x 32, positions resampled as DINO's code does."""
    folder = shared / "golden/robustvit"
    model, variables = from_file(vit, folder / "dino_weights.safetensors", 0, num_heads=3)
    assert model.num_classes == 0
    model, variables = vit.resized(model, variables, (40, 56), "dino")
    with np.load(folder / "dino_key_features.npz") as file:
        expected = dict(file)
    image = jax.device_put(nhwc(expected["image"]))
    _, values = forward(model.forward, variables, image, {})
    tokens = values[model.cam_tap.replace("norm1", "qkv")][:, 1:]
    got = dict(zip("qkv", jnp.split(tokens.swapaxes(1, 2), 3, axis=1), strict=True))
    for name, value in got.items():
        reference = expected[f"features_{name}"]
        atol = 2e-5 * np.abs(reference).max()
        np.testing.assert_allclose(value, reference, rtol=0, atol=atol, err_msg=name)
    positions = variables["params"]["pos_embed"]
    np.testing.assert_allclose(positions, expected["pos_embed_interpolated"], rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["vit", "registers_no_embed_class", "clip_vit", "clip_resnet"])
def test_a_network_for_another_size_and_back(name):
    """A constant grid of positions stays constant, tokens before it stay as they are."""
    model, variables = VARIANTS[name], random_variables(VARIANTS[name])
    family = sys.modules[type(module_of(model)).__module__]
    height, width = model.image_size
    same_model, same = family.resized(model, variables, (height, width), "antialias")
    assert same_model == model
    jax.tree.map(np.testing.assert_array_equal, same, variables)
    for method in positions.METHODS:
        larger, resized = family.resized(model, variables, (2 * height, 2 * width), method)
        assert larger.image_size == (2 * height, 2 * width)
        logits, values = forward(larger.forward, resized, random_images(larger), {})
        assert np.isfinite(logits).all()
        grid = larger.to_grid(values[larger.cam_tap])
        assert grid.shape[1:3] == tuple(2 * side for side in _grid(model, variables))
    with pytest.raises(ValueError, match="method='nearest'"):
        family.resized(model, variables, (2 * height, 2 * width), "nearest")


def _grid(model, variables):
    _, values = jax.eval_shape(model.forward, variables, random_images(model), {})
    return jax.eval_shape(model.to_grid, values[model.cam_tap]).shape[1:3]


@pytest.mark.parametrize("method", positions.METHODS)
def test_resampled_positions_of_a_constant_are_constant(method):
    given = jnp.concatenate([jnp.zeros((2, 3)), jnp.ones((12, 3))])
    resampled = positions.resample(given, (3, 4), (5, 2), method)
    np.testing.assert_allclose(resampled, [[0] * 3] * 2 + [[1] * 3] * 10, atol=1e-6)


@pytest.mark.parametrize(("kind", "family"), [("resnet", resnet), ("vit", vit)])
def test_trained_networks_are_the_reference(shared, kind, family):
    path = shared / f"golden/rival10/03_noise_e2e_{kind}.safetensors"
    model, variables = from_file(family, path, **({"num_heads": 4} if kind == "vit" else {}))
    images = jax.device_put(nhwc(golden(shared, "03_noise_e2e_inputs.npz")["images"]))
    logits, _ = forward(model.forward, variables, images, {})
    expected = golden(shared, f"03_noise_e2e_{kind}.npz")["logits_clean"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=PARITY)


def test_taps_are_those_declared(small):
    model, variables, images = small
    shapes = jax.eval_shape(lambda v, x: model.forward(v, x, {})[1], variables, images)
    named = {"image", model.cam_tap, model.feature_tap, *model.attention_taps}
    assert named <= shapes.keys()
    assert shapes["image"].shape == images.shape
    assert shapes["features"].ndim == 2
    for tap in model.attention_taps:
        b, heads, queries, keys = shapes[tap].shape
        assert (b, heads, queries) == (len(images), 2, keys)
    grid = jax.eval_shape(model.to_grid, shapes[model.cam_tap]).shape
    assert grid[:-1] == ((2, 2, 3) if model.attention_taps else (2, 2, 2))


@functools.cache
def in_float64(name):
    """A network of one kind, what it is given, and what it makes of that."""
    model = SHALLOW[name]
    with jax.enable_x64(True):
        given = random_variables(model, "float64"), random_images(model, dtype="float64")
        logits, values = jax.device_get(forward(model.forward, *given, {}))
    return model, given, logits, values


@pytest.mark.parametrize("name", VARIANTS)
def test_adding_zeros_changes_nothing_and_adding_more_does(name):
    """In float64: a transformer's last block takes another path, which rounds otherwise."""
    model, given, logits, values = in_float64(name)
    with jax.enable_x64(True):
        zeros = {tap: np.zeros_like(value) for tap, value in values.items()}
        same, _ = forward(model.forward, *given, zeros)
        np.testing.assert_allclose(same, logits, rtol=0, atol=1e-12)
        noise = np.random.default_rng(2)
        for tap, zero in zeros.items():
            first = np.arange(len(zero)).reshape(-1, *[1] * (zero.ndim - 1)) == 0
            moved = np.where(first, noise.normal(size=zero.shape), 0).astype(zero.dtype)
            changed = np.asarray(forward(model.forward, *given, {**zeros, tap: moved})[0])
            assert np.abs(changed[0] - logits[0]).max() > PARITY, f"{tap} does not reach the logits"
            np.testing.assert_allclose(
                changed[1], logits[1], rtol=0, atol=1e-12, err_msg="examples mix"
            )


def test_an_unknown_tap_lists_the_known(small):
    model, variables, images = small
    with pytest.raises(ValueError, match=r"block9/attention; this model has: image, .*features"):
        jax.eval_shape(model.forward, variables, images, {"block9/attention": jnp.zeros(())})


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_attention_rows_sum_to_one(name):
    model, _, _, values = in_float64(name)
    for tap in model.attention_taps:
        assert values[tap].min() >= 0
        np.testing.assert_allclose(values[tap].sum(axis=-1), 1, atol=EXACT)


@pytest.mark.parametrize("name", ["vit", "distilled"])
def test_attention_gradients_are_finite_differences(name):
    model = SHALLOW[name]
    tap = model.attention_taps[0]
    score = taps.class_score(jnp.array([0, 2]))
    with jax.enable_x64(True):
        variables = random_variables(model, "float64")
        images = random_images(model, dtype="float64")
        tokens = 6 + model.to_grid.prefix_tokens
        direction = np.random.default_rng(2).normal(size=(2, 2, tokens, tokens))

        @QUICKLY
        def gradient(variables, images):
            return taps.tap_grads(model.forward, variables, images, score, [tap])[2][tap]

        def along(step):
            added = {tap: step * direction}
            return score(*forward(model.forward, variables, images, added)).sum()

        expected = (along(1e-5) - along(-1e-5)) / 2e-5
        got = (gradient(variables, images) * direction).sum()
        assert got.dtype == "float64"
        np.testing.assert_allclose(got, expected, rtol=1e-7)


@pytest.mark.parametrize(
    "other", [{}, {"no_embed_class": True, "pool": "avg", "layer_scale": True}], ids=["a", "b"]
)
def test_transformer_is_the_textbook_one(other):
    """One block with registers against the definition, written out with loops over heads."""
    arguments = {**SMALL_VIT, "depth": 1, "register_tokens": 3, **other}
    model = vit.build(**arguments, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    with jax.enable_x64(True):
        variables, images = (
            random_variables(model, "float64"),
            random_images(model, dtype="float64"),
        )
        logits, _ = forward(model.forward, variables, images, {})
        t = vit.export(variables, model)

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * t[f"{name}.weight"] + t[f"{name}.bias"]

    def dense(x, name):
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    for image, expected in zip(np.asarray(images), np.asarray(logits), strict=True):
        image = ((image - [0.1, 0.2, 0.3]) / [0.4, 0.5, 0.6]).transpose(2, 0, 1)
        corners = [(i, j) for i in (0, 4) for j in (0, 4, 8)]
        patches = np.stack([image[:, i : i + 4, j : j + 4] for i, j in corners])
        x = np.einsum("nchw,dchw->nd", patches, t["patch_embed.proj.weight"])
        x = x + t["patch_embed.proj.bias"]
        prefix = np.concatenate([t["cls_token"][0], t["reg_token"][0]])
        if other:
            x = np.concatenate([prefix, x + t["pos_embed"][0]])
        else:
            x = np.concatenate([prefix, x]) + t["pos_embed"][0]
        q, k, v = np.split(dense(norm(x, "blocks.0.norm1"), "blocks.0.attn.qkv"), 3, axis=1)
        mixed = []
        for head in (slice(0, 4), slice(4, 8)):
            weight = np.exp(q[:, head] @ k[:, head].T / 2)
            mixed.append(weight / weight.sum(1, keepdims=True) @ v[:, head])
        y = dense(np.concatenate(mixed, axis=1), "blocks.0.attn.proj")
        x = x + y * t.get("blocks.0.ls1.gamma", 1)
        hidden = dense(norm(x, "blocks.0.norm2"), "blocks.0.mlp.fc1")
        hidden = hidden * np.vectorize(lambda z: (1 + math.erf(z / math.sqrt(2))) / 2)(hidden)
        x = x + dense(hidden, "blocks.0.mlp.fc2") * t.get("blocks.0.ls2.gamma", 1)
        features = norm(x[4:].mean(0), "fc_norm") if other else norm(x[0], "norm")
        np.testing.assert_allclose(expected, dense(features, "head"), atol=1e-9)


def test_grid_is_row_major_without_the_prefix():
    model = VARIANTS["registers"]
    tokens = jnp.arange(10.0)[None, :, None]  # class, 3 registers, then 2 rows of 3 patches
    np.testing.assert_array_equal(model.to_grid(tokens)[0, ..., 0], [[4, 5, 6], [7, 8, 9]])
    with pytest.raises(ValueError, match=r"got \(1, 9, 1\), expected \[b, 10, c\]"):
        model.to_grid(tokens[:, 1:])


def test_equal_networks_compile_once():
    one, two = vit.build(**SMALL_VIT), vit.build(**SMALL_VIT)
    assert one == two
    assert hash(one) == hash(two)
    assert one != VARIANTS["layer_scale"]


def test_bare_pixels_go_in_as_they_are():
    arguments = {**SMALL_VIT, "depth": 1, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    model = vit.build(**arguments)
    bare = models.without_normalisation(model)
    assert (bare.mean, bare.std) == ((0, 0, 0), (1, 1, 1))
    variables, images = random_variables(model), random_images(model)
    normalised = (images - jnp.array(model.mean)) / jnp.array(model.std)
    expected = forward(model.forward, variables, images, {})[0]
    np.testing.assert_allclose(
        forward(bare.forward, variables, normalised, {})[0], expected, atol=PARITY
    )


def test_residual_network_takes_other_sizes():
    model = VARIANTS["resnet"]
    images = jnp.zeros((1, 40, 24, 3))
    _, values = jax.eval_shape(model.forward, random_variables(model), images, {})
    assert values["layer2"].shape[1:3] == (5, 3)


def test_a_picture_of_the_wrong_shape_is_refused():
    model = VARIANTS["vit"]
    variables = random_variables(model)
    with pytest.raises(ValueError, match=r"got \(1, 8, 8, 3\), expected \[b, 8, 12, 3\]"):
        model.forward(variables, jnp.zeros((1, 8, 8, 3)), {})
    with pytest.raises(ValueError, match=r"got \(1, 3, 8, 12\), expected \[b, h, w, 3\]"):
        model.forward(variables, jnp.zeros((1, 3, 8, 12)), {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": (10, 12)}, "10x12 is no multiple of patch 4"),
        ({"heads": 3}, "width 8 is no multiple of 3 heads"),
        ({"pool": "max"}, "pool='max'"),
        ({"gelu": "quickest"}, "gelu='quickest'"),
        ({"distilled": True, "pool": "avg"}, "distilled network"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        vit.build(**{**SMALL_VIT, **change})
