"""Checkpoint files: what is read, what is refused, and that nothing is lost on the way back."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from rival_jax import models, weights
from rival_jax.models import resnet, vit, vit_names
from tests.test_models import SMALL_RESNET, SMALL_VIT, VARIANTS, random_images, random_variables

VIT_TINY = "data/weights/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
FULL_VIT = vit.build(
    **{**SMALL_VIT, "depth": 1}, register_tokens=2, layer_scale=True, representation_size=5
)
FULL_RESNET = resnet.build(**SMALL_RESNET, bottleneck=True)


def tensors_of(model) -> dict[str, np.ndarray]:
    return family_of(model).export(random_variables(model), model)


def family_of(model):
    return vit if model.attention_taps else resnet


@pytest.mark.parametrize(
    ("model", "name"),
    [(model, name) for model in (FULL_VIT, FULL_RESNET) for name in tensors_of(model)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_tensor_that_does_not_fit_is_named(model, name):
    tensors = tensors_of(model)
    tensor = tensors.pop(name)
    convert = family_of(model).convert
    with pytest.raises(ValueError, match=f"1 missing from the file: {name}$"):
        convert(tensors, model)
    with pytest.raises(ValueError, match=f"file: {name}; 1 in the file .* network: {name}_x$"):
        convert({**tensors, f"{name}_x": tensor}, model)
    for wrong in (tensor[..., None], np.concatenate([tensor, tensor])):
        with pytest.raises(ValueError, match="1 of another shape") as error:
            convert({**tensors, name: wrong}, model)
        assert f"{name} (got {wrong.shape}, expected {tensor.shape})" in str(error.value)


def test_a_long_difference_is_cut_short():
    with pytest.raises(ValueError, match=r"^[^;]*; 32 missing .*(, [^,]+){9} and 22 more; 1 in "):
        resnet.convert({"stray": np.zeros(1)}, VARIANTS["resnet"])


@pytest.mark.parametrize("name", VARIANTS)
def test_export_and_convert_are_inverse(name):
    model, variables = VARIANTS[name], random_variables(VARIANTS[name])
    family = family_of(model)
    back = family.convert(family.export(variables, model), model)
    jax.tree.map(np.testing.assert_array_equal, back, variables)


@pytest.mark.parametrize("name", VARIANTS)
def test_save_and_load_are_inverse(name, tmp_path, caplog):
    model = dataclasses.replace(VARIANTS[name], interpolation="lanczos", crop_pct=0.95)
    variables = random_variables(model)
    models.save(tmp_path / "m", model, variables)
    loaded, back = models.load(str(tmp_path / "m" / "model.safetensors"))
    assert loaded == dataclasses.replace(model, name="m")
    jax.tree.map(np.testing.assert_array_equal, back, variables)
    assert not caplog.records  # nothing was guessed


def test_what_a_folder_cannot_infer_is_written(tmp_path):
    odd = {"layer_norm_eps": 1e-5, "gelu": "tanh", "heads": 4, "mean": (0.1, 0.2, 0.3)}
    model = vit.build(**{**SMALL_VIT, **odd})
    models.save(tmp_path, model, random_variables(model))
    assert models.load(str(tmp_path))[0] == dataclasses.replace(model, name=tmp_path.name)


def test_half_precision_storage(tmp_path):
    model, variables = VARIANTS["bottleneck"], random_variables(VARIANTS["bottleneck"])
    models.save(tmp_path, model, variables, dtype="float16")
    stored = weights.read_tensors(tmp_path / "model.safetensors")
    assert {tensor.dtype.name for tensor in stored.values()} == {"float16"}
    _, back = models.load(str(tmp_path))
    rounded = jax.tree.map(
        lambda leaf: np.asarray(leaf).astype("float16").astype("float32"), variables
    )
    jax.tree.map(np.testing.assert_array_equal, back, rounded)


@pytest.mark.parametrize("name", ["vit", "distilled", "resnet"])
def test_bfloat16_computes_in_bfloat16(name, tmp_path):
    model, images = VARIANTS[name], random_images(VARIANTS[name])
    models.save(tmp_path, model, random_variables(model))
    _, full = models.load(str(tmp_path))
    model, half = models.load(str(tmp_path), dtype="bfloat16")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(half["params"])} == {"bfloat16"}
    logits, values = jax.jit(model.forward)(half, images, {})
    assert values[model.cam_tap].dtype == jnp.bfloat16
    assert logits.dtype == values["features"].dtype == values["image"].dtype == jnp.float32
    expected, _ = jax.jit(model.forward)(full, images, {})
    np.testing.assert_allclose(logits, expected, atol=0.05 * np.abs(expected).max())
    with pytest.raises(ValueError, match="'float16' is not one of float32, bfloat16"):
        models.load(str(tmp_path), dtype="float16")


def test_a_bfloat16_resnet18_at_full_size_gives_what_float32_gives():
    """Where XLA fused the last block into the mean (jaxlib 0.12.0 on CPUs), all came out NaN."""
    model = resnet.build(name="resnet18", num_classes=10)
    variables, images = random_variables(model), random_images(model, 4)
    half = {
        **variables,
        "params": jax.tree.map(
            lambda leaf: jax.device_put(np.asarray(leaf).astype(jnp.bfloat16)), variables["params"]
        ),
    }
    logits = jax.jit(lambda v, x: model.forward(v, x, {})[0])
    expected = logits(variables, images)
    assert np.abs(logits(half, images) - expected).max() < 0.05 * np.abs(expected).max()


def test_bfloat16_files_are_read_and_written_as_stored(tmp_path):
    tensors = {"a": np.arange(6, dtype=jnp.bfloat16).reshape(2, 3).T, "n": np.array(3)}
    path = tmp_path / "x.safetensors"
    weights.write_tensors(path, tensors)
    back = weights.read_tensors(path)
    assert back["a"].dtype == jnp.bfloat16
    jax.tree.map(np.testing.assert_array_equal, back, tensors)
    weights.write_tensors(path, tensors, dtype="float32")
    assert {k: v.dtype.name for k, v in weights.read_tensors(path).items()} == {
        "a": "float32",
        "n": "int64",
    }


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_broken_file_is_named_with_its_cure(kept, tmp_path):
    path = tmp_path / "cut.safetensors"
    weights.write_tensors(path, tensors_of(FULL_VIT))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"cut\.safetensors \(\d+ bytes\) is cut short .* again"):
        weights.read_tensors(path)


def write_config(folder: Path, **content) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return path


def test_both_layouts_of_a_config_say_the_same(tmp_path, caplog):
    outer = {"architecture": "vit_tiny_patch16_224", "num_classes": 7, "global_pool": "token"}
    inner = {
        "input_size": [3, 32, 48],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.1, 0.2, 0.3],
        "interpolation": "bilinear",
        "crop_pct": 1,
    }
    newer = write_config(tmp_path, **outer, pretrained_cfg={**inner, "num_classes": 1000})
    first = weights.read_config(newer)
    assert first == weights.read_config(write_config(tmp_path, **outer, **inner))
    assert (first.num_classes, first.image_size, first.std) == (7, (32, 48), (0.1, 0.2, 0.3))
    assert not caplog.records


def test_what_a_config_leaves_out_is_a_notice(tmp_path):
    models.save(tmp_path, VARIANTS["resnet"], random_variables(VARIANTS["resnet"]))
    path = write_config(tmp_path, mean=[0.5, 0.5, 0.5], pretrained_cfg={"std": None})
    config = weights.read_config(path)
    assert (config.std, config.crop_pct) == ((0.229, 0.224, 0.225), 0.875)
    assert config.assumed == ("std", "interpolation", "crop_pct")
    (notice,) = models.load(str(tmp_path))[0].notices
    assert re.search(r"config\.json does not say .* std 0\.229 0\.224 0\.225, interp", notice)
    assert "mean 0.5" not in notice


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"mean": [0.5]}', r"mean is \[0.5\]: expected three numbers"),
        ('{"std": ["a", 1, 2]}', r"std is \['a', 1, 2\]: could not convert"),
        ('{"num_classes": -1}', "num_classes is -1: expected a whole number"),
        ('{"pretrained_cfg": {"interpolation": "random"}}', "interpolation is 'random'"),
        ('{"input_size": [1, 28, 28]}', r"input_size is \[1, 28, 28\]: expected \[3,"),
        ('{"crop_pct": 224}', "crop_pct is 224: expected a number above 0"),
        ('{"pretrained_cfg": 3}', "pretrained_cfg is 3: expected an object"),
        ('{"model_args": 3}', "model_args is 3: expected an object"),
        ('{"architecture": 3}', "architecture is 3: expected a string"),
        ("[1]", "holds a list, expected a JSON object"),
        ("{", "is not JSON"),
    ],
)
def test_a_wrong_config_is_named(content, message, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=rf"config\.json:? .*{message}"):
        weights.read_config(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("architecture", "width", "args", "heads"),
    [
        ("deit_tiny_patch16_224", 192, {}, 3),
        ("vit_tiny_patch16_224.augreg", 192, {}, 3),
        ("flexivit_small.1200ep", 384, {}, 6),
        ("deit_tiny_patch16_224", 128, {"num_heads": 4}, 4),
        (None, 192, {"num_heads": 6}, 6),
        ("deit_tiny_patch16_224", 128, {}, None),
        (None, 192, {}, None),  # 3 or 6, and both would compute
        (None, 768, {}, None),
        ("vit", 192, {"num_heads": 0}, None),
        ("vit", 192, {"num_heads": "3"}, None),
        ("vit", 192, {"num_heads": True}, None),
    ],
)
def test_the_number_of_heads_is_said_or_asked_for(architecture, width, args, heads):
    config = weights.Config(architecture=architecture, model_args=args)
    if heads:
        assert vit_names.heads(config, width) == heads
        return
    with pytest.raises(ValueError, match="num_heads"):
        vit_names.heads(config, width)


def test_the_image_size_follows_from_the_positions():
    tensors = tensors_of(vit.build(**{**SMALL_VIT, "image_size": (12, 12)}, register_tokens=3))
    plain = weights.Config(model_args={"num_heads": 2})
    assert vit.infer(tensors, plain)["image_size"] == (12, 12)
    with pytest.raises(ValueError, match=r"13 positions, but a 8x12 image .* 6 patches and 4 more"):
        vit.infer(tensors, weights.Config(image_size=(8, 12)))
    with pytest.raises(ValueError, match="7 positions, no square; give input_size"):
        vit.infer(tensors_of(VARIANTS["vit"]), weights.Config())


AVERAGE = {"model_args": {"num_heads": 2, "global_pool": "avg"}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"num_classes": 5, "model_args": {"num_heads": 2}},
            r"head.bias \(got \(3,\), expected \(5,\)\)",
        ),
        ({"num_classes": 0}, "in the file but not in the network: head.bias, head.weight"),
        (
            {"global_pool": "avg", **AVERAGE},
            "missing from the file: fc_norm.bias, .* network: norm.bias",
        ),
        ({"global_pool": "avg"}, "model_args.global_pool is 'token', .* has 'avg'"),
        (
            {"global_pool": "map", "model_args": {"num_heads": 2}},
            "missing from the file: attn_pool.kv.bias",
        ),
        (
            {"model_args": {"num_heads": 2, "act_layer": "relu"}},
            "act_layer 'relu' is not one of gelu",
        ),
    ],
)
def test_a_config_of_another_network_is_refused(config, message, tmp_path):
    models.save(tmp_path, VARIANTS["vit"], random_variables(VARIANTS["vit"]))
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    write_config(tmp_path, **{**content, **config})
    with pytest.raises(ValueError, match=rf"model\.safetensors: .*{message}"):
        models.load(str(tmp_path))


def test_names(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "_ASSETS", tmp_path)
    for name in ("scenes/vit_00", "scenes/vit_95"):
        models.save(tmp_path / name, VARIANTS["vit"], random_variables(VARIANTS["vit"]))
    assert models.bundled() == ["scenes/vit_00", "scenes/vit_95"]
    assert models.load("scenes/vit_95")[0].name == "scenes/vit_95"
    message = r"mean scenes/vit_(00|95) .*Bundled are: scenes/vit_00, scenes/vit_95\..*config.json"
    with pytest.raises(ValueError, match=message):
        models.load("scene/vit_90")
    (tmp_path / "scenes/vit_00/config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no config\.json in .*vit_00"):
        models.load(str(tmp_path / "scenes/vit_00"))
    (tmp_path / "scenes/vit_95/model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors in .*vit_95"):
        models.load(str(tmp_path / "scenes/vit_95"))


def test_tensors_of_no_known_family(tmp_path):
    weights.write_folder(tmp_path, {"features.0": np.zeros(1)}, weights.Config())
    with pytest.raises(
        ValueError, match=r"features\.0 .* no known family \(clip_resnet, clip_vit, resnet, vit\)"
    ):
        models.load(str(tmp_path))


def test_a_real_network_knows_real_photos(all_shared):
    """ImageNet ViT-Tiny on photos of ten classes: far above the 1 in 10 of chance."""
    model, variables = models.load(str(all_shared / VIT_TINY))
    assert models.describe(model) == (
        "vit_tiny_patch16_224.augreg_in21k_ft_in1k: 5,717,416 parameters, 1000 classes, "
        "224x224 bicubic, crop 0.9, mean 0.5 0.5 0.5, std 0.5 0.5 0.5"
    )
    photos = sorted((all_shared / "data/rival10_mini/RIVAL10/test/ordinary").glob("*_??????.JPEG"))
    images = [
        Image.open(p).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC) for p in photos
    ]
    pixels = jnp.asarray(np.stack(images), jnp.float32) / 255
    probabilities = jax.nn.softmax(jax.jit(model.forward)(variables, pixels, {})[0])
    table = json.loads((all_shared / "data/weights/imagenet_class_index.json").read_text())
    index = {wnid: i for i, wnid, _ in table}
    scores = np.stack([probabilities[:, [index[w] for w in pair]].sum(axis=1) for pair in CLASSES])
    truth = [next(i for i, pair in enumerate(CLASSES) if p.name[:9] in pair) for p in photos]
    assert len(photos) == 35
    assert (scores.argmax(axis=0) == truth).mean() > 0.7


CLASSES = [  # the two ImageNet synsets of truck, car, plane, ship, cat, dog, equine, ...
    ("n03796401", "n04467665"),
    ("n02814533", "n03100240"),
    ("n02690373", "n04552348"),
    ("n03673027", "n03095699"),
    ("n02123394", "n02124075"),
    ("n02099712", "n02099601"),
    ("n02389026", "n02391049"),
    ("n02423022", "n02422699"),
    ("n01644900", "n01644373"),
    ("n01531178", "n01532829"),
]
