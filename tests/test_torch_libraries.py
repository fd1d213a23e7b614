"""Checkpoints of transformers, torchvision and open_clip, made here: no hub is asked."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="exports need torch, an extra")

from rival_jax import models, weights
from rival_jax.models import from_torch, torch_libraries
from rival_jax.weights import foreign
from tests.helpers import PARITY, QUICKLY

MEAN, STD = [0.5, 0.4, 0.3], [0.25, 0.25, 0.2]
LABELS = {0: "cat", 1: "dog", 2: "snail", 3: "tree"}
TOKENS = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 32,
    "patch_size": 8,
}
STAGES = {"depths": [1, 1], "hidden_sizes": [8, 12], "num_stages": 2}
TINY = {  # of transformers, by model_type: the options of its configuration
    "vit": TOKENS,
    "deit": TOKENS,
    "dinov2": {**TOKENS, "mlp_ratio": 4},
    "clip": {"vision_config": TOKENS, "projection_dim": 12, "text_config": {"vocab_size": 9}},
    "siglip": {"vision_config": TOKENS, "text_config": {"vocab_size": 9}},
    "beit": {**TOKENS, "use_relative_position_bias": True},
    "swin": {
        "image_size": 32,
        "patch_size": 4,
        "embed_dim": 8,
        "depths": [1, 2],
        "num_heads": [1, 2],
        "window_size": 4,
    },
    "convnext": {**STAGES, "image_size": 32},
    "resnet": {**STAGES, "embedding_size": 8, "layer_type": "basic"},
}
PLAIN = ("vit", "deit", "dinov2", "clip", "beit")  # attention, with a token for the class
CAM = {
    "vit": "block1/norm1",  # this, the next and the residual network are read natively
    "deit": "block1/norm1",
    "dinov2": "dinov2.layernorm",  # the classifier reads the token and the mean beside it
    "clip": "vision_model.encoder.layers.1",
    "siglip": "vision_model.post_layernorm",
    "beit": "beit.layers.1",
    "swin": "swin.layernorm",
    "convnext": "convnext.encoder.stages.1",
    "resnet": "layer2",
}
PREPROCESSOR = {
    "do_resize": True,
    "size": {"shortest_edge": 40},
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "resample": 2,
    "do_normalize": True,
    "image_mean": MEAN,
    "image_std": STD,
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RIVAL_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RIVAL_JAX_OFFLINE", "1")


def randomised(network):
    """In evaluation mode; nothing of it is 0 or 1 for being new."""
    rng = np.random.default_rng(0)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            drawn = rng.normal(size=tuple(tensor.shape)) * 0.3
            with torch.no_grad():
                tensor.copy_(torch.tensor(np.exp(drawn) if name.endswith("var") else drawn))
    return network.eval()


def agree(model, variables, network):
    images = np.random.default_rng(1).random((2, *model.image_size, 3), np.float32)
    ours = QUICKLY(model.forward)(variables, images, {})[0]
    normalised = (images - np.float32(model.mean)) / np.float32(model.std)
    with torch.no_grad():
        theirs = network(torch.tensor(np.moveaxis(normalised, -1, 1))).numpy()
    assert np.ptp(theirs) > 1e-3
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=PARITY * np.abs(theirs).max())


def saved(place, kind, architecture=""):
    """A folder as transformers writes it, and its network."""
    transformers = pytest.importorskip("transformers", reason="its networks are read")
    settings = transformers.AutoConfig.for_model(kind, **TINY[kind], id2label=LABELS)
    known = transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES[
        kind
    ]
    architecture = architecture or (known if isinstance(known, str) else known[0])
    network = getattr(transformers, architecture)._from_config(settings)
    randomised(network).save_pretrained(place)
    (place / foreign.PREPROCESSOR).write_text(json.dumps(PREPROCESSOR))
    return network


@pytest.mark.parametrize("kind", TINY)
def test_a_classifier_of_transformers_is_read(kind, tmp_path):
    network = saved(tmp_path / kind, kind)
    model, variables = models.load(str(tmp_path / kind))
    assert model.class_names == tuple(LABELS.values())
    assert (model.image_size, model.interpolation, model.crop_pct) == ((32, 32), "bilinear", 0.8)
    np.testing.assert_allclose([model.mean, model.std], [MEAN, STD])
    assert model.notices == ()
    assert model.cam_tap == CAM[kind]
    assert len(model.attention_taps) == (2 if kind in PLAIN else 0)
    agree(model, variables, lambda image: network(image).logits)


@pytest.mark.parametrize(
    ("kind", "architecture", "changed"),
    [
        ("vit", "", {"hidden_act": "gelu", "layer_norm_eps": 1e-3, "qkv_bias": False}),
        ("deit", "DeiTForImageClassificationWithTeacher", {}),
        ("resnet", "", {"layer_type": "bottleneck", "hidden_sizes": [16, 24]}),
    ],
)
def test_native_families_read_transformers_names(
    kind, architecture, changed, tmp_path, monkeypatch
):
    monkeypatch.setitem(TINY, kind, {**TINY[kind], **changed})
    network = saved(tmp_path / kind, kind, architecture)
    monkeypatch.setattr(from_torch, "by_library", None)  # no export
    model, variables = models.load(str(tmp_path / kind))
    assert (model.class_names, model.notices) == (tuple(LABELS.values()), ())
    agree(model, variables, lambda image: network(image).logits)
    place = tmp_path / kind / weights.CONFIG
    other = {**json.loads(place.read_text()), "downsample_in_bottleneck": True}
    other |= {} if kind == "resnet" else {"architectures": ["MyViT"]}
    place.write_text(json.dumps(other))
    monkeypatch.setattr(from_torch, "by_library", lambda found, tensors, error: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # is exported
        models.load(str(tmp_path / kind))


@pytest.mark.parametrize(
    ("kind", "architecture"), [("clip", "CLIPModel"), ("dinov2", "Dinov2Model")]
)
def test_a_trunk_of_transformers_has_features_for_logits(kind, architecture, tmp_path):
    network = saved(tmp_path / kind, kind, architecture)
    model, variables = models.load(str(tmp_path / kind))
    assert (model.num_classes, model.class_names) == (0, None)
    features = network.get_image_features if kind == "clip" else network
    agree(model, variables, lambda image: features(image).pooler_output)
    images = np.zeros((1, *model.image_size, 3), np.float32)
    logits, values = QUICKLY(model.forward)(variables, images, {})
    np.testing.assert_array_equal(values[model.feature_tap], logits)


def test_what_is_not_transformers_is_refused(tmp_path):
    saved(tmp_path / "vit", "vit")
    place, file = tmp_path / "vit" / weights.CONFIG, tmp_path / "vit" / weights.TENSORS
    whole, tensors = json.loads(place.read_text()), weights.read_tensors(file)

    def refused(match, **changes):
        place.write_text(json.dumps({**whole, **changes}))
        with pytest.raises(ValueError, match=match):
            models.load(str(tmp_path / "vit"))

    refused("As a network of transformers: .*unknown", model_type="unknown")
    refused("'MyViT' is none of transformers'", architectures=["MyViT"])
    refused("'os' is none of transformers'", architectures=["os"])
    refused("too many or of other shapes: .*layer", num_hidden_layers=1)
    kept = {k: v for k, v in tensors.items() if "classifier" not in k}
    weights.write_tensors(file, kept)
    refused("missing, .*classifier")
    processor = tmp_path / "vit" / foreign.PREPROCESSOR
    for said, match in {
        '{"image_mean": [0.5, 0.5, 0.5]}': "image_std",
        '{"image_mean": [127, 127, 127], "image_std": [1, 1, 1]}': "divide them by 255",
        '{"rescale_factor": 1}': "not rescaled",
        "[]": "expected a JSON object",
    }.items():
        processor.write_text(said)
        refused(f"{foreign.PREPROCESSOR}.*{match}")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, {"assumed": ("interpolation", "crop_pct"), "image_size": (32, 32)}),
        ({"size": 64, "resample": 3}, {"image_size": (64, 64), "crop_pct": 1, "squashed": True}),
        ({"size": {"height": 8, "width": 9}}, {"image_size": (8, 9), "squashed": True}),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, {"crop_pct": 0.875}),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, {"crop_pct": 1, "squashed": True}),
        (
            {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}},
            {"crop_pct": 0.875, "image_size": (224, 224)},
        ),
        (
            {"size": 256, "crop_size": 224, "do_center_crop": False},
            {"image_size": (256, 256), "squashed": True},
        ),
        ({"do_normalize": False}, {"mean": (0, 0, 0), "std": (1, 1, 1)}),
    ],
)
def test_preprocessors_of_transformers(said, expected, tmp_path):
    config = {"model_type": "vit", "architectures": ["ViTForImageClassification"]}
    (tmp_path / weights.CONFIG).write_text(json.dumps({**config, "image_size": 32}))
    text = json.dumps({"image_mean": MEAN, "image_std": STD, **said})
    (tmp_path / foreign.PREPROCESSOR).write_text(text)
    found = foreign.described(tmp_path / weights.TENSORS)
    assert bool(found.notices) == expected.pop("squashed", False)
    assert {key: getattr(found, key) for key in expected} == expected


@pytest.fixture
def towers(tmp_path):
    """A folder as open_clip writes it, and its network."""
    open_clip = pytest.importorskip("open_clip", reason="its networks are read")
    text = {"width": 16, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8}
    said = {
        "model_cfg": {"embed_dim": 12, "vision_cfg": vision, "text_cfg": text},
        "preprocess_cfg": {"mean": MEAN, "std": STD, "interpolation": "bilinear"},
    }
    place = tmp_path / "towers"
    place.mkdir()
    (place / foreign.OPEN_CLIP).write_text(json.dumps(said))
    network = randomised(open_clip.create_model(f"local-dir:{place}", load_weights=False))
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    weights.write_tensors(place / foreign.OPEN_CLIP_TENSORS, tensors)
    return place, network


def test_the_image_tower_of_open_clip_is_read(towers):
    place, network = towers
    model, variables = models.load(str(place))
    assert (model.num_classes, model.class_names, model.crop_pct) == (0, None, 1)
    assert len(model.attention_taps) == 2
    agree(model, variables, network.encode_image)


def test_names_of_classes_become_a_head_by_the_text_tower(towers):
    import open_clip

    place, network = towers
    names = ("n02123045, tabby, tabby cat", "a wheel", "sky")
    (place / "class_names.txt").write_text("\n".join(names))
    model, variables = models.load(str(place))
    assert model.class_names == names
    tokenizer, heads = open_clip.get_tokenizer("ViT-B-32"), []
    for word in ("tabby", "a wheel", "sky"):
        captions = [one(word) for one in open_clip.SIMPLE_IMAGENET_TEMPLATES]
        with torch.no_grad():
            each = network.encode_text(tokenizer(captions), normalize=True)
        heads.append(torch.nn.functional.normalize(each.mean(0), dim=0))

    def cosines(image):
        return (
            network.logit_scale.exp()
            * network.encode_image(image, normalize=True)
            @ torch.stack(heads).T
        )

    agree(model, variables, cosines)


def test_names_of_torchvision():
    pytest.importorskip("torchvision", reason="its networks are read")
    entry = torch_libraries.published("torchvision/convnext_tiny.IMAGENET1K_V1")
    assert entry.source.startswith("https://download.pytorch.org/models/convnext_tiny-")
    assert entry.file.endswith(f"-{entry.sha256}.pth")
    said = entry.config
    assert (said.image_size, said.crop_pct, said.interpolation) == (
        (224, 224),
        224 / 236,
        "bilinear",
    )
    assert (said.num_classes, said.class_names[0]) == (1000, "n01440764")
    assert torch_libraries.published("torchvision/resnet50.IMAGENET1K_V2") is None  # ours
    assert torch_libraries.published("timm/convnext_tiny.fb_in1k") is None
    with pytest.raises(ValueError, match="no 'convnext_tin'; it has alexnet, "):
        torch_libraries.published("torchvision/convnext_tin.IMAGENET1K_V1")
    with pytest.raises(ValueError, match=r"no weights '' .*torchvision/vgg11\.IMAGENET1K_V1"):
        torch_libraries.published("torchvision/vgg11")
    with pytest.raises(FileNotFoundError, match=r"switched off .*vgg11-8a719046\.pth"):
        models.load("torchvision/vgg11.IMAGENET1K_V1")


@pytest.mark.parametrize("name", ["mnasnet0_5", "squeezenet1_1"])
def test_networks_of_torchvision(name, tmp_path):
    vision = pytest.importorskip("torchvision", reason="its networks are read")
    network = vision.models.get_model(name, num_classes=4).eval()
    tensors = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    config = weights.Config(package="torchvision", architecture=name, num_classes=4)
    read = torch_libraries.network_of(weights.Located(tmp_path / "x", name, config), tensors)
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(read.eval()(image), network(image))


@pytest.mark.parametrize("name", ["hf:mylab/our_swin", "open_clip/mylab/our_towers"])
def test_without_a_network_the_files_are_named(name):
    file = foreign.OPEN_CLIP_TENSORS if "towers" in name else weights.TENSORS
    with pytest.raises(FileNotFoundError, match=f"switched off .*{name[-8:]}.*{file}"):
        models.load(name)
