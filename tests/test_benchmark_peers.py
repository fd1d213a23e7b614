"""The benchmarks' programs of torch compute what ours compute, without timing anything."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peers need torch, an extra")

from rival_jax import alignment, models

BENCHMARKS = pathlib.Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def _import_from_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18"])
def test_peers_compute_our_logits(name, tmp_path):
    import inputs
    import torch_models

    inputs.write_images(tmp_path, 2)
    inputs.write_model(tmp_path, name)
    images = np.load(tmp_path / "images.npy").astype(np.float32) / 255
    model, variables = models.load(str(tmp_path))
    ours = jax.jit(lambda v, x: model.forward(v, x, {})[0])(variables, images)
    peer = torch_models.load(name, tmp_path / "model.safetensors")
    with torch.inference_mode():
        theirs = peer(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_both_peers_measure_the_same(tmp_path):
    from torch_peers import Data, eager, released

    rng = torch.Generator().manual_seed(0)
    images, masks = torch.rand(40, 3, 8, 8, generator=rng), torch.zeros(40, 1, 8, 8)
    masks[:, :, :4] = 1
    data = Data(images, masks, torch.arange(40) % 3)

    def predict(batch: torch.Tensor) -> torch.Tensor:  # sees the upper half, the foreground, alone
        return 9 * batch[:, :, :4].amax((2, 3))

    slow = released(predict, data, [0.2, 0.4], 20, "cpu")
    fast = eager(predict, data, [0.2, 0.4], 20, 16)
    for key, values in slow.items():
        np.testing.assert_allclose(fast[key], values, atol=0.05, err_msg=key)
    assert slow["probability_bg"][0] == pytest.approx(slow["probability_bg"][1])
    assert slow["probability_fg"][0] != pytest.approx(slow["probability_bg"][0], abs=1e-3)


def test_both_sides_attribute_neurons_alike():
    pytest.importorskip("cv2", reason="the peers need opencv")
    from saliency_ours import Ours
    from saliency_peers import Peers

    found = []
    for side in (Ours(), Peers()):
        side.open_neurons(images=40, features=6, attributes=3, hold=True)
        found.append(np.array(side.neurons("ours")["scores"]))
    assert found[0].shape == (10, 6, 3)
    np.testing.assert_allclose(*found, atol=2e-3)
    assert found[0].max() > 0.05


def test_both_metrics_of_the_peers_are_ours():
    pytest.importorskip("cv2", reason="the peers need opencv")
    from saliency_peers import metrics_batched, metrics_one_by_one

    rng = np.random.default_rng(0)
    cam, mask = rng.random((3, 12, 10), np.float32) ** 2, rng.random((3, 12, 10)) > 0.6
    slow = [metrics_one_by_one(c, m) for c, m in zip(cam, mask, strict=True)]
    fast = metrics_batched(cam, mask)
    x, m = jnp.asarray(cam), jnp.asarray(mask, jnp.float32)
    ours = {
        "iou": alignment.iou(x, m),
        "dice": alignment.dice(x, m),
        "density_gap": alignment.saliency_density_gap(x, m),
        "precision": alignment.saliency_precision(x, m),
        "coverage": alignment.mask_coverage(x, m)[:, 0],
        "average_precision": alignment.average_precision(x, m),
    }
    for name, value in ours.items():
        np.testing.assert_allclose(fast[name], value, atol=1e-5, err_msg=name)
        np.testing.assert_allclose([one[name] for one in slow], value, atol=1e-5, err_msg=name)


def test_finetuning_programs_compute_the_same(tmp_path, monkeypatch):
    """Maps, losses and gradients of all five, on a network of two blocks."""
    import inputs
    import torch_models
    from finetune_ours import Ours
    from finetune_peers import Peers
    from finetune_step import PROGRAMS, agree

    name = "vit_tiny_patch16_224"
    short = functools.partial(torch_models.ViT, depth=2)
    monkeypatch.setattr(inputs, "_vit", functools.partial(inputs._vit, depth=2))
    monkeypatch.setitem(torch_models.MODELS, name, short)
    inputs.write_images(tmp_path, 2)
    inputs.write_model(tmp_path, name)
    sides = {"ours": Ours(), "peers": Peers("cpu")}
    for side in sides.values():
        side.open(str(tmp_path), name)
    outputs = {p: sides[who].outputs(p) for p, who in PROGRAMS["step"].items()}
    agree(outputs)
    norms = {program: found["norm"] for program, found in outputs.items()}
    assert abs(norms["ours_second"] / norms["ours"] - 1) > 1e-3
    assert sides["ours"].temporaries("relevance", "ours") > 0
    with pytest.raises(ValueError, match=r"norm differs by 0\.\d+ of the largest"):
        agree({**outputs, "eager": {**outputs["eager"], "norm": 2 * norms["eager"]}})
