"""Checkpoints of transformers, torchvision and open_clip, made here: no hub is asked."""

from __future__ import annotations

import collections
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="exports need torch, an extra")

from rival_jax import models, weights
from rival_jax.models import torch_libraries
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
    "dinov2": {**TOKENS, "mlp_ratio": 2},
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


def saved(place, kind, architecture="", **options):
    """A folder as transformers writes it, and its network."""
    transformers = pytest.importorskip("transformers", reason="its networks are read")
    settings = transformers.AutoConfig.for_model(kind, **TINY[kind], id2label=LABELS, **options)
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
    assert (
        len(model.attention_taps) == (2 if kind in ("vit", "deit", "dinov2", "clip") else 0)
        or kind == "beit"
    )
    agree(model, variables, lambda image: network(image).logits)
