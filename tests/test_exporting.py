"""Exports made here, by torch; without it, tests/exported_networks.xz has its numbers."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="exports need torch, an extra")
timm = pytest.importorskip("timm", reason="exports of timm's networks need timm, an extra")

from rival_jax import models, weights
from rival_jax.models import exporting, lowering
from tests import exported_networks as kept
from tests.helpers import PARITY, QUICKLY
from tests.torch_networks import TINY, made

CONFIG = weights.Config(mean=kept.MEAN, std=kept.STD)


@pytest.mark.parametrize("name", ["vit", "awkward"])
def test_the_archive_is_what_is_exported_now(name, tmp_path):
    size = TINY[name].image_size
    exporting.export(made(name), tmp_path / "new", image_size=size, config=CONFIG)
    old = kept.folder(name, tmp_path / "old")
    graphs = [json.loads((folder / "graph.json").read_text()) for folder in (tmp_path / "new", old)]
    assert without_copies(graphs[0]) == without_copies(graphs[1])
    held = [weights.read_tensors(folder / weights.TENSORS) for folder in (tmp_path / "new", old)]
    assert held[0].keys() == held[1].keys()
    for tensor, values in held[0].items():
        np.testing.assert_allclose(values, held[1][tensor], rtol=1e-5, atol=1e-7, err_msg=tensor)


def without_copies(graph):
    """Some versions of torch export a copy where there was dropout, others do not."""
    place, nodes = {}, []
    for number, node in enumerate(graph["nodes"]):
        if node["op"] == "clone.default":
            place[number] = place[node["args"][0]["node"]]
        else:
            place[number] = len(nodes)
            nodes.append(node)

    def renumbered(part):
        if isinstance(part, list):
            return [renumbered(one) for one in part]
        if isinstance(part, dict):
            return {k: place[v] if k == "node" else renumbered(v) for k, v in part.items()}
        return part

    told = renumbered({**graph, "nodes": nodes, "logits": {"node": graph["logits"]}})
    return told | {"grids": {str(place[int(n)]): value for n, value in graph["grids"].items()}}


@pytest.mark.parametrize("name", ["awkward", "efficientnet"])
def test_the_archived_numbers_are_those_of_torch(name):
    expected = kept.expected(name)
    for key, value in kept.of_network(made(name), name, TINY[name].image_size).items():
        np.testing.assert_allclose(value, expected[key], rtol=0, atol=1e-5 * np.abs(value).max())


def test_the_archived_operations_are_those_of_torch():
    for place in range(len(kept.CASES)):
        for got, held in zip(kept.of_operation(place), kept.results(place), strict=True):
            np.testing.assert_allclose(got, held, rtol=1e-5, atol=1e-5)


class Sorting(torch.nn.Module):
    """Of what is not known."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, 2)

    def forward(self, image):
        return self.head(image.mean((2, 3)).sort()[0])


class Branching(Sorting):
    """Of control flow that depends on the image."""

    def forward(self, image):
        return self.head(image.mean((2, 3)) if image.sum() > 0 else image.amax((2, 3)))


class Mixing(Sorting):
    """Of examples that change each other."""

    def __init__(self):
        super().__init__()
        self.mix = torch.nn.Conv2d(3, 3, 1)

    def forward(self, image):
        grid = torch.nn.functional.relu(self.mix(image - image.mean(0, keepdim=True)))
        return self.head(grid.mean((2, 3)))


class Images(Sorting):
    """Of no logits."""

    def forward(self, image):
        return image


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Sorting, r"no operation 'sort\.default', which is in the network itself; known are: "),
        (Branching, r"torch\.export cannot trace it: "),
        (Images, r"it returns \(.*, 3, 8, 8\), expected logits \[b, classes\]"),
        (Mixing, "examples of a batch change each other at "),
    ],
)
def test_what_cannot_be_exported_is_refused_by_name(kind, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        exporting.export(kind(), tmp_path / "x", image_size=(8, 8))
    assert not (tmp_path / "x").exists()


class Named(torch.nn.Module):
    """Of a module with the name of our tap, as VGG has it."""

    def __init__(self):
        super().__init__()
        self.features, self.head = torch.nn.Conv2d(3, 4, 1), torch.nn.Linear(4, 2)

    def forward(self, image):
        return self.head(self.features(image).mean((2, 3)))


def test_a_module_called_features_is_not_the_classifiers_input(tmp_path):
    exporting.export(Named(), tmp_path / "x", image_size=(6, 8), config=CONFIG)
    model, variables = models.load(str(tmp_path / "x"))
    assert (model.cam_tap, model.feature_tap) == ("features", "penultimate")
    values = QUICKLY(model.forward)(variables, kept.pixels((6, 8)), {})[1]
    assert values["features"].shape == (2, 6, 8, 4)
    np.testing.assert_allclose(values["penultimate"], values["features"].mean((1, 2)), atol=1e-6)


class Written(Named):
    """Of an array that is written into."""

    def forward(self, image):
        x = self.features(image)
        x[:, :, 1:] += x[:, :, :-1].relu()
        return self.head(x.mean((2, 3)))


def test_arrays_may_be_written_into(tmp_path):
    exporting.export(Written(), tmp_path / "x", image_size=(6, 8), config=CONFIG)  # which compares
    graph = json.loads((tmp_path / "x" / "graph.json").read_text())
    assert "copy.default" in {node["op"] for node in graph["nodes"]}
    assert graph["cam_tap"] == "features"


def test_a_wrong_export_is_refused(tmp_path, monkeypatch):
    """The names of two modules' outputs, exchanged."""
    lower = lowering.lower

    def wrong(*args):
        found = lower(*args)
        first, second = "blocks.0.norm1", "blocks.0"
        outputs = found.outputs
        outputs[first], outputs[second] = outputs[second], outputs[first]
        return found

    monkeypatch.setattr(lowering, "lower", wrong)
    with pytest.raises(ValueError, match=r"does not compute what it does in torch: .*blocks\.0"):
        exporting.export(made("vit"), tmp_path / "x", image_size=TINY["vit"].image_size)


def test_a_folder_of_timm_is_exported_once_and_kept(tmp_path, monkeypatch):
    """As a repository of the hub holds it."""
    monkeypatch.setenv("RIVAL_JAX_CACHE", str(tmp_path / "cache"))
    network = timm.create_model("test_convnext", num_classes=3).eval()
    tensors = {k: v.numpy() for k, v in network.state_dict().items()}
    size = network.pretrained_cfg["input_size"][1:]
    config = weights.Config(architecture="test_convnext", num_classes=3, image_size=tuple(size))
    weights.write_folder(tmp_path / "mine", tensors, config)
    model, variables = models.load(str(tmp_path / "mine"))
    (export,) = (tmp_path / "cache/exports").iterdir()
    changed = export.stat().st_mtime_ns
    images = np.random.default_rng(0).random((2, *size, 3)).astype(np.float32)
    logits = QUICKLY(model.forward)(variables, images, {})[0]
    normalised = (images - np.float32(model.mean)) / np.float32(model.std)
    with torch.no_grad():
        wanted = network(torch.tensor(normalised.transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=PARITY * np.abs(wanted).max())
    monkeypatch.setattr(exporting, "export", None)
    again, same = models.load(str(tmp_path / "mine"))
    assert again == model
    assert model.name == "mine"
    assert export.stat().st_mtime_ns == changed
    jax.tree.map(np.testing.assert_array_equal, same, variables)


def own():
    """A network as `torch:tests.test_exporting:own` names it."""
    settings = {"input_size": [3, 12, 16], "mean": kept.MEAN, "std": kept.STD}
    return made("awkward"), {**settings, "label_names": list("abcde")}


def untold():
    return made("awkward")


def test_a_function_of_ones_own_is_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("RIVAL_JAX_CACHE", str(tmp_path))
    model, variables = models.load("torch:tests.test_exporting:own")
    assert (model.name, model.mean) == ("tests.test_exporting.own", kept.MEAN)
    images = kept.pixels(model.image_size)
    logits = QUICKLY(model.forward)(variables, images, {})[0]
    wanted = kept.expected("awkward")["logits"]
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=PARITY * np.abs(wanted).max())
    with pytest.raises(ValueError, match="missing: input_size, mean, std"):
        models.load("torch:tests.test_exporting:untold")
    with pytest.raises(ValueError, match="expected torch:package"):
        models.load("torch:tests.test_exporting:nothing")
