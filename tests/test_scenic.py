"""Scenic's trees and checkpoints as our networks, and back again.

Everything runs on twins of its modules; where Google's Scenic can be imported, or a checkout of
it is named by RIVAL_JAX_SCENIC, on its own modules too.
"""

from __future__ import annotations

import contextlib
import copy
import warnings

import flax
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest
from flax.training import checkpoints

from rival_jax import models
from rival_jax.interop import scenic
from rival_jax.models import resnet, vit
from tests import scenic_twins as twins
from tests.scenic_cases import (
    CASES,
    HERE,
    SEEN,
    SOURCES,
    STOOD_FOR,
    assert_logits,
    converted,
    google_scenic,
    images_for,
    leaves_of,
    made,
    seen,
)
from tests.scenic_twins import SMALL_VIT


@pytest.fixture(params=SOURCES)
def source(request):
    return twins if request.param == "twins" else google_scenic()


def blank(model):
    return twins.drawn(jax.eval_shape(model.init, jax.random.key(0)))


@pytest.mark.parametrize(
    ("source", "case"),
    [(s, c) for s in SOURCES for c in CASES if s == "scenic" or c not in STOOD_FOR],
    indirect=["source"],
)
def test_logits_are_scenics_and_the_way_back_is_exact(source, case):
    _, variables, config, call = made(source, case)
    size, before = CASES[case][2], copy.deepcopy(variables)
    model, ours = scenic.from_scenic(variables, config, name=case, image_size=size, **SEEN)
    assert (model.name, model.image_size, model.mean) == (case, size, SEEN["mean"])
    images = images_for(size)
    logits, _ = jax.jit(model.forward)(ours, images, {})
    assert_logits(logits, jax.jit(call)(variables, seen(images)))
    back, given = leaves_of(scenic.to_scenic(model, ours)), leaves_of(variables)
    if "clip" in case:
        given = {path: leaf for path, leaf in given.items() if "/visual/" in path}
    assert back.keys() == given.keys()
    for path, leaf in given.items():
        assert back[path].dtype == leaf.dtype
        np.testing.assert_array_equal(back[path], leaf, err_msg=path)
    jax.tree.map(np.testing.assert_array_equal, variables, before)


def train_state(variables, kind: str) -> dict:
    """What Scenic's trainers save: now, with flax.optim, and before it had collections."""
    state = {"global_step": 3, "rng": np.zeros(2, np.uint32), "metadata": {"lap": 1}}
    statistics = {k: v for k, v in variables.items() if k != "params"}
    moments = jax.tree.map(lambda leaf: leaf + 1, variables["params"])
    if kind == "optax":
        momentum = {"0": {"trace": moments}, "1": {}}
        state |= {"params": variables["params"], "opt_state": momentum, "model_state": statistics}
    elif kind == "optim":
        optimizer = {"target": variables["params"], "state": {"param_states": moments}}
        state |= {"optimizer": optimizer, "model_state": statistics or None}
    else:
        optimizer = {"target": {"params": variables["params"]}, "state": {"step": 3}}
        state |= {"optimizer": optimizer, "model_state": statistics.get("batch_stats", {})}
    return state


@contextlib.contextmanager
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("form", ["msgpack", "orbax"])
@pytest.mark.parametrize("kind", ["optax", "optim", "pre_linen"])
@pytest.mark.parametrize("case", ["token", "resnet_8"])
def test_a_checkpoint_is_read(tmp_path, case, kind, form):
    _, variables, config, _ = made(twins, case)
    state = train_state(variables, kind)
    path = tmp_path / "run" / "checkpoint_3"
    with flax.config.temp_flip_flag("use_orbax_checkpointing", form == "orbax"), _quiet():
        checkpoints.save_checkpoint(str(path.parent), state, 3)
    assert path.is_dir() == (form == "orbax")
    size = CASES[case][2]
    model, ours = scenic.load(path, config, image_size=size, **SEEN)
    assert model.name == "run"
    expected, variables = converted(case)
    assert model.forward == expected.forward
    jax.tree.map(np.testing.assert_array_equal, ours, variables)


BY_SCENIC = [
    (case, form)
    for case in ("token", "resnet_18", "resnet_50", "clip_vit", "clip_resnet")
    for form in ("msgpack", "orbax")
]


@pytest.mark.parametrize(("case", "form"), BY_SCENIC if HERE else BY_SCENIC[:1])
def test_a_checkpoint_by_scenic_itself_is_read(tmp_path, case, form):
    source = google_scenic()
    _, variables, config, call = made(source, case)
    optimizer = optax.sgd(0.1, momentum=0.9)
    state = source.TrainState(
        tx=optimizer,
        params=variables["params"],
        opt_state=optimizer.init(variables["params"]),
        model_state={key: value for key, value in variables.items() if key != "params"},
        global_step=3,
        rng=jax.random.PRNGKey(0),
        metadata={"lap": 1},
    )
    with flax.config.temp_flip_flag("use_orbax_checkpointing", form == "orbax"), _quiet():
        source.save_checkpoint(str(tmp_path), state)
    size = CASES[case][2]
    model, ours = scenic.load(tmp_path / "checkpoint_3", config, image_size=size, **SEEN)
    images = images_for(size)
    expected = jax.jit(call)(variables, seen(images))
    assert_logits(jax.jit(model.forward)(ours, images, {})[0], expected)
    # And the other way: our parameters, drawn anew, in Scenic's module.
    ours = blank(model)
    expected = jax.jit(model.forward)(ours, images, {})[0]
    tree = scenic.to_scenic(model, ours)
    tree = {kind: {**variables[kind], **tree[kind]} for kind in variables}  # and CLIP's text
    assert_logits(jax.jit(call)(tree, seen(images)), expected)


def test_frozen_and_bare_parameters_are_read():
    _, variables, config, _ = made(twins, "token")
    expected = converted("token")[1]
    for tree in (flax.core.freeze(variables), variables["params"]):
        _, ours = scenic.from_scenic(tree, config, name="t", image_size=(8, 12), **SEEN)
        jax.tree.map(np.testing.assert_array_equal, ours, expected)


def test_bfloat16_stays_bfloat16():
    _, variables, config, _ = made(twins, "token")
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), variables)
    model, ours = scenic.from_scenic(half, config, name="t", image_size=(8, 12), **SEEN)
    back = scenic.to_scenic(model, ours)
    for path, leaf in leaves_of(half).items():
        assert leaves_of(back)[path].dtype == jnp.bfloat16
        np.testing.assert_array_equal(leaves_of(back)[path], leaf)


def test_sizes_come_from_the_weights_when_the_config_is_silent():
    _, variables, _, _ = made(twins, "representation")
    model, ours = scenic.from_scenic(variables, {}, name="t", **SEEN)
    assert model.image_size == (8, 8)
    assert model.num_classes == 5
    assert model.feature_tap == "features"
    _, values = jax.eval_shape(model.forward, ours, jnp.zeros((1, 8, 8, 3)), {})
    assert values["features"].shape == (1, 7)
    assert values["block1/attention"].shape == (1, 3, 5, 5)


@pytest.mark.parametrize(
    ("case", "change", "message"),
    [
        ("token", {"num_layers": 12}, "num_layers is 12 in the config, 2 in the weights"),
        ("token", {"num_heads": 4}, "num_heads is 4 in the config, 3 in"),
        ("token", {"patches": {"size": [16, 16]}}, r"patches.size is \(16, 16\) in the config"),
        ("token", {"classifier": "gap"}, "classifier is 'gap' in the config, 'token' in"),
        ("token", {"representation_size": 3}, "representation_size is 3 in the config, 0 in"),
        ("gap", {"classifier": "map"}, "'map', has to be one of gap, gmp, gsp"),
        ("gap", {"classifier": "token"}, "'token', has to be one of gap"),
        ("resnet_8", {"num_layers": 34}, "num_layers is 34 in the config, 8 in"),
        ("resnet_8", {"num_outputs": None}, "num_outputs is None in the config, 5 in"),
        ("clip_vit", {"embed_dim": 512}, "embed_dim is 512 in the config, 6 in"),
        ("clip_resnet", {"vision_num_layers": [3, 4]}, r"vision_num_layers is \[3, 4\] in"),
    ],
)
def test_a_config_of_another_network_is_refused(case, change, message):
    _, variables, config, _ = made(twins, case)
    config = {"model": {**config["model"], **change}}
    with pytest.raises(ValueError, match=message):
        scenic.from_scenic(variables, config, name="t", image_size=CASES[case][2], **SEEN)


BLOCK = ("params", "Transformer", "encoderblock_1")


@pytest.mark.parametrize(
    ("case", "path", "leaf", "message"),
    [
        (
            "token",
            (*BLOCK, "LayerNorm_1", "scale"),
            None,
            r"1 missing from the tree: Transf.*scale",
        ),
        (
            "token",
            (*BLOCK, "MultiHeadDotProductAttention_0", "query", "bias"),
            None,
            "1 missing from the tree: Transformer/encoderblock_1/.*/query/bias$",
        ),
        ("token", ("params", "extra"), 1, "1 in the tree but not in the network: extra"),
        ("token", (*BLOCK, "LayerNorm_1", "mean"), 1, "not in the network: Transformer/.*mean"),
        (
            "token",
            (*BLOCK, "MlpBlock_0", "Dense_1", "bias"),
            3,
            r"1 of another shape: .*Dense_1/bias \(got \(3,\), expected \(12,\)\)",
        ),
        ("token", ("params", "embedding", "kernel"), None, "the tree has no embedding/kernel"),
        (
            "resnet_8",
            ("batch_stats", "init_bn", "var"),
            None,
            "missing from the tree: init_bn/var",
        ),
        (
            "resnet_8",
            ("params", "ResidualBlock_1", "proj_conv", "kernel"),
            None,
            "1 missing from the tree: ResidualBlock_1/proj_conv/kernel",
        ),
        (
            "clip_vit",
            ("params", "visual", "proj", "bias"),
            6,
            "not in the network: visual/proj/bias",
        ),
        ("clip_vit", ("params", "audio"), 6, "not in the network: audio"),
        ("clip_resnet", ("params", "visual", "conv3", "kernel"), None, "no visual/conv3/kernel"),
    ],
)
def test_every_leaf_has_its_place(case, path, leaf, message):
    _, variables, config, _ = made(twins, case)
    node = variables
    for name in path[:-1]:
        node = node[name]
    if leaf is None:
        del node[path[-1]]
    else:
        node[path[-1]] = np.zeros(leaf, np.float32)
    with pytest.raises(ValueError, match=message):
        scenic.from_scenic(variables, config, name="t", image_size=CASES[case][2], **SEEN)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classifier": "map"}, "classifier='map' is not ours; .*wrap_scenic_model"),
        ({"positional_embedding": "none"}, "only positional_embedding='learned_1d'"),
        ({"patches": {"size": (4, 8)}}, "patches of 4x8; ours are square"),
    ],
)
def test_other_arithmetic_is_refused(fields, message):
    module = twins.ViT(**{**SMALL_VIT, **fields})
    variables = twins.variables_of(module, (8, 8), train=False)
    with pytest.raises(ValueError, match=message):
        scenic.from_scenic(variables, {"model": fields}, name="t", **SEEN)


def test_what_is_of_no_known_network_is_refused():
    tree = {"params": {"stem": {"kernel": np.zeros((2, 2))}}}
    with pytest.raises(ValueError, match=r"stem/kernel ... belong to no ViT, ResNet or CLIP"):
        scenic.from_scenic(tree, {}, name="t", **SEEN)


@pytest.mark.parametrize("size", [None, (8, 8)])
def test_positions_that_fit_no_image_are_refused(size):
    _, variables, config, _ = made(twins, "token")
    with pytest.raises(ValueError, match=r"have 6 positions 4 pixels apart.*give the image_size="):
        scenic.from_scenic(variables, config, name="t", image_size=size, **SEEN)


class TestInput:
    def of(self, config, **given):
        variables = made(twins, "resnet_8")[1]
        return scenic.from_scenic(variables, ml_collections.ConfigDict(config), name="t", **given)[
            0
        ]

    def test_imagenet(self):
        model = self.of({"dataset_name": "imagenet", "num_layers": 8})
        assert (model.mean, model.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        assert (model.image_size, model.interpolation) == ((224, 224), "bicubic")
        assert model.crop_pct == 0.875

    def test_cifar10(self):
        model = self.of({"dataset_name": "cifar10"})
        assert (model.mean[0], model.std[2], model.image_size) == (0.4914, 0.2616, (32, 32))

    def test_the_steps_of_bit(self):
        steps = "decode|resize_small(48)|central_crop(36)|value_range(-1, 1)|onehot(5)"
        config = {"dataset_name": "bit", "dataset_configs": {"pp_eval": steps, "num_classes": 5}}
        model = self.of(config)
        assert (model.mean, model.std) == ((0.5,) * 3, (0.5,) * 3)
        assert (model.image_size, model.crop_pct) == ((36, 36), 0.75)
        config["dataset_configs"]["pp_eval"] = "decode|resize(32)|value_range(0, 1)"
        model = self.of(config)
        assert (model.mean, model.std) == ((0,) * 3, (1,) * 3)
        assert (model.image_size, model.crop_pct) == ((32, 32), 1.0)
        config["dataset_configs"]["num_classes"] = 10
        _, variables, _, _ = made(twins, "representation")
        with pytest.raises(ValueError, match="num_classes is 10 in the config, 5 in the weights"):
            scenic.from_scenic(variables, config, name="t")

    def test_what_is_given_counts_more(self):
        model = self.of({"dataset_name": "imagenet"}, image_size=(40, 48), **SEEN)
        assert (model.mean, model.std, model.image_size) == (*SEEN.values(), (40, 48))

    @pytest.mark.parametrize("config", [{}, {"dataset_name": "bit"}, {"dataset_name": "ours"}])
    def test_silence_is_refused(self, config):
        with pytest.raises(ValueError, match="does not say how images are normalised; give mean="):
            self.of(config)

    def test_clip_has_its_own(self):
        _, variables, config, _ = made(twins, "clip_vit")
        model, _ = scenic.from_scenic(variables, config["model"], name="t")
        assert (model.mean[0], model.std[0]) == (0.48145466, 0.26862954)
        assert (model.image_size, model.crop_pct) == ((12, 12), 1.0)

    def test_a_config_of_another_kind(self):
        with pytest.raises(ValueError, match="config is a str"):
            scenic.from_scenic({"params": {}}, "vit.py", name="t")


TINY = {"name": "t", "num_classes": 3, "image_size": (8, 8), "patch_size": 4, "width": 8}
TINY |= {"depth": 1, "heads": 2}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (vit.build(**TINY), "Scenic has no transformer with gelu='exact'"),
        (vit.build(**TINY, gelu="tanh", layer_scale=True), "with layer_scale=True$"),
        (vit.build(**TINY, gelu="tanh", layer_norm_eps=1e-5), "with layer_norm_eps=1e-05"),
        (vit.build(**TINY, gelu="tanh", pool="avg"), "with pool='avg'"),
        (resnet.build(name="t", num_classes=3, width=4), "bottleneck=False only with project_all"),
        (
            resnet.build(name="t", num_classes=3, width=4, bottleneck=True, project_all=True),
            "bottleneck=True only with project_all=False",
        ),
    ],
)
def test_what_scenic_has_not_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        scenic.to_scenic(model, jax.eval_shape(model.init, jax.random.key(0)))


def test_our_transformer_goes_to_scenic_and_back():
    model = vit.build(**TINY, gelu="tanh", **SEEN)
    variables = blank(model)
    tree = scenic.to_scenic(model, variables)
    again, same = scenic.from_scenic(tree, {}, name="t", **SEEN)
    assert again.forward == model.forward
    jax.tree.map(np.testing.assert_array_equal, same, variables)


@pytest.mark.parametrize("case", ["token", "resnet_8", "clip_vit"])
def test_a_converted_network_is_kept_as_a_folder(tmp_path, case):
    model, variables = converted(case)
    models.save(tmp_path / "kept", model, variables)
    again, same = models.load(str(tmp_path / "kept"))
    assert again.forward == model.forward
    jax.tree.map(np.testing.assert_array_equal, same, variables)


def test_no_folder_for_a_network_without_a_class_token(tmp_path):
    with pytest.raises(ValueError, match=r"no class token.*to_scenic"):
        models.save(tmp_path, *converted("gap"))


@pytest.mark.parametrize("depths", [(1, 1), (2, 1)])
@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("project_all", [False, True])
def test_projections_are_told_from_the_tensors(depths, bottleneck, project_all):
    fields = {"num_classes": 3, "width": 4, "depths": depths, "bottleneck": bottleneck}
    model = resnet.build(name="t", **fields, project_all=project_all)
    variables = blank(model)
    tensors = resnet.export(variables, model)
    blocks = [name for name in tensors if name.endswith("downsample.0.weight")]
    plain = 2 if bottleneck else 1  # the first of a stage, of the first only where it widens
    assert len(blocks) == (sum(depths) if project_all else plain)
    found = resnet.infer(tensors, models.weights.Config(num_classes=3))
    again = resnet.build(name="t", **found)
    jax.tree.map(np.testing.assert_array_equal, resnet.convert(tensors, again), variables)
    if (depths, bottleneck) != ((1, 1), True):  # there both are one network
        assert found["project_all"] == project_all
