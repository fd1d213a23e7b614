"""Published files: every format gives the reference's outputs; names, sizes and the way to timm."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

from rival_jax import models, weights
from rival_jax.experiments import check_model
from rival_jax.interop import timm
from rival_jax.models import resnet
from rival_jax.runtime.results import Run
from tests.helpers import PARITY, config_of, held, nhwc, save_tiny_vit
from tests.pictures import photo, save
from tests.test_models import VARIANTS, forward, random_images, random_variables

# file: (input, features, logits, heads that its shapes do not tell)
FILES = {
    "torchvision_resnet_zip.pth": ("input", "tv_features", "tv_logits", 0),
    "torchvision_resnet_legacy.pth": ("input", "tv_features", "tv_logits", 0),
    "robust_resnet_legacy_dill.ckpt": (
        *("input", "robust_features_no_normalizer", "robust_logits_no_normalizer", 0),
    ),
    "robust_resnet_legacy_dill_foreign.ckpt": (
        *("input", "robust_features_no_normalizer", "robust_logits_no_normalizer", 0),
    ),
    "simclr_lightning.ckpt": ("input", "simclr_features", None, 0),
    "deit_style.pth": ("vit_input", "vit_features", "vit_logits", 3),
    "vit_augreg.npz": ("vit_input", "vit_features", "vit_logits", 0),
    "vit_augreg_opt_prefix.npz": ("vit_input", "vit_features", "vit_logits", 0),
    "rival10_finetuned_resnet.pth": ("input", "ft_resnet_features", "ft_resnet_logits", 0),
    "rival10_finetuned_vit.pth": ("vit_input", None, "ft_vit_logits", 3),
    "clip_vit_jit.pt": ("clip_vit_input", "clip_vit_features_fp32", None, 0),
    "clip_rn_jit.pt": ("clip_rn_input", "clip_rn_features_fp32", None, 0),
}


@pytest.mark.parametrize("file", held(FILES, left_out=["clip_vit_jit.pt"]))
def test_a_published_format_gives_the_reference_outputs(shared, tmp_path, file):
    """The network is fed what the reference fed it: without its own normalisation."""
    folder = shared / "golden/rival10/checkpoints"
    with np.load(folder / "expected_outputs.npz") as outputs:
        expected = dict(outputs)
    shutil.copy(folder / file, tmp_path)
    images, features, logits, heads = FILES[file]
    if heads:
        settings = {"model_args": {"num_heads": heads}}
        (tmp_path / "config.json").write_text(json.dumps(settings))
    model, variables = models.load(str(tmp_path / file))
    model = models.without_normalisation(model)
    with jax.default_matmul_precision("highest"):
        got, values = forward(model.forward, variables, jax.device_put(nhwc(expected[images])), {})
    for key, value in ((features, values["features"]), (logits, got)):
        if key:
            np.testing.assert_allclose(value, expected[key], rtol=0, atol=PARITY, err_msg=key)


def test_a_normaliser_in_the_file_is_used(shared):
    """MadryLab's files hold the mean and the standard deviation that the network was trained on."""
    folder = shared / "golden/rival10/checkpoints"
    with np.load(folder / "expected_outputs.npz") as expected:
        images, wanted = expected["input"], expected["robust_logits_with_normalizer"]
    model, variables = models.load(str(folder / "robust_resnet_legacy_dill.ckpt"))
    assert model.mean == pytest.approx((0.485, 0.456, 0.406))
    logits, _ = forward(model.forward, variables, jax.device_put(nhwc(images)), {})
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=PARITY)


def test_a_file_that_comes_alone_says_what_was_assumed(shared):
    path = shared / "golden/rival10/checkpoints/clip_vit_jit.pt"
    (notice,) = models.load(str(path))[0].notices
    assert f"no config.json lies beside {path}, so this was assumed: mean 0.481455 0.457" in notice
    assert "act_layer quick" in notice
    assert "num_heads" not in notice  # OpenAI's archives say how they are to be read


def test_a_file_named_as_its_publisher_named_it_is_known(tmp_path):
    """Then its input is the published one; the file itself says nothing of it."""
    weights.write_tensors(tmp_path / "any", {"a": np.zeros(1)})
    (tmp_path / "any").rename(tmp_path / "resnet50-0676ba61.pth")
    config = weights.locate(str(tmp_path / "resnet50-0676ba61.pth")).config
    assert config is not None
    assert (config.architecture, config.interpolation) == ("resnet50", "bilinear")
    assert weights.locate(str(tmp_path)).config == config


def test_names_that_mean_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("RIVAL_JAX_OFFLINE", "1")
    monkeypatch.setenv("RIVAL_JAX_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ValueError, match=r"did you mean timm/vit_tiny_patch16_224\.augreg"):
        models.load("vit_tiny_patch16_224.augreg")
    with pytest.raises(
        ValueError, match=r"'scene/vit_90'; did you mean scenes/vit_9.*hf:scene/vit"
    ):
        models.load("scene/vit_90")
    with pytest.raises(FileNotFoundError, match=r"f37072fd.*|resnet18-f37072fd\.pth"):
        models.load("torchvision/resnet18.IMAGENET1K_V1")
    with pytest.raises(FileNotFoundError, match="no weights at"):
        models.load(str(tmp_path / "not_there"))
    (tmp_path / "two").mkdir()
    for name in ("a.pth", "b.pth"):
        (tmp_path / "two" / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"2 files of weights \(a\.pth, b\.pth\); name one"):
        models.load(str(tmp_path / "two"))
    with pytest.raises(ValueError, match=r"cannot import 'no_such\.family'"):
        models.load("no_such.family:scenes/vit_00")


def test_a_scenic_checkpoint_is_not_taken_for_augreg(tmp_path):
    """It looks alike, but has another GELU."""
    tree = {"Transformer/encoder_norm/scale": np.ones(4), "output_projection/bias": np.ones(3)}
    np.savez(tmp_path / "checkpoint.npz", **tree)
    with pytest.raises(ValueError, match=r"read it with rival_jax\.interop\.scenic\.load"):
        models.load(str(tmp_path / "checkpoint.npz"))


def test_another_image_size_by_name():
    model, variables = models.load("scenes/vit_00", image_size=(96, 64))
    assert model.image_size == (96, 64)
    logits, _ = jax.eval_shape(model.forward, variables, random_images(model), {})
    assert logits.shape == (2, 10)


TIMM_HAS = {
    **{name: VARIANTS[name] for name in VARIANTS if name not in ("resnet", "bottleneck")},
    "resnet18": resnet.build(name="resnet18", num_classes=5, image_size=(64, 64)),
    "bottleneck": resnet.build(
        name="short", num_classes=5, image_size=(64, 64), depths=(1, 1, 1, 1), bottleneck=True
    ),
}
TIMM_LACKS = {"representation", "clip_resnet"}


@pytest.mark.parametrize("name", TIMM_HAS)
def test_a_folder_for_timm_is_read_back_bit_for_bit(name, tmp_path):
    model = TIMM_HAS[name]
    variables, images = random_variables(model), random_images(model)
    if name in TIMM_LACKS:
        with pytest.raises(ValueError, match="timm cannot build"):
            timm.save(tmp_path, model, variables)
        return
    card = {"licence": "mit", "Training": "on scenes", "Results": {"accuracy": "81.5 %"}}
    timm.save(tmp_path, model, variables, card=card)
    again, back = models.load(str(tmp_path))
    if name == "clip_vit":  # its projection has become a head
        logits, wanted = (
            forward(network.forward, leaves, images, {})[0]
            for network, leaves in ((again, back), (model, variables))
        )
        np.testing.assert_allclose(logits, wanted, rtol=1e-6)
        variables = timm.as_timm(model, variables)[1]
    else:
        assert again.forward == model.forward
    jax.tree.map(np.testing.assert_array_equal, back, variables)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: timm\n")
    assert "license: mit" in text
    assert "| accuracy | 81.5 % |" in text
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architecture"].startswith(("vit_base_", "deit_base_", "resnet"))


@pytest.mark.skipif(
    not (importlib.util.find_spec("timm") and importlib.util.find_spec("torch")),
    reason="torch and timm are not installed; they are the `torch` extra",
)
def test_timm_computes_the_same():
    for name in sorted(TIMM_HAS.keys() - TIMM_LACKS):
        model = TIMM_HAS[name]
        difference = timm.difference(model, random_variables(model), random_images(model))
        assert max(difference.values()) < 1e-5, name


def test_check_model_prints_and_returns_what_a_network_is(tmp_path):
    config = config_of("check_model")
    config.compare = "none"
    config.models = ("scenes/vit_95",)
    console = Console(file=io.StringIO(), width=120)
    found = check_model.run(config, Run(tmp_path, config.to_dict()), console)["models"][0]
    text = console.file.getvalue()
    assert "class maps read 'block" in text
    assert found["taps"]["features"] == (found["taps"]["norm"][1],)
    assert found["parameters"] > 10_000
    assert len(found["top"]) == check_model.DRAWN
    assert all(len(top) == 5 for top in found["top"])


def test_check_model_on_photos(tmp_path):
    """Of 1000 outputs, named by ImageNet's synsets, the likeliest is known by its bias."""
    model, variables = models.load(str(save_tiny_vit(tmp_path / "tiny", classes=1000)))
    head = variables["params"]["head"]
    head["bias"] = head["bias"].at[281].set(100)
    models.save(tmp_path / "tabby", model, variables)
    for name in "ab":
        save(photo(ord(name)), tmp_path / "photos" / f"{name}.png")
    config = config_of("check_model")
    config.compare = "none"
    config.models = (str(tmp_path / "tabby"),)
    config.images = (str(tmp_path / "photos"),)
    console = Console(file=io.StringIO(), width=120)
    found = check_model.run(config, Run(tmp_path, config.to_dict()), console)["models"][0]
    assert [next(iter(top)) for top in found["top"]] == ["n02123045"] * 2
    assert all(name in console.file.getvalue() for name in ("a.png", "b.png"))
    config.images = (str(tmp_path / "nowhere"),)
    with pytest.raises(FileNotFoundError, match=r"no photo at .*nowhere"):
        check_model.dry_run(config, console)


def test_check_model_fails_where_timm_differs(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(timm, "difference", lambda *args: {"logits": 1e-3})
    config = config_of("check_model")
    config.models = ("scenes/vit_95",)
    console = Console(file=io.StringIO(), width=120)
    run = Run(tmp_path, config.to_dict())
    with pytest.raises(ValueError, match=r"differs from timm .*scenes/vit_95 logits 1\.0e-03"):
        check_model.run(config, run, console)
    assert "DIFFER" in console.file.getvalue()
    assert (Path(tmp_path) / "summary.json").exists()


def test_a_model_is_hashable_and_equal_to_its_like():
    model = VARIANTS["clip_vit"]
    assert hash(model) == hash(dataclasses.replace(model))
