"""TFDS: what is prepared from a folder gives the folder's pixels, and its errors say what to do."""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from PIL import Image

from rival_jax import data
from rival_jax.data import rival10
from rival_jax.experiments import rfs
from rival_jax.runtime.results import Run, read_rows
from rival_jax.types import Geometry
from tests.helpers import quiet, save_tiny_vit, tiny_rfs
from tests.pictures import disc, photo, save

tfds = pytest.importorskip("tensorflow_datasets")
rival10_tfds = pytest.importorskip("rival_jax.data.rival10_tfds")

SMALL = Geometry((20, 24))
RULES = ("clean", "released")


@pytest.fixture(scope="module")
def layout(shared, tmp_path_factory):
    """The reference folder with all its traps, and what is prepared from it under each rule."""
    root = shared / "golden" / "rival10" / "dataset_layout"
    prepared = tmp_path_factory.mktemp("prepared")
    skipped = {
        rule: rival10_tfds.prepare(root, prepared, attribute_masks=rule, on_bad="skip")[1]
        for rule in RULES
    }
    return root, prepared, skipped


@pytest.fixture(scope="module")
def real(all_shared, tmp_path_factory):
    """The test photos of a small real data set, as a folder and prepared."""
    root, prepared = tmp_path_factory.mktemp("real"), tmp_path_factory.mktemp("real_prepared")
    test = all_shared / "data" / "rival10_mini" / "RIVAL10" / "test"
    (root / "test").symlink_to(test, target_is_directory=True)
    rival10_tfds.prepare(root, prepared)
    return root, prepared


def named(rule):
    return "rival10/ordinary" + ("_released" if rule == "released" else "")


def draw_folder(root, names, split="test"):
    """A RIVAL10 folder of drawn photos, each with one attribute."""
    base = root / "RIVAL10" / split
    for i, name in enumerate(names):
        stem = base / "ordinary" / name.removesuffix(".JPEG")
        save(photo(i), base / "ordinary" / name)
        save(disc(), base / "entire_object_masks" / name)
        save(disc(), stem.with_name(stem.name + "_merged_mask.JPEG"))
        labels = np.zeros((2, 18), np.int64)
        labels[0, 1] = labels[1, 8] = 1  # has wings, lost its tail
        np.save(stem.with_name(stem.name + "_attr_labels.npy"), labels)
        file = save(disc(), root / "wings.png").read_bytes()
        text = base64.b64encode(file)
        stem.with_name(stem.name + "_attr_dict.pkl").write_bytes(pickle.dumps({"wings": text}))
    return root


CATS = ("n02123394_1.JPEG", "n02124075_22.JPEG", "n02123394_3.JPEG")


@pytest.fixture(scope="module")
def cats(tmp_path_factory):
    """Three cats as a folder and prepared."""
    root = draw_folder(tmp_path_factory.mktemp("cats"), CATS)
    prepared = tmp_path_factory.mktemp("cats_prepared")
    rival10_tfds.prepare(root, prepared)
    return root, prepared


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_folder_and_prepared_set_are_the_same_examples(layout, rule, split):
    root, prepared, _ = layout
    for attributes in (False, True):
        options = {"attributes": attributes}
        folder = data.load("rival10", root, split, attribute_masks=rule, **options)
        record = data.load("tfds", prepared, split, name=named(rule), **options)
        theirs, ours = (
            data.Examples(source, SMALL, attributes=attributes, on_bad="skip")
            for source in (folder, record)
        )
        assert ours.names == theirs.names
        assert ours.fingerprint == theirs.fingerprint
        assert ours.attribute_fingerprint == theirs.attribute_fingerprint
        assert (ours.classes, ours.class_wnids) == (theirs.classes, theirs.class_wnids)
        for one, other in zip(ours.batches(4), theirs.batches(4), strict=True):
            assert ("attribute_masks" in one) == attributes
            for key in other:
                np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize("which", ["real", "cats"])
def test_photos_and_masks_at_full_size(which, request):
    root, prepared = request.getfixturevalue(which)
    folder = data.load("rival10", root, "test", attributes=True)
    record = data.load("tfds", prepared, "test", attributes=True)
    assert record.names == folder.names
    assert isinstance(record, data.AttributeSource)
    for position in range(0, len(folder), 4):
        theirs, ours = folder[position], record[position]
        for key in ("image", "mask"):
            np.testing.assert_array_equal(ours[key], theirs[key])
        for key in ("attr_labels", "changed_attrs"):
            np.testing.assert_array_equal(ours[key], theirs[key])
        for one, other in zip(ours["attribute_masks"], theirs["attribute_masks"], strict=True):
            np.testing.assert_array_equal(one, other)


def test_rfs_gives_the_same_rows(tmp_path):
    """On a drawn photo of each synset."""
    names = [f"{wnid}_{i}.JPEG" for i, wnid in enumerate(rival10.CLASS_OF_SYNSET)]
    places = draw_folder(tmp_path / "drawn", names), tmp_path / "prepared"
    rival10_tfds.prepare(*places)
    save_tiny_vit(tmp_path / "tiny", classes=10)
    rows = {}
    for name, place in zip(("rival10", "tfds"), places, strict=True):
        config = tiny_rfs(tmp_path, tmp_path / "cache")
        config.noise.norms, config.noise.sigmas, config.noise.trials = ("linf",), (0.3,), 2
        config.data.name, config.data.root = name, str(place)
        run, experiment = Run(tmp_path / name, config.to_dict()), rfs.Experiment(config, quiet())
        loaded = experiment.subject.load(config.models[0])
        for unit in experiment.units(loaded, experiment.pick(loaded), "own"):
            run.rows(unit.name, unit.depends_on, partial(unit.compute, lambda done: None))
            path = run.unit_path(unit.name, unit.depends_on)
            rows[name, path.relative_to(run.path)] = read_rows(path)
    paths = {name: [path for one, path in rows if one == name] for name in ("rival10", "tfds")}
    assert len(paths["tfds"]) == 2
    assert paths["tfds"] == paths["rival10"]  # called after what they depend on
    for path in paths["tfds"]:
        theirs, ours = rows["rival10", path], rows["tfds", path]
        assert len(ours) >= len(names)
        assert ours.drop(["dataset"]).equals(theirs.drop(["dataset"]))


WITHOUT_TENSORFLOW = """
import importlib.abc, runpy, sys
from importlib.machinery import ModuleSpec

class Refuse(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name.partition(".")[0] == "tensorflow" else None

    def create_module(self, spec):
        raise ModuleNotFoundError("refused " + spec.name, name=spec.name)

    def exec_module(self, module):
        raise AssertionError

sys.meta_path.insert(0, Refuse())  # so whether it is installed or not makes no difference
root = sys.argv[1]
prepared = root + "/prepared"
sys.argv = ["rival10_tfds", "--root=" + root, "--data_dir=" + prepared]
runpy.run_module("rival_jax.data.rival10_tfds", run_name="__main__")
from rival_jax import data
from rival_jax.types import Geometry

source = data.load("tfds", prepared, "test", attributes=True)
examples = data.Examples(source, Geometry((8, 8)), attributes=True)
assert next(examples.batches(1))["attribute_masks"].any()
assert "tensorflow" not in sys.modules
"""


def test_nothing_needs_tensorflow(tmp_path):
    draw_folder(tmp_path, CATS[:1])
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--config.data.tfds.name=rival10/ordinary" in done.stdout


def test_faults_are_told_together_and_nothing_is_left(layout, cats, tmp_path):
    root, prepared, skipped = layout
    with pytest.raises(ValueError, match=r"of \d+ photos cannot be used; .*--on_bad=skip") as error:
        rival10_tfds.prepare(root, tmp_path)
    assert not list(tmp_path.rglob("*record*"))
    assert all(fault in str(error.value) for fault in skipped["clean"] if "train" in fault)
    with pytest.raises(ValueError, match=r"ordinary.1\.0\.0 is there already; remove it"):
        rival10_tfds.prepare(root, prepared)
    with pytest.raises(ValueError, match="no RIVAL10 photos: looked for"):
        rival10_tfds.prepare(tmp_path, tmp_path)
    with pytest.raises(ValueError, match="did you mean 'removed'"):
        rival10_tfds.prepare(cats[0], tmp_path, variant="remove")


def test_damaged_attributes_are_told_when_they_are_asked_for(tmp_path):
    root = draw_folder(tmp_path, CATS)
    (root / "RIVAL10/test/ordinary/n02123394_3_attr_dict.pkl").write_bytes(b"rubbish")
    (root / "RIVAL10/test/entire_object_masks" / CATS[0]).unlink()
    _, skipped = rival10_tfds.prepare(root, tmp_path / "prepared", on_bad="skip")
    assert len(skipped) == 2
    assert data.load("tfds", tmp_path / "prepared", "test").names == [CATS[2], CATS[1]]
    source = data.load("tfds", tmp_path / "prepared", "test", attributes=True)
    with pytest.raises(ValueError, match=r"n02123394_3_attr_dict\.pkl"):
        data.Examples(source, SMALL, attributes=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "rival11"}, "nor is it a name that TFDS knows; did you mean 'rival10"),
        (
            {"name": "rival10/removed"},
            r"not prepared in .*rival10/ordinary.*\n  python -m rival_jax",
        ),
        ({"name": "oxford_iiit_pet"}, r"\n  python -c .*'oxford_iiit_pet'.*array_record"),
        ({"split": "tets"}, "split: no 'tets'; did you mean 'test'"),
        ({"image": "imag"}, r"image: a feature of kind Image: no 'imag'; did you mean 'image'"),
        ({"label": "image"}, r"label: a feature of kind ClassLabel: .*There are: label"),
        ({"mask": "segmentation_mask"}, r"no object .*There are: image, object_mask; .*tfds\.mask"),
        ({"file_name": "name"}, "file_name: a feature of kind Text"),
        ({"mask_format": "gray"}, "did you mean 'grey'"),
    ],
)
def test_what_is_not_there_is_told(cats, options, words):
    options = {"split": "test"} | options
    with pytest.raises(ValueError, match="(?s)data tfds: .*" + words):
        data.load("tfds", cats[1], options.pop("split"), **options)


def test_a_set_without_random_access_is_told(cats, tmp_path):
    builder = tfds.builder_from_directory(cats[1] / "rival10/ordinary/1.0.0")
    folder = tmp_path / "rival10" / "ordinary" / "1.0.0"
    folder.mkdir(parents=True)
    for file in builder.data_path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    with pytest.raises(ValueError, match="prepared as tfrecord, which has no random access"):
        data.load("tfds", tmp_path, "test", name="rival10/ordinary")


def test_without_the_package_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ValueError, match=r"pip install 'rival_jax\[tfds\]'"):
        data.load("tfds", tmp_path, "test")


class PetsLike(tfds.core.GeneratorBasedBuilder):
    """A data set as TFDS's own are: 1 object, 2 background, 3 rim; no attributes."""

    VERSION = tfds.core.Version("2.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(),
            "species": tfds.features.ClassLabel(names=["n02123394", "n02099712"]),
            "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(6):
            values = 2 - (np.asarray(disc()) > 0)
            mask = Image.fromarray(np.where(np.arange(40) < 5, 3, values).astype(np.uint8))
            yield i, {"image": photo(i), "species": i % 2, "segmentation_mask": mask}


def test_any_image_data_set_by_name(tmp_path):
    PetsLike(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    keys = {"name": "pets_like", "label": "species", "mask": "segmentation_mask", "file_name": ""}
    source = data.load("tfds", tmp_path, "train", **keys, mask_values=(1,))
    assert source.names == [f"train/{i:08d}" for i in range(6)]
    assert source.classes == ("n02123394", "n02099712")
    assert source.class_wnids == (("n02123394",), ("n02099712",))
    examples = data.Examples(source, SMALL)
    assert sorted(examples.labels) == [0, 0, 0, 1, 1, 1]
    inside = (np.asarray(disc()) > 0) & (np.arange(40) >= 5)
    np.testing.assert_array_equal(np.asarray(source[0]["mask"]) > 0, inside)
    part = data.load("tfds", tmp_path, "train[:3]", **keys, mask_values=(1,))
    assert len(part) == 3
    with pytest.raises(ValueError, match=r"pets_like has no attribute masks; rival10 and scenes"):
        data.load("tfds", tmp_path, "train", **keys, attributes=True)


def test_records_are_read_in_the_folders_order(cats):
    source = data.load("tfds", cats[1], "test")
    assert source.names == sorted(CATS) == data.load("rival10", cats[0], "test").names
    assert rival10.OBJECT not in source.attributes
