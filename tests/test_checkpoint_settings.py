"""What a configuration says of a network: every key is used, fits what was read, or is refused."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import rival_jax
from rival_jax import models, weights
from rival_jax.experiments import preprocessing as _preprocessing
from rival_jax.interop import timm
from rival_jax.models import clip_resnet, clip_vit, resnet, settings, vit
from rival_jax.models.conversion import check_numbers
from rival_jax.types import Geometry
from rival_jax.weights import class_names, config_keys, hub_folder, names
from tests import network_weights
from tests.helpers import config_of
from tests.test_models import VARIANTS, random_variables

SCENES = Path(rival_jax.__file__).parent / "assets/scenes"
VIT = network_weights.vit()  # width 12, patches of 4, 2 blocks, hidden 20, 3 classes
RESNET = network_weights.resnet(depths=(2, 1))
CLIP = {name.removeprefix("visual."): t for name, t in network_weights.clip_vit().items()}
CLIP_RESNET = {n.removeprefix("visual."): t for n, t in network_weights.clip_resnet().items()}

REFUSED, SAME = "refused", "same"
VIT_KEYS = [  # timm's keywords of a vision transformer: (key, value, what becomes of it)
    *(("num_heads", 6, "heads"), ("num_heads", 0, REFUSED), ("num_heads", "3", REFUSED)),
    *(("num_heads", 10**30, REFUSED), ("act_layer", "gelu_tanh", "gelu")),
    *(("act_layer", "quick_gelu", "gelu"), ("act_layer", "gelu", SAME), ("act_layer", None, SAME)),
    *(("act_layer", "relu", REFUSED), ("act_layer", ["gelu"], REFUSED)),
    *(("norm_eps", 1e-3, "layer_norm_eps"), ("norm_eps", 0, REFUSED), ("norm_eps", -1, REFUSED)),
    *(("norm_eps", "1e-6", REFUSED), ("norm_eps", 1e400, REFUSED), ("norm_eps", True, REFUSED)),
    *(("img_size", [8, 12], SAME), ("img_size", 8, REFUSED), ("patch_size", 4, SAME)),
    *(("patch_size", [4, 4], SAME), ("patch_size", 16, REFUSED), ("in_chans", 3, SAME)),
    *(("in_chans", 1, REFUSED), ("embed_dim", 12, SAME), ("embed_dim", 24, REFUSED)),
    *(("depth", 2, SAME), ("depth", 12, REFUSED), ("mlp_ratio", 20 / 12, SAME)),
    *(("mlp_ratio", 1.67, SAME), ("mlp_ratio", 4, REFUSED), ("mlp_ratio", "4", REFUSED)),
    *(("num_classes", 3, SAME), ("num_classes", 4, REFUSED), ("global_pool", "token", SAME)),
    *(("global_pool", "map", "pool"), ("fc_norm", False, SAME), ("fc_norm", True, REFUSED)),
    *(("qkv_bias", True, SAME), ("qkv_bias", False, REFUSED), ("pre_norm", True, REFUSED)),
    *(("no_embed_class", False, SAME), ("no_embed_class", True, REFUSED)),
    *(("reg_tokens", 0, SAME), ("reg_tokens", -1, REFUSED)),
    *(("init_values", None, SAME), ("init_values", 1e-5, REFUSED), ("class_token", False, REFUSED)),
    *(
        ("final_norm", False, "final_norm"),
        ("proj_bias", False, REFUSED),
        ("qk_norm", True, REFUSED),
    ),
    *(("pos_embed", "none", REFUSED), ("pool_include_prefix", True, "pool_")),
    *(("scale_attn_norm", True, REFUSED), ("scale_mlp_norm", True, REFUSED)),
    *(("norm_layer", "rmsnorm", REFUSED), ("norm_layer", None, SAME), ("block_fn", "x", REFUSED)),
    *(("embed_layer", "x", REFUSED), ("embed_norm_layer", "x", REFUSED)),
    *(("mlp_layer", "swiglu", REFUSED), ("attn_layer", "x", REFUSED), ("distilled", True, REFUSED)),
    *(("representation_size", 5, REFUSED), ("representation_size", None, SAME)),
    *(("drop_rate", 0.1, SAME), ("drop_path_rate", 0.5, SAME), ("attn_drop_rate", 0.1, SAME)),
    *(("dynamic_img_size", True, SAME), ("weight_init", "skip", SAME)),
    *(("output_stride", 16, REFUSED), ("window_size", 7, REFUSED), ("hidden_act", "x", REFUSED)),
]
RESNET_KEYS = [
    *(("layers", [2, 1], SAME), ("layers", [2, 2], REFUSED), ("in_chans", 3, SAME)),
    *(("in_chans", 4, REFUSED), ("num_classes", 3, SAME), ("num_classes", 5, REFUSED)),
    *(("global_pool", "avg", SAME), ("global_pool", "max", REFUSED), ("stem_width", 4, SAME)),
    *(("stem_width", 64, REFUSED), ("base_width", 64, SAME), ("base_width", 128, REFUSED)),
    *(("cardinality", 1, SAME), ("cardinality", 32, REFUSED), ("output_stride", 32, SAME)),
    *(("output_stride", 16, REFUSED), ("output_stride", 8, REFUSED), ("avg_down", True, REFUSED)),
    *(("stem_type", "deep", REFUSED), ("stem_type", "", SAME), ("act_layer", "relu", SAME)),
    *(("act_layer", "silu", REFUSED), ("act_layer", "gelu", REFUSED), ("aa_layer", "b", REFUSED)),
    *(("norm_layer", "groupnorm", REFUSED), ("block_reduce_first", 2, REFUSED)),
    *(("down_kernel_size", 3, REFUSED), ("replace_stem_pool", True, REFUSED)),
    *(("block_args", {"attn_layer": "se"}, REFUSED), ("channels", [4, 8], SAME)),
    *(("channels", [4, 16], REFUSED), ("zero_init_last", True, SAME), ("drop_rate", 0.2, SAME)),
    *(("drop_block_rate", 0.2, SAME), ("num_heads", 3, REFUSED), ("width_per_group", 4, REFUSED)),
]
CLIP_KEYS = [
    *(("act_layer", "gelu", "gelu"), ("num_heads", 4, "heads"), ("embed_dim", 13, REFUSED)),
    *(("output_stride", 16, REFUSED), ("qkv_bias", False, REFUSED), ("norm_eps", 1e-6, "layer")),
]
TABLES = {
    "vit": (vit, VIT, VIT_KEYS, {"num_heads": 3}, (8, 12)),
    "resnet": (resnet, RESNET, RESNET_KEYS, {}, (24, 40)),
    "clip_vit": (clip_vit, CLIP, CLIP_KEYS, {"num_heads": 3}, (8, 12)),
    "clip_resnet": (
        *(clip_resnet, CLIP_RESNET),
        [("output_stride", 16, REFUSED), ("act_layer", "gelu", REFUSED), ("num_heads", 4, "heads")],
        *({}, (64, 96)),
    ),
}


def read(family, tensors, size, args, **said):
    """What a file is read as, with a configuration of these `model_args`."""
    args = settings.Settings(args)
    found = family.infer(tensors, weights.Config(model_args=args, image_size=size, **said))
    settings.check_asked(args, family.__name__)
    return found


@pytest.mark.parametrize(
    ("table", "key", "value", "becomes"),
    [(name, *row) for name, table in TABLES.items() for row in table[2]],
)
def test_each_setting_is_used_or_fits_or_is_refused_by_name(table, key, value, becomes):
    family, tensors, _, args, size = TABLES[table]
    before = read(family, tensors, size, args)
    if becomes == REFUSED:
        with pytest.raises(ValueError, match=rf"^[^\n]*{key}[^\n]*$") as error:
            read(family, tensors, size, {**args, key: value})
        assert len(str(error.value)) < 400
        return
    after = read(family, tensors, size, {**args, key: value})
    changed = [field for field in before if before[field] != after[field]]
    assert len(changed) == (becomes != SAME)
    assert not changed or changed[0].startswith(becomes)


@pytest.mark.parametrize(
    ("table", "architecture", "fine"),
    [
        *(("resnet", "resnet50", True), ("resnet", "resnet50.a1_in1k", True)),
        *(("resnet", "resnetaa50", True), ("resnet", "ecaresnet50d", False)),
        *(("resnet", "seresnet50", False), ("vit", "vit_base_patch16_224.augreg", True)),
        *(("vit", "deit3_small_patch16_224", True), ("vit", "vit_base_patch16_rope_224", False)),
        *(("vit", "eva02_tiny_patch14_224", False), ("vit", "beit_base_patch16_224", False)),
    ],
)
def test_an_architecture_that_looks_alike_is_refused(table, architecture, fine):
    family, tensors, _, args, size = TABLES[table]
    if fine:
        read(family, tensors, size, args, architecture=architecture)
        return
    with pytest.raises(ValueError, match=f"architecture is '{architecture}'"):
        read(family, tensors, size, args, architecture=architecture)


def test_the_gelu_of_a_clip_is_as_its_name_says():
    gelu = lambda name: read(clip_vit, CLIP, (8, 12), {"num_heads": 3}, architecture=name)["gelu"]  # noqa: E731
    assert gelu("vit_base_patch16_clip_224.laion2b") == "exact"
    assert gelu("vit_base_patch16_clip_quickgelu_224.openai") == "quick"
    assert gelu(None) == "quick"


def write(folder: Path, **content) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return path


WHOLE = {"input_size": [3, 8, 8], "mean": [0.5] * 3, "std": [0.5] * 3}
WHOLE |= {"interpolation": "bilinear", "crop_pct": 1.0}


@pytest.mark.parametrize("key", sorted(config_keys.INERT - {*class_names.KEYS}))
def test_keys_that_matter_not(key, tmp_path):
    plain = weights.read_config(write(tmp_path, **WHOLE))
    assert weights.read_config(write(tmp_path, **WHOLE, **{key: "x"})) == plain
    assert weights.read_config(write(tmp_path, pretrained_cfg={**WHOLE, key: "x"})) == plain


@pytest.mark.parametrize("key", ["hidden_dims", "layer_norm_epz", "patches", "norm", "Mean", "x"])
def test_keys_that_may_matter_are_refused_by_name(key, tmp_path):
    for content in ({**WHOLE, key: 1}, {"pretrained_cfg": {**WHOLE, key: 1}}):
        with pytest.raises(ValueError, match=rf"config\.json: '{key}' is 1: not a key that is"):
            weights.read_config(write(tmp_path, **content))


def test_transformers_keys_are_read_as_timms(tmp_path):
    said = {"num_attention_heads": 6, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
    said |= {"hidden_size": 12, "model_type": "vit", "num_channels": 3}
    config = weights.read_config(write(tmp_path, **WHOLE, **said))
    found = read(vit, VIT, (8, 12), config.model_args)
    assert (found["heads"], found["gelu"], found["layer_norm_eps"]) == (6, "exact", 1e-12)
    for wrong in ({"hidden_size": 24}, {"hidden_act": "gelu_new"}, {"num_hidden_layers": 3}):
        config = weights.read_config(write(tmp_path, **{**WHOLE, **said, **wrong}))
        with pytest.raises(ValueError, match=r"embed_dim|act_layer|depth"):
            read(vit, VIT, (8, 12), config.model_args)
    both = {**said, "model_args": {"num_heads": 3}}
    with pytest.raises(ValueError, match=r"num_attention_heads is 6, but model_args\.num_heads"):
        weights.read_config(write(tmp_path, **WHOLE, **both))


HUGE = "1" + "0" * 400
WRONG = {  # of each key, as it is written in the file
    "mean": (f"[{HUGE}, {HUGE}, {HUGE}]", "[1e400, 0, 0]", "[true, 0, 0]", '["0.5", 0, 0]', "{}"),
    "std": ("[-1, -1, -1]", "[0, 1, 1]", "[58.4, 57.1, 57.4]", "[1e-300, 1, 1]", "0.5"),
    "input_size": ("[3, 0, 0]", "[3, -8, 8]", f"[3, 8, {HUGE}]", "[3, 8.0, 8]", "224", "[3, 8]"),
    "crop_pct": ("0", "-1", "1e400", "true", '"0.9"', HUGE),
    "num_classes": ("-1", HUGE, "true", "1.0", '"10"', "[10]"),
    "interpolation": ('"bicubicc"', "3", "[]"),
    "architecture": ("7", '["vit"]'),
    "model_args": ("[]", '"x"'),
    "crop_mode": ('"middle"', "1"),
}


@pytest.mark.parametrize(
    ("key", "text"),
    [(k, t) for k, texts in WRONG.items() for t in texts if (k, t) != ("mean", "{}")],
)
def test_a_value_that_is_none_is_refused_by_file_and_key(key, text, tmp_path):
    path = tmp_path / "config.json"
    for content in (f'{{"{key}": {text}}}', f'{{"pretrained_cfg": {{"{key}": {text}}}}}'):
        path.write_text(content)
        with pytest.raises(ValueError, match=rf"config\.json: {key} is ") as error:
            weights.read_config(path)
        assert len(str(error.value)) - len(str(path)) < 200
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "not a key that is known|nested too deeply"),
        (b'{"mean": [NaN, 0, 0]}', "NaN is no number"),
        (b'{"std": [1, 1, Infinity]}', "Infinity is no number"),
        (b'{"num_classes": 10, "num_classes": 11}', "'num_classes' twice, differently"),
        (b'{"mean": [1,1,1], "pretrained_cfg": {"mean": [0,0,0]}}', r"mean is \[1, 1, 1\] at the"),
        (b'\xff\xfe{"\x00', "is not JSON"),
        pytest.param(b'{"model_args":' * 100_000, "nested too deeply", id="objects"),
        pytest.param(
            b'{"mean": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply", id="whole"
        ),
        (b"9" * 5000, "is not JSON"),
        (b"", "is not JSON"),
    ],
)
def test_a_broken_config_is_one_line(content, message, tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^[^\n]*config\.json[^\n]*({message})[^\n]*$"):
        weights.read_config(path)


def test_a_crop_that_is_not_computed_is_a_notice(tmp_path):
    config = weights.read_config(write(tmp_path, **WHOLE, crop_mode="squash"))
    assert "crop_mode is 'squash', which is not supported" in config.notices[0]
    assert weights.read_config(write(tmp_path, **WHOLE, crop_mode="center")).notices == ()


# ---- files that come alone, and what is given instead


@pytest.fixture
def lone(tmp_path):
    path = tmp_path / "mine.safetensors"
    shutil.copy(SCENES / "resnet_95/model.safetensors", path)
    return path


def test_a_lone_file_says_all_that_was_assumed(lone):
    (notice,) = models.load(str(lone))[0].notices
    assert re.search(
        r"mine: no config\.json .*mine\.safetensors, .*: mean 0\.485 0\.456 0\.406, std 0\.229 "
        r"0\.224 0\.225, interpolation bicubic, crop_pct 0\.875, input_size 224x224\. ",
        notice,
    )


def test_what_is_given_is_not_assumed(lone):
    given = {"mean": (0.5,) * 3, "std": [0.25] * 3, "interpolation": "bilinear", "crop_pct": 1.0}
    model, _ = models.load(str(lone), image_size=(64, 64), given=given)
    assert model.notices == ()
    there, _ = models.load("scenes/resnet_95")
    named = {"name": there.name, "class_names": there.class_names}  # a lone file has neither
    assert dataclasses.replace(model, **named) == there
    (notice,) = models.load(str(lone), given={"mean": (0.5,) * 3})[0].notices
    assert "mean" not in notice.partition("this was assumed: ")[2].partition(". Write")[0]


def test_what_is_given_against_the_checkpoint_is_a_notice():
    model, _ = models.load("scenes/resnet_95", given={"std": (0.5,) * 3, "mean": (0.5,) * 3})
    assert (model.std, model.mean) == ((0.5,) * 3, (0.5,) * 3)
    assert model.notices == (
        "scenes/resnet_95: std 0.5 0.5 0.5, as --config.preprocessing.std says, in place of the "
        "checkpoint's 0.25 0.25 0.25",
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("mean", (0.5,)), ("std", (0.5, 0.5, -0.5)), ("std", (58.0, 57.0, 57.0))),
        *(("interpolation", "cubic"), ("crop_pct", 2.0), ("mean", "0.5"), ("mean", 0.5)),
    ],
)
def test_what_is_given_is_checked(key, value):
    with pytest.raises(ValueError, match=rf"--config\.preprocessing\.{key}=.*expected"):
        models.load("scenes/resnet_95", given={key: value})


def test_heads_are_given_where_nothing_says_them(tmp_path):
    path = tmp_path / "mine.safetensors"
    shutil.copy(SCENES / "vit_95/model.safetensors", path)
    with pytest.raises(ValueError, match=r"no tensor tells .*--config\.preprocessing\.num_heads"):
        models.load(str(path))
    model, _ = models.load(str(path), given={"num_heads": 2})
    there, _ = models.load("scenes/vit_95")
    assert model.forward.module == there.forward.module
    assert "act_layer exact, norm_eps 1e-06" in model.notices[0]
    assert "num_heads" not in model.notices[0]
    other, _ = models.load(str(path), given={"num_heads": 4})
    assert other.settings == ("num_heads=4",)
    assert model.settings == there.settings == ("num_heads=2",)  # results of the two differ
    with pytest.raises(ValueError, match="num_heads=4, but the checkpoint says 2"):
        models.load("scenes/vit_95", given={"num_heads": 4})
    with pytest.raises(ValueError, match="width 64 is no multiple of 5 heads"):
        models.load(str(path), given={"num_heads": 5})


def test_a_setting_that_would_do_nothing_is_refused():
    config = config_of("rfs")
    _preprocessing.check_treatment(config)
    config.preprocessing.interpolation = "bicubic"
    with pytest.raises(ValueError, match=r"interpolation='bicubic' .* --config\.data\.resize=crop"):
        _preprocessing.check_treatment(config)
    config.data.resize = "crop"
    _preprocessing.check_treatment(config)
    config.preprocessing.mean, config.normalise = (0.5, 0.5, 0.5), "none"
    with pytest.raises(ValueError, match=r"mean=.* would do nothing: config\.normalise='none'"):
        _preprocessing.check_treatment(config)


def test_a_description_says_what_a_picture_really_becomes():
    model = dataclasses.replace(VARIANTS["resnet"], interpolation="bicubic", crop_pct=0.9)
    assert "16x16 bicubic, crop 0.9, mean" in models.describe(model)
    squashed = Geometry(model.image_size, "squash", "bilinear")
    assert "16x16 squashed, bilinear, mean" in models.describe(model, squashed)
    cropped = Geometry(model.image_size, "crop", "bicubic", 0.9)
    assert models.describe(model, cropped) == models.describe(model)


# ---- numbers, names, and the way to timm


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.ones(3, np.int8), "holds int8, not floating point"),
        (np.ones(3, bool), "holds bool, not floating point"),
        (np.ones(3, np.complex64), "holds complex64"),
        (np.array([1, np.nan, 2], np.float32), "holds 1 of 3 numbers that are NaN, infinite"),
        (np.array([1, np.inf, -np.inf], np.float16), "holds 2 of 3 numbers"),
        (np.array([1e300, 1], np.float64), "beyond float32"),
    ],
)
def test_weights_are_finite_floating_point_numbers(tensor, message):
    check_numbers("w", np.ones(3, np.float16))
    with pytest.raises(ValueError, match=f"^w .*{message}"):
        check_numbers("w", tensor)


def test_a_variance_below_0_is_refused():
    with pytest.raises(ValueError, match="running_var is a variance and holds -1"):
        check_numbers("bn1.running_var", np.array([1, -1], np.float32))


def test_integer_weights_are_refused_with_their_file(tmp_path):
    model = VARIANTS["resnet"]
    tensors = resnet.export(random_variables(model), model)
    tensors["fc.weight"] = (100 * tensors["fc.weight"]).astype(np.int8)
    weights.write_tensors(tmp_path / "net.safetensors", tensors)
    with pytest.raises(ValueError, match=r"net\.safetensors: fc\.weight holds int8"):
        models.load(str(tmp_path / "net.safetensors"))


@pytest.mark.parametrize(
    "name",
    [
        *("..", ".", "...", "", " ", "a/b", "a\\b", "a\nb", "a\x1bb", "\udcff", "a\u202eb", "nul"),
        *("COM1", "con.v1", "x.parquet", "dot.", "space ", "a" * 201, "\u00e9" * 101, "a:b", "a*"),
    ],
)
def test_a_name_that_would_lead_out_of_its_folder_is_refused(name):
    with pytest.raises(ValueError, match="would be called") as error:
        names.called(name, Path("weights.pth"))
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", ["vit_00", "netz-ü 1", "Ti_16-i21k-lr_0.001", "模型", "console"])
def test_other_names_stay(name):
    assert names.called(name, Path("weights.pth")) == name


@pytest.mark.parametrize("file", ["...safetensors", "..safetensors.pth", "a\tb.safetensors"])
def test_a_file_of_such_a_name_is_refused(file, tmp_path):
    shutil.copy(SCENES / "resnet_95/model.safetensors", tmp_path / file)
    if file == "..safetensors.pth":
        assert weights.locate(str(tmp_path / file)).name == "..safetensors"
        return
    with pytest.raises(ValueError, match=r"would be called .*; rename the file or its folder"):
        models.load(str(tmp_path / file))


def test_timms_network_is_built_from_what_the_user_wrote():
    """A misreading of ours must show in the comparison, so none of ours goes in."""
    model = VARIANTS["vit"]
    said = weights.Config(
        architecture="vit_tiny_patch16_224",
        global_pool="token",
        model_args={"num_heads": 7, "act_layer": "gelu_tanh"},
    )
    name, keywords = timm.arguments(model, said)
    assert name == "vit_tiny_patch16_224"
    assert keywords == {
        "num_heads": 7, "act_layer": "gelu_tanh", "global_pool": "token", "img_size": [8, 12],
        "num_classes": 3,
    }  # fmt: skip
    name, keywords = timm.arguments(model)
    assert (name, keywords["num_heads"]) == ("vit_base_patch16_224", 2)
    assert timm.arguments(model, weights.Config(model_args={"num_heads": 7}))[1] == keywords
    _, keywords = timm.arguments(VARIANTS["resnet"], weights.Config(architecture="resnet18"))
    assert keywords == {"num_classes": 3}


def test_the_tables_of_keys_do_not_overlap():
    assert not config_keys.INERT & set(hub_folder._FIELDS)
    assert not config_keys.INERT & config_keys._SAME.keys()
    asked = {key for _, _, rows, _, _ in TABLES.values() for key, _, becomes in rows}
    assert {"num_heads", "act_layer", "norm_eps"} <= asked
