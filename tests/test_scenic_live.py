"""Modules in memory, Scenic's and others', as models: converted, or run and watched."""

from __future__ import annotations

import copy
import sys
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from rival_jax import taps
from rival_jax.interop import scenic, watching
from rival_jax.models.network import Network
from tests import scenic_twins as twins
from tests.helpers import EXACT, PARITY
from tests.scenic_cases import (
    CASES,
    SEEN,
    SOURCES,
    assert_logits,
    converted,
    google_scenic,
    images_for,
    made,
    seen,
)
from tests.scenic_twins import SMALL_VIT


@pytest.fixture(params=SOURCES)
def source(request):
    return twins if request.param == "twins" else google_scenic()


@pytest.mark.parametrize("case", ["token", "gap", "clip_vit"])
def test_attention_and_its_gradient_are_those_of_the_watched_module(case):
    module, variables, _, _ = made(twins, case)
    size = CASES[case][2]
    model, ours = converted(case)
    if case == "clip_vit":
        module, variables = Tower(module), {"params": {"clip": variables["params"]}}
    watched = watching.watched(module, variables, name="w", image_size=size, **SEEN)
    images, names = images_for(size), list(model.attention_taps)
    assert watched.attention_taps == model.attention_taps
    score = taps.class_score(jnp.array([1, 3]))
    found = [
        jax.jit(lambda v, x, m=m: taps.tap_grads(m.forward, v, x, score, names))(v, images)
        for m, v in ((model, ours), (watched, variables))
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=PARITY), *found)
    assert all(np.abs(gradient).max() > 1e-3 for gradient in found[0][2].values())


class Tower(nn.Module):
    """CLIP as a module that returns its image features."""

    clip: nn.Module

    def __call__(self, x):
        return self.clip.encode_image(x, normalize=False)


class Grids(nn.Module):
    """Convolutions that Scenic does not have."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), name="zeroth")(x))
        x = nn.relu(nn.Conv(4, (3, 3), (2, 2), name="first")(x))
        return nn.Dense(5, name="output_projection")(x.mean(axis=(1, 2)))


class Derived(nn.MultiHeadDotProductAttention):
    @nn.compact
    def __call__(self, inputs_q):
        return super().__call__(inputs_q)


class Remade(nn.Module):
    """Most of it where no value can be taken out, but not the last convolution."""

    @nn.compact
    def __call__(self, x):
        x = nn.remat(twins.Encoder1DBlock)(8, 2, name="block")(x.reshape(len(x), -1, 4))
        x = nn.remat(nn.Conv)(4, (1,), name="flat")(x).reshape(len(x), 6, 6, 3)
        return nn.Conv(5, (3, 3), name="last")(x).mean(axis=(1, 2))


class Sharing(nn.Module):
    """One attention used twice, a class derived from it, and one over other tokens."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8)(x.reshape(len(x), -1, 12))
        shared = nn.MultiHeadDotProductAttention(2, name="shared")
        x = x + shared(x)
        x = x + shared(x, x, mask=jnp.tril(jnp.ones((x.shape[1],) * 2, bool)))
        x = x + Derived(2, name="derived", dropout_rate=0.1, deterministic=True)(x)
        x = nn.MultiHeadDotProductAttention(2, name="cross")(x[:, :1], x)
        return nn.Dense(5, name="head")(x[:, 0])


WATCHED = {
    "map": (twins.ViT(**{**SMALL_VIT, "classifier": "map"}), (8, 12)),
    "no_positions": (
        twins.ViT(**SMALL_VIT, positional_embedding="none", classifier="token"),
        (8, 8),
    ),
    "grids": (Grids(), (8, 8)),
    "sharing": (Sharing(), (6, 6)),
    "remade": (Remade(), (6, 6)),
}


def wrapped(name: str, **others):
    module, size = WATCHED[name]
    call = {"train": False} if isinstance(module, twins.ViT) else {}
    variables = twins.variables_of(module, size, **call)
    model, same = scenic.wrap_scenic_model(
        module, variables, name=name, image_size=size, **SEEN, **others
    )
    assert same is variables
    return model, variables, lambda v, x: module.apply(v, x, **call)


@pytest.mark.parametrize("name", WATCHED)
def test_a_watched_module_gives_its_own_logits(name):
    model, variables, call = wrapped(name)
    images = images_for(model.image_size)
    logits, values = jax.jit(model.forward)(variables, images, {})
    assert_logits(logits, jax.jit(call)(variables, seen(images)))
    assert model.num_classes == 5
    assert {model.cam_tap, model.feature_tap, "image", *model.attention_taps} <= values.keys()
    assert hash(model) == hash(copy.copy(model))
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    assert jax.tree.map(np.shape, shapes) == jax.tree.map(np.shape, variables)


@pytest.mark.parametrize("name", WATCHED)
def test_taps_of_a_watched_module_reach_its_logits(name):
    model, variables, _ = wrapped(name)
    images = images_for(model.image_size)
    forward = jax.jit(model.forward)
    logits, values = jax.device_get(forward(variables, images, {}))
    zeros = {tap: np.zeros_like(value) for tap, value in values.items()}
    np.testing.assert_array_equal(forward(variables, images, zeros)[0], logits)
    for tap, zero in zeros.items():
        moved = np.random.default_rng(2).normal(size=zero.shape).astype(zero.dtype)
        changed, _ = forward(variables, images, {**zeros, tap: moved})
        assert np.abs(changed - logits).max() > PARITY, tap
    with pytest.raises(ValueError, match=r"no tap named block9/attention; this model has: image"):
        jax.eval_shape(model.forward, variables, images, {"block9/attention": jnp.zeros(())})


def test_taps_of_a_watched_transformer():
    model, variables, _ = wrapped("map")
    _, values = jax.jit(model.forward)(variables, images_for((8, 12)), {})
    assert model.attention_taps == ("block0/attention", "block1/attention")
    assert model.cam_tap == "block1/norm1"
    for tap in model.attention_taps:
        assert values[tap].shape == (2, 3, 6, 6)
        np.testing.assert_allclose(values[tap].sum(axis=-1), 1, atol=EXACT)
    pooling = values["MAPHead_0/MultiHeadDotProductAttention_0/attention"]
    assert pooling.shape == (2, 3, 1, 6)
    assert values["features"].shape == (2, 12)
    assert model.to_grid(values[model.cam_tap]).shape == (2, 2, 3, 12)
    with jax.disable_jit():
        x = values[model.cam_tap]
        np.testing.assert_array_equal(model.to_grid(x)[:, 1, 2], x[:, 5])


def test_taps_of_other_modules():
    model, variables, _ = wrapped("sharing")
    _, values = jax.jit(model.forward)(variables, images_for((6, 6)), {})
    assert model.attention_taps == tuple(f"block{i}/attention" for i in range(3))
    masked = values["block1/attention"]
    np.testing.assert_array_equal(masked, np.tril(masked))
    assert np.abs(np.triu(values["block0/attention"], 1)).max() > 0.01
    assert values["cross/attention"].shape == (2, 2, 1, 9)
    assert model.to_grid(values[model.cam_tap]).shape == (2, 3, 3, 8)
    np.testing.assert_array_equal(values["features"].shape, (2, 5))  # no output_projection
    model, _, _ = wrapped("no_positions")
    tokens = jnp.arange(10.0).reshape(1, 5, 2)  # the class token comes first
    np.testing.assert_array_equal(model.to_grid(tokens), tokens[:, 1:].reshape(1, 2, 2, 2))
    model, _, _ = wrapped("remade")
    assert (model.cam_tap, model.attention_taps) == ("last", ())
    model, variables, _ = wrapped("grids")
    _, values = jax.jit(model.forward)(variables, images_for((8, 8)), {})
    assert (model.cam_tap, model.attention_taps) == ("first", ())
    assert values["zeroth"].shape == (2, 8, 8, 4)
    assert model.to_grid(values["first"]).shape == (2, 4, 4, 4)


def test_gradients_to_watched_attention_are_finite_differences():
    model, variables, _ = wrapped("map")
    tap, score = model.attention_taps[0], taps.class_score(jnp.array([0, 2]))
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, "float64"), variables)
        images = jnp.asarray(images_for((8, 12)), "float64")
        direction = np.random.default_rng(2).normal(size=(2, 3, 6, 6))
        forward = jax.jit(model.forward)

        def along(step):
            return score(*forward(variables, images, {tap: step * direction})).sum()

        @jax.jit
        def gradient_of(variables, images):
            return taps.tap_grads(model.forward, variables, images, score, [tap])[2][tap]

        gradient = gradient_of(variables, images)
        expected = (along(1e-5) - along(-1e-5)) / 2e-5
        np.testing.assert_allclose((gradient * direction).sum(), expected, rtol=1e-6)


class TestWrap:
    @pytest.mark.parametrize("case", ["token", "gap", "resnet_8", "clip_vit", "clip_resnet"])
    def test_scenics_own_modules_are_converted(self, source, case, monkeypatch):
        module, variables, _, call = made(source, case)
        if source is twins:
            kind = {"V": "vit", "R": "resnet", "C": "clip.layers"}[type(module).__name__[0]]
            name = f"scenic.projects.baselines.{kind}"
            monkeypatch.setattr(type(module), "__module__", name)
        model, ours = scenic.wrap_scenic_model(
            types.SimpleNamespace(flax_model=module), variables, image_size=CASES[case][2], **SEEN
        )
        assert isinstance(model.forward, Network)
        if source is twins:
            expected = converted(case)
            assert model.forward == expected[0].forward
            jax.tree.map(np.testing.assert_array_equal, ours, expected[1])
            return
        images = images_for(CASES[case][2])
        logits, _ = jax.jit(model.forward)(ours, images, {})
        assert_logits(logits, jax.jit(call)(variables, seen(images)))

    @pytest.mark.parametrize(
        ("source", "fields"),
        [
            *((source, {"classifier": "map"}) for source in SOURCES),
            *((source, {"dtype": jnp.bfloat16}) for source in SOURCES if source == "scenic"),
        ],
        indirect=["source"],
    )
    def test_the_rest_of_scenics_is_watched(self, source, fields, monkeypatch):
        if source is twins:  # which computes in float32 only
            monkeypatch.setattr(twins.ViT, "__module__", "scenic.projects.baselines.vit")
        patches = ml_collections.ConfigDict(SMALL_VIT["patches"])
        module = source.ViT(**{**SMALL_VIT, "patches": patches, **fields})
        variables = twins.variables_of(module, (8, 12), train=False)
        model, _ = scenic.wrap_scenic_model(module, variables, image_size=(8, 12))
        assert isinstance(model.forward, watching.Watched)
        assert isinstance(hash(model), int)
        images = images_for((8, 12))
        logits, values = jax.jit(model.forward)(variables, images, {})
        call = jax.jit(lambda v, x: module.apply(v, x, train=False))
        assert_logits(logits, call(variables, images))
        assert values["block1/attention"].shape == (2, 3, 6, 6)
        assert model.to_grid(values[model.cam_tap]).shape == (2, 2, 3, 12)

    def test_a_tower_alone(self, monkeypatch):
        monkeypatch.setattr(
            twins.VisionTransformer, "__module__", "scenic.projects.baselines.clip.layers"
        )
        module = twins.VisionTransformer(4, 12, 2, 3, 6)
        variables = twins.variables_of(module, (12, 12))
        model, ours = scenic.wrap_scenic_model(module, variables, **SEEN)
        images = images_for((12, 12))
        logits, _ = jax.jit(model.forward)(ours, images, {})
        assert_logits(logits, jax.jit(module.apply)(variables, seen(images))[0])

    def test_what_cannot_be_wrapped(self):
        class Flat(nn.Module):
            @nn.compact
            def __call__(self, x):
                return nn.Dense(3)(x.reshape(len(x), -1))

        class Pair(nn.Module):
            def __call__(self, x):
                return x, x

        wrap = scenic.wrap_scenic_model
        with pytest.raises(ValueError, match="Flat has no attention and no grid outside of"):
            wrap(Flat(), twins.variables_of(Flat(), (4, 4)), image_size=(4, 4))
        with pytest.raises(ValueError, match=r"Pair returns tuple, expected logits \[b, classes\]"):
            wrap(Pair(), {"params": {}}, image_size=(4, 4))
        with pytest.raises(ValueError, match="give image_size="):
            wrap(Pair(), {"params": {}})


class TestInstalled:
    def given(self, folder, monkeypatch, *parts):
        for part in parts:
            (folder / "scenic" / part).mkdir(parents=True)
            (folder / "scenic" / part / "__init__.py").write_text("raise RuntimeError('imported')")
        if parts:
            (folder / "scenic" / "__init__.py").write_text("raise RuntimeError('imported')")
        monkeypatch.setattr(sys, "path", [str(folder)])
        monkeypatch.delitem(sys.modules, "scenic", raising=False)

    def test_googles(self, tmp_path, monkeypatch):
        self.given(tmp_path, monkeypatch, "model_lib", "projects")
        scenic.check_installed()

    def test_berkeleys(self, tmp_path, monkeypatch):
        self.given(tmp_path, monkeypatch, "syntax", "core")
        with pytest.raises(ImportError, match=r"scenario language.*google-research/scenic.*pip"):
            scenic.check_installed()
        with pytest.raises(ImportError, match=f"{tmp_path}.*scenario language"):
            scenic.wrap_scenic_model("vit", {}, image_size=(4, 4))

    def test_none(self, tmp_path, monkeypatch):
        self.given(tmp_path, monkeypatch)
        with pytest.raises(ImportError, match=r"there is no package scenic here.*--no-deps -e"):
            scenic.check_installed()

    def test_it_is_in_no_requirement(self, root):
        assert "scenic" not in (root / "setup.cfg").read_text()
        asked = (root / "requirements" / "scenic.txt").read_text().splitlines()
        assert not [line for line in asked if line.startswith("scenic")]
