"""Attribute masks in batches: whose, in which order, read again for each pass."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from rival_jax import data
from rival_jax.data.rival10 import ATTRIBUTES
from rival_jax.experiments.subject import Subject
from rival_jax.types import Geometry
from tests.helpers import config_of
from tests.pictures import Drawn, disc, plain

SMALL = Geometry((12, 16))
LABELS = np.array([1, 0, 1])


class Parted(Drawn):
    """A source of three attributes, the second absent, and the whole object."""

    attributes = ("wings", "wheels", "tail")

    def __getitem__(self, position: int) -> dict:
        item = super().__getitem__(position)
        left = np.asarray(disc()) * (np.arange(40) < 15 + position)
        masks = [left.astype(np.uint8), np.asarray(plain(0)), np.asarray(disc())]
        masks = [Image.fromarray(mask) for mask in (*masks, masks[-1])]
        return {"attr_labels": LABELS, "attribute_masks": masks} | item

    def attribute_pixels(self, item: dict, geometry: Geometry) -> np.ndarray:
        masks = [mask.resize(geometry.size[::-1], 2) for mask in item["attribute_masks"]]
        return np.stack([np.asarray(mask) for mask in masks])


@pytest.fixture
def examples():
    return data.Examples(Parted(5), SMALL, attributes=True)


def test_batches_have_the_sources_masks_in_order(examples):
    assert examples.attributes == Parted.attributes
    np.testing.assert_array_equal(examples.attribute_labels, np.tile(LABELS, (5, 1)))
    source = Parted(5)
    seen = 0
    for batch in examples.batches(2):
        masks = batch["attribute_masks"]
        assert (masks.shape, masks.dtype) == ((2, 3, 12, 16), np.float32)
        for mask, row in zip(masks, batch["index"], strict=True):
            theirs = source.attribute_pixels(source[4 if row < 0 else row], SMALL)[:3]
            np.testing.assert_array_equal(mask, np.float32(theirs) / np.float32(255))
            seen += row >= 0
        assert not masks[:, 1].any()
        assert masks[:, 0].any()
    assert seen == 5


def test_all_else_is_as_without_attributes(examples):
    plainly = data.Examples(Parted(5), SMALL)
    assert plainly.attributes == ()
    assert plainly.attribute_labels.shape == (5, 0)
    assert plainly.fingerprint == examples.fingerprint
    for ours, theirs in zip(examples.batches(3), plainly.batches(3), strict=True):
        assert set(ours) == {*theirs, "attribute_masks"}
        for key, value in theirs.items():
            np.testing.assert_array_equal(ours[key], value)


def test_one_example_has_its_masks(examples):
    masks = next(examples.batches(5))["attribute_masks"]
    np.testing.assert_array_equal(examples.example(3)["attribute_masks"], np.round(masks[3] * 255))


def test_fingerprint_follows_masks_and_labels(examples):
    again = data.Examples(Parted(5), SMALL, attributes=True, threads=3)
    assert examples.attribute_fingerprint == again.attribute_fingerprint
    prints = {examples.attribute_fingerprint}
    moved = Parted(5)[0]["attribute_masks"][::-1]
    for change in ({"attr_labels": np.array([1, 1, 1])}, {"attribute_masks": moved}):
        other = data.Examples(Parted(5, {2: change}), SMALL, attributes=True)
        assert other.fingerprint == examples.fingerprint
        prints.add(other.attribute_fingerprint)
    assert len(prints) == 3
    assert data.Examples(Parted(5), SMALL).attribute_fingerprint == ""


def test_skipped_examples_take_their_labels_along():
    bad = {1: {"mask": plain(0)}, 3: {"attr_labels": np.array([1, 0])}}
    bad[2] = {"attr_labels": np.array([0, 1, 0])}
    examples = data.Examples(Parted(7, bad), SMALL, attributes=True, on_bad="skip")
    assert examples.positions.tolist() == [0, 2, 4, 5, 6]
    assert examples.attribute_labels[:2].tolist() == [[1, 0, 1], [0, 1, 0]]
    reasons = " ".join(reason for _, reason in examples.skipped)
    assert "attribute labels of dog/003.png are [1, 0], expected 3" in reasons


@pytest.mark.parametrize(
    ("shape", "dtype"), [((3, 12, 15), np.uint8), ((2, 12, 16), np.uint8), ((3, 12, 16), float)]
)
def test_masks_of_another_shape_are_told(monkeypatch, shape, dtype):
    monkeypatch.setattr(Parted, "attribute_pixels", lambda *_: np.zeros(shape, dtype))
    with pytest.raises(ValueError, match=r"masks of cat/000.png are \w+ \(\d, 12, \d+\), expected"):
        data.Examples(Parted(1), SMALL, attributes=True)


def test_pixels_are_not_held(examples):
    with pytest.raises(ValueError, match=r"with attributes no pixels are held: use batches\(\)"):
        _ = examples.images


def test_a_source_without_attributes_is_told():
    with pytest.raises(ValueError, match="Drawn has no attribute masks: load it with attributes"):
        data.Examples(Drawn(2), SMALL, attributes=True)
    scenes = data.load("scenes", "", "test", per_class=1)
    with pytest.raises(ValueError, match="Scenes has no attribute masks"):
        data.Examples(scenes, SMALL, attributes=True)


def test_scenes_and_rival10_have_one_shape(shared):
    folder = shared / "golden" / "rival10" / "dataset_layout"
    for source, on_bad in (
        (data.load("scenes", "", "test", per_class=1, attributes=True), "error"),
        (data.load("rival10", folder, "test", attributes=True), "skip"),
    ):
        assert isinstance(source, data.AttributeSource)
        examples = data.Examples(source, Geometry((32, 32)), attributes=True, on_bad=on_bad)
        assert examples.attributes == ATTRIBUTES
        batch = next(examples.batches(len(examples)))
        shown = batch["attribute_masks"].max((2, 3)) > 0.5
        np.testing.assert_array_equal(shown, examples.attribute_labels == 1)
        item = source[int(examples.positions[0])]
        assert item["changed_attrs"].shape == item["attr_labels"].shape == (18,)
        merged = np.max([np.asarray(mask) for mask in item["attribute_masks"][:18]], 0)
        np.testing.assert_allclose(np.asarray(item["merged_mask"]) > 127, merged > 127)
        assert len(source.attribute_pixels(item, SMALL)) == 19
        np.testing.assert_array_equal(item["changed_attrs"], 0)


def test_exact_masks_where_nothing_is_resized():
    source = data.load("scenes", "", "val", per_class=2, size=40, attributes=True)
    examples = data.Examples(source, Geometry((40, 40)), attributes=True)
    masks = next(examples.batches(len(examples)))["attribute_masks"]
    for mask, item in zip(masks, map(source.__getitem__, range(len(source))), strict=True):
        np.testing.assert_array_equal(mask, np.stack(item["attribute_masks"])[:18] / 255.0)


def test_data_without_attribute_masks_names_those_that_have_them(study):
    with pytest.raises(
        ValueError, match=r"data masked_folder has no attribute masks; rival10.*scenes.* have"
    ):
        data.load("masked_folder", study / "data", "test", attributes=True)


def test_an_experiment_asks_its_subject(study):
    config = config_of("rfs")
    config.models = (str(study / "tiny"),)
    config.data.scenes.per_class = 2
    subject = Subject(config, Console(quiet=True), heads=False)
    geometry = Geometry((16, 16))
    with_masks = subject.examples(geometry, "test", attributes=True)
    assert "attribute_masks" in next(with_masks.batches(4))
    assert subject.examples(geometry, "test", attributes=True) is with_masks
    assert "attribute_masks" not in next(subject.examples(geometry).batches(4))
    assert subject.first_examples().attributes == ()
    assert subject.examples(geometry).fingerprint == with_masks.fingerprint
    config.data.name, config.data.root = "masked_folder", str(study / "data")
    with pytest.raises(ValueError, match="data masked_folder has no attribute masks"):
        Subject(config, Console(quiet=True)).examples(geometry, attributes=True)
