"""Evaluation sets as they are distributed: each trap that would give a wrong number, quietly."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import gzip
import inspect
import io
import json
import pickle
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rival_jax import data
from rival_jax.data import class_maps, imagenet, objectnet
from rival_jax.data.archives import Files
from rival_jax.data.evaluation import numbered
from rival_jax.data.source import EvaluationSource, refuse_training
from rival_jax.runtime.plugins import plugin
from tests import finetune_cases
from tests.evaluation_layouts import encoded, lay, siscore, tar_of, zip_of
from tests.evaluation_layouts import objectnet as draw_objectnet
from tests.helpers import quiet, tiny_rfs

WNIDS = [one.wnid for one in class_maps.imagenet()]
A, R = class_maps.columns("imagenet_a"), class_maps.columns("imagenet_r")
V2 = "imagenetv2-matched-frequency-format-val"
MINI = [  # name, place in evaluation_mini, options, photos, outputs that are right for the first
    ("imagenet_a", "standin/imagenet-a", {}, 8, (11,)),
    ("imagenet_r", "standin/imagenet-r", {}, 14, (11,)),
    ("imagenet_sketch", "standin/sketch", {}, 20, (11,)),
    ("imagenet_v2", f"standin/{V2}", {}, 40, (11,)),
    ("imagenet_c", "corruptions_one_photo", {"wnid": "n01530575"}, 90, (10,)),
    ("siscore", "siscore_demo", {}, 6, (105,)),
    ("labelled_folder", "standin/imagenet-a", {}, 8, (11,)),
    ("labelled_folder", f"standin/{V2}", {"named": "outputs"}, 40, (11,)),
    (
        *("factor_table", "siscore_demo"),
        {"levels": ("label",), "named": "siscore"},
        *(6, (105,)),
    ),
]

OPTIONS = {
    kind: list(inspect.signature(plugin("data", kind).load).parameters)[2:]
    for kind in (
        *("factor_table", "hard_imagenet", "imagenet", "imagenet9", "imagenet_c", "imagenet_v2"),
        *("labelled_folder", "objectnet", "siscore"),
    )
}


def good(source):
    """A source that keeps the promises of `EvaluationSource`."""
    assert isinstance(source, EvaluationSource)
    assert len(source) == len(source.names) == len(set(source.names)) == len(source.labels)
    assert source.names == sorted(source.names) or len(source.factors) > 0
    assert source.labels.dtype == np.int32
    assert 0 <= source.labels.min() <= source.labels.max() < len(source.classes)
    assert len(source.outputs) == len(source.classes)
    assert all(0 <= output < 1000 for some in source.outputs for output in some)
    if source.columns is not None:
        assert {output for some in source.outputs for output in some} == set(source.columns)
    if source.class_wnids is not None:
        own = [tuple(WNIDS[i] for i in some) for some in source.outputs]
        assert list(source.class_wnids) == own
    for words in (*source.factors.values(), source.units or source.names):
        assert len(words) == len(source)
        assert all(isinstance(word, str) for word in words)
    assert source[0]["image"].mode == "RGB"
    return source


def right(source):
    """The first output that is right for each photo, by its name."""
    return {
        name: source.outputs[label][0] if source.outputs[label] else None
        for name, label in zip(source.names, source.labels, strict=True)
    }


@contextlib.contextmanager
def named_on_failure(name):
    try:
        yield
    except Exception as error:
        error.add_note(f"this is {name}")
        raise


def test_real_samples_stand_ins_and_reassessed_labels(val, all_shared):
    for name, place, options, count, first in MINI:
        with named_on_failure(f"{name} of {place}"):
            root = all_shared / "data" / "evaluation_mini" / place
            source = good(data.load(name, root, "test", **options))
            assert len(source) == count
            assert source.outputs[source.labels[0]] == first
            for position in range(len(source)):
                assert source[position]["image"].width >= 200
    path = all_shared / "data" / "evaluation_mini" / "imagenet_real" / "real.json"
    source = data.load("imagenet", val / "flat", "val", real=str(path))
    lists = json.loads(path.read_text())
    assert source.real == tuple(tuple(lists[int(name[-13:-5]) - 1]) for name in source.names)


def test_a_parent_folder_is_taken_for_the_sets(tmp_path):
    counts = {"imagenet_a": 2, "imagenet_r": 3, "imagenet_v2": 4}
    lay(tmp_path, [f"imagenet-a/{WNIDS[i]}/x_{i}.jpg" for i in A[:2]])
    lay(tmp_path, [f"imagenet-r/{WNIDS[i]}/art_{i}.jpg" for i in R[:3]])
    lay(tmp_path, [f"{V2}/{i}/x.jpeg" for i in range(4)])
    for name, count in counts.items():
        assert len(data.load(name, tmp_path, "test")) == count


# Archives.


@pytest.fixture(scope="module")
def a_files():
    """ImageNet-A with its README, three photos of different pixels."""
    names = [f"imagenet-a/{WNIDS[i]}/x_{i}.jpg" for i in A[:3]]
    return {"imagenet-a/README.txt": b"read me", **{n: encoded(i) for i, n in enumerate(names)}}


@pytest.mark.parametrize("kind", ["tar", "zip", "folder of archives"])
def test_an_archive_is_its_folder(kind, a_files, tmp_path):
    folder = lay(tmp_path / "folder", a_files, a_files)
    if kind == "zip":
        packed = zip_of(tmp_path / "a.zip", a_files)
    else:
        packed = tar_of(tmp_path / "a.tar", {f"./{name}": c for name, c in a_files.items()})
    if kind == "folder of archives":
        packed = packed.parent / "packed"
        packed.mkdir()
        shutil.move(tmp_path / "a.tar", packed)
    plain, other = (good(data.load("imagenet_a", root, "test")) for root in (folder, packed))
    assert plain.names == other.names
    np.testing.assert_array_equal(plain.labels, other.labels)
    again = pickle.loads(pickle.dumps(other))  # for processes that decode
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for position, item in enumerate(pool.map(other.__getitem__, [0, 1, 2] * 4)):
            expected = np.asarray(plain[position % 3]["image"])
            np.testing.assert_array_equal(np.asarray(item["image"]), expected)
            np.testing.assert_array_equal(np.asarray(again[position % 3]["image"]), expected)


def test_archives_that_cannot_be_read_in_parts_are_told(a_files, tmp_path):
    path = tar_of(tmp_path / "a.tar", a_files)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ValueError, match=r"a\.tar\.gz is compressed as a whole.*gunzip"):
        data.load("imagenet_a", tmp_path / "a.tar.gz", "test")
    whole = path.read_bytes()
    for size in range(700, len(whole.rstrip(b"\0")), 400):
        (tmp_path / "cut.tar").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"cut\.tar (is cut off|cannot be read.*); copy it"):
            data.load("imagenet_a", tmp_path / "cut.tar", "test")
    damaged = bytearray(whole)
    damaged[1024 + 100] ^= 255  # in the second header, after which tarfile would just stop
    (tmp_path / "hurt.tar").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"hurt\.tar cannot be read.*its end is missing"):
        data.load("imagenet_a", tmp_path / "hurt.tar", "test")
    (tmp_path / "no.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(ValueError, match=r"no\.tar cannot be read as an archive"):
        data.load("imagenet_a", tmp_path / "no.tar", "test")
    content = bytearray(zip_of(tmp_path / "l.zip", a_files).read_bytes())
    for mark in re.finditer(rb"PK\x01\x02", bytes(content)):
        content[mark.start() + 8] |= 1  # the flag of a password
    (tmp_path / "l.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"l\.zip is locked; unpack it with the password"):
        data.load("imagenet_a", tmp_path / "l.zip", "test")
    with pytest.raises(ValueError, match="no folder of the data is named"):
        data.load("imagenet_a", "", "test")  # else all below where the command is run
    with pytest.raises(ValueError, match="there is no folder or archive"):
        data.load("imagenet_a", tmp_path / "nowhere", "test")
    with pytest.raises(ValueError, match="no photo in"):
        data.load("imagenet_a", lay(tmp_path / "e", ["README.txt"], b"x"), "test")


def test_an_archive_that_shrinks_under_a_run_is_told(a_files, tmp_path):
    path = tar_of(tmp_path / "a.tar", a_files)
    source = data.load("imagenet_a", path, "test")
    path.write_bytes(path.read_bytes()[:1200])
    with pytest.raises(ValueError, match=r"a\.tar is cut off"):
        source[2]


# Folders of numbers.


@pytest.fixture(scope="module")
def v2(tmp_path_factory):
    """A photo of each of the 1000 classes."""
    root = tmp_path_factory.mktemp("v2")
    return lay(root / V2, (f"{i}/{i:040x}.jpeg" for i in range(1000)))


def test_every_folder_of_v2_is_its_own_output(v2):
    source = good(data.load("imagenet_v2", v2.parent, "test"))
    assert right(source) == {f"{i}/{i:040x}.jpeg": i for i in range(1000)}
    # What a loader that sorts names as words would make of them.
    by_words = sorted(map(str, range(1000)))
    assert sum(int(folder) == place for place, folder in enumerate(by_words)) == 12


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_v2_is_right_in_any_order_of_files(tmp_path_factory, rng: random.Random):
    content = encoded()
    names = [f"{V2}/{i}/x.jpeg" for i in range(0, 1000, 40)]
    rng.shuffle(names)
    path = tar_of(tmp_path_factory.mktemp("t") / "v2.tar", dict.fromkeys(names, content))
    assert all(
        int(n.split("/")[0]) == i for n, i in right(data.load("imagenet_v2", path, "")).items()
    )


def test_v2_in_zero_padded_folders_and_synsets(tmp_path):
    padded = lay(tmp_path / "p", ["0007/a.jpeg", "0999/b.jpeg"])
    assert right(data.load("imagenet_v2", padded, "test")) == {"0007/a.jpeg": 7, "0999/b.jpeg": 999}
    named = lay(tmp_path / "w", [f"{WNIDS[7]}/a.jpeg"])
    assert list(right(data.load("imagenet_v2", named, "test")).values()) == [7]
    beyond = lay(tmp_path / "b", ["7/a.jpeg", "1000/b.jpeg"])
    with pytest.raises(ValueError, match=r"folder 1000 of .* is not one of its classes"):
        data.load("imagenet_v2", beyond, "test")


def test_another_variant_of_v2_is_not_taken_for_it(tmp_path):
    names = ["imagenetv2-top-images-format-val/7/a.jpeg"]
    folder, packed = lay(tmp_path / "f", names), tar_of(tmp_path / "v2.tar", {names[0]: encoded()})
    for root in (folder, folder / "imagenetv2-top-images-format-val", packed):
        with pytest.raises(ValueError, match=r"give it the option variant=top-images"):
            data.load("imagenet_v2", root, "test")
        assert len(data.load("imagenet_v2", root, "test", variant="top-images")) == 1


@pytest.mark.parametrize(("name", "columns"), [("imagenet_a", A), ("imagenet_r", R)])
def test_numbers_of_200_classes_are_places_or_outputs(name, columns, tmp_path):
    places = lay(tmp_path / "places", [f"{i}/x_1.jpg" for i in range(200)])
    found = right(good(data.load(name, places, "test")))
    assert found == {f"{i}/x_1.jpg": columns[i] for i in range(200)}
    outputs = lay(tmp_path / "outputs", [f"{i}/x_1.jpg" for i in columns])
    assert right(data.load(name, outputs, "test")) == {f"{i}/x_1.jpg": i for i in columns}
    either = lay(tmp_path / "either", [f"{i}/x_1.jpg" for i in columns[:5]])
    with pytest.raises(ValueError, match="may be places among its classes or outputs"):
        data.load(name, either, "test")
    outside = next(i for i in range(200, 1000) if i not in columns)
    wrong = lay(tmp_path / "wrong", [f"{outside}/x_1.jpg"])
    with pytest.raises(ValueError, match=f"folder {outside} of .* is not one of its classes"):
        data.load(name, wrong, "test")


@settings(max_examples=30, deadline=None)
@given(st.sets(st.sampled_from(A), min_size=1))
def test_outputs_are_never_taken_for_places(chosen):
    files = Files(Path("here"), {})
    try:
        label = numbered("a", files, set(map(str, chosen)), A)
    except ValueError:
        assert max(chosen) < 200
    else:
        assert all(A[label[str(i)]] == i for i in chosen)


# Folders of synsets.


def test_classes_of_a_and_r_keep_their_places_whatever_is_there(tmp_path):
    root = lay(tmp_path, [f"imagenet-a/{WNIDS[A[5]]}/some_words_0.8.jpg"])
    lay(root, ["imagenet-a/README.txt"], b"not a photo")
    source = good(data.load("imagenet_a", root, "test"))
    assert source.labels.tolist() == [5]
    assert source.columns == A
    assert source.notices == (
        "imagenet_a: 1 photo of 1 of 200 classes is there, and 7,500 are known: a part gives "
        "other numbers than the whole",
    )
    assert not dataclasses.replace(source, names=[""] * 7500).notices


def test_folders_that_are_no_classes_are_told(tmp_path):
    only_r = next(i for i in R if i not in A)
    root = lay(tmp_path / "1", [f"{WNIDS[A[0]]}/a.jpg", f"{WNIDS[only_r]}/b.jpg"])
    with pytest.raises(ValueError, match=f"folder {WNIDS[only_r]} is not one of its 200 classes"):
        data.load("imagenet_a", root, "test")
    lay(root := tmp_path / "2", [f"{WNIDS[A[0]]}/a.jpg", "b.jpg"])
    with pytest.raises(ValueError, match="1 pictures lie in no class folder"):
        data.load("imagenet_a", root, "test")


def test_the_style_of_a_rendition_begins_its_name(tmp_path):
    root = lay(
        tmp_path, [f"imagenet-r/{WNIDS[R[0]]}/{n}" for n in ("art_0.jpg", "videogame_12.jpg")]
    )
    assert data.load("imagenet_r", root, "test").factors == {"style": ["art", "videogame"]}


@pytest.mark.parametrize(("count", "told"), [(50_889, False), (50_000, False), (49_999, True)])
def test_both_counts_of_sketch_are_whole(count, told, tmp_path):
    source = data.load("imagenet_sketch", lay(tmp_path, [f"sketch/{WNIDS[3]}/a.JPEG"]), "test")
    source = dataclasses.replace(source, names=[""] * count)
    assert any(f"{count:,} photos" in notice for notice in source.notices) == told


# ImageNet's validation photos.

PHOTOS = (1, 2, 17, 50_000)  # some are missing between them


@pytest.fixture(scope="module")
def val(tmp_path_factory):
    """Flat photos with a list of labels: photo n is of output 7 n mod 1000."""
    root = tmp_path_factory.mktemp("val")
    lay(root / "flat", [f"ILSVRC2012_val_{n:08d}.JPEG" for n in PHOTOS])
    wnids = [WNIDS[7 * n % 1000] for n in range(1, 50_001)]
    (root / "flat" / "validation_labels.txt").write_text("\n".join(wnids))
    return root


def expected(source):
    return [7 * int(name[-13:-5]) % 1000 == output for name, output in right(source).items()]


def test_labels_of_flat_files_go_by_their_number(val, tmp_path):
    source = good(data.load("imagenet", val / "flat", "val"))
    assert len(source) == 4
    assert all(expected(source))
    assert "4 photos" in source.notices[0]
    lines = [f"ILSVRC2012_val_{n:08d},{WNIDS[7 * n % 1000]} 1 2 3 4" for n in range(50_000, 0, -1)]
    (tmp_path / "kaggle.csv").write_text("\n".join(["ImageId,PredictionString", *lines]))
    given = data.load("imagenet", val / "flat", "test", labels=str(tmp_path / "kaggle.csv"))
    assert all(expected(given))


def test_flat_files_in_a_tar_and_in_folders_are_one(val, tmp_path):
    flat = data.load("imagenet", val / "flat", "val")
    names = {f"ILSVRC2012_val_{n:08d}.JPEG": encoded() for n in PHOTOS}
    shutil.copy(val / "flat" / "validation_labels.txt", tmp_path)
    packed = data.load("imagenet", tar_of(tmp_path / "ILSVRC2012_img_val.tar", names), "val")
    (tmp_path / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(gzip.compress(b"beside it"))
    assert data.load("imagenet", tmp_path, "val").names == packed.names
    lay(tmp_path / "imagenet" / "val", flat.names)
    lay(tmp_path / "imagenet" / "train", [f"{WNIDS[0]}/n01440764_1.JPEG"])
    sorted_ = data.load("imagenet", tmp_path / "imagenet", "test")
    for other in (packed, sorted_):
        assert right(other) == right(flat)
    assert data.load("imagenet", tmp_path / "imagenet", "train").names == [
        "n01440764/n01440764_1.JPEG"
    ]
    with pytest.raises(ValueError, match="holds training photos"):
        data.load("imagenet", tmp_path / "imagenet" / "train", "val")
    with pytest.raises(ValueError, match=r"no folder .*train"):  # not the validation photos
        data.load("imagenet", val / "flat", "train")


def test_lists_of_labels_that_do_not_fit_are_refused(val, tmp_path, monkeypatch):
    (tmp_path / "devkit.txt").write_text("\n".join(["490", "361"] * 25_000))
    with pytest.raises(ValueError, match="in another order and are not read"):
        data.load("imagenet", val / "flat", "val", labels=str(tmp_path / "devkit.txt"))
    lay(tmp_path / "odd", ["photo.JPEG"])
    labels = str(val / "flat" / "validation_labels.txt")
    with pytest.raises(ValueError, match=r"photo\.JPEG is not called ILSVRC2012_val_"):
        data.load("imagenet", tmp_path / "odd", "val", labels=labels)
    monkeypatch.setattr(imagenet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"no list of their labels .*the option labels"):
        data.load("imagenet", tmp_path / "odd", "val")


def test_real_labels_go_by_the_number_and_may_be_none(val, tmp_path):
    lists = [[n % 1000] for n in range(1, 50_001)]
    lists[0], lists[16] = [], [3, 999]
    (tmp_path / "real.json").write_text(json.dumps(lists))
    source = good(data.load("imagenet", val / "flat", "val", real=str(tmp_path / "real.json")))
    by_number = {
        int(n[-13:-5]): labels for n, labels in zip(source.names, source.real, strict=True)
    }
    assert by_number == {1: (), 2: (2,), 17: (3, 999), 50_000: (0,)}
    (tmp_path / "short.json").write_text(json.dumps(lists[:-1]))
    (tmp_path / "wide.json").write_text(json.dumps([*lists[:-1], [1000]]))
    for name in ("short.json", "wide.json"):
        with pytest.raises(ValueError, match="expected 50,000 lists of numbers from 0 to 999"):
            data.load("imagenet", val / "flat", "val", real=str(tmp_path / name))
    unnumbered = lay(tmp_path / "w", [f"{WNIDS[0]}/a.JPEG"])
    with pytest.raises(ValueError, match=r"photo n01440764/a\.JPEG has none"):
        data.load("imagenet", unnumbered, "val", real=str(tmp_path / "real.json"))


def test_factors_of_imagenet_x(val, tmp_path):
    rows = [
        {
            "file_name": f"ILSVRC2012_val_{n:08d}.JPEG",
            "class": 7 * n % 1000,
            "pose": n % 2,
            "style": 0,
        }
        for n in (17, 1, 2)
    ]
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(json.dumps({**row, "one_word": "a"}) for row in rows))
    source = good(data.load("imagenet", val / "flat", "val", imagenet_x=str(path)))
    by_number = dict(
        zip((int(n[-13:-5]) for n in source.names), source.factors["pose"], strict=True)
    )
    assert by_number == {1: "yes", 2: "no", 17: "yes", 50_000: ""}
    assert set(source.factors) == {"pose", "style"}
    path.write_text(json.dumps({**rows[0], "class": 5}))
    with pytest.raises(ValueError, match="one of the two lists of labels is in another order"):
        data.load("imagenet", val / "flat", "val", imagenet_x=str(path))


# ObjectNet.


@pytest.fixture(scope="module")
def household(tmp_path_factory):
    return draw_objectnet(tmp_path_factory.mktemp("objectnet"))


def test_objectnet_goes_by_the_names_of_folders(household):
    known = {one.folder: one for one in class_maps.objectnet()}
    source = good(data.load("objectnet", household, "test"))
    assert len(source) == len(source.classes) == 113
    for name, label in zip(source.names, source.labels, strict=True):
        assert source.outputs[label] == known[name.split("/")[0]].outputs
    assert source.columns == class_maps.columns("objectnet")
    assert sum(len(outputs) > 1 for outputs in source.outputs) == 9
    whole = good(data.load("objectnet", household, "test", folders="all"))
    assert len(whole) == 313
    assert sum(not outputs for outputs in whole.outputs) == 200
    # Numbers would not do, nor would labels with underscores.
    assert sum(one.challenge_id != i for i, one in enumerate(class_maps.objectnet())) == 138
    odd = [f for f, one in known.items() if f != one.label.lower().replace(" ", "_")]
    assert len(odd) == 26
    assert set(odd) <= {name.split("/")[0] for name in whole.names}


def test_the_red_frame_of_objectnet_is_cut(household):
    cut = np.asarray(data.load("objectnet", household, "test")[0]["image"])
    assert cut.shape == (10, 12, 3)
    assert cut.max() < 200
    left = np.asarray(data.load("objectnet", household, "test", border=0)[0]["image"])
    np.testing.assert_array_equal(left[2:-2, 2:-2], cut)
    assert (left[0] == (255, 0, 0)).all()
    one = np.asarray(data.load("objectnet", household, "test", border=1)[0]["image"])
    assert (one[0] == (255, 0, 0)).all()
    with pytest.raises(ValueError, match="too small to cut 7 pixels"):
        data.load("objectnet", household, "test", border=7)[0]
    with pytest.raises(ValueError, match=r"objectnet.border=-1"):
        data.load("objectnet", household, "test", border=-1)


def test_objectnet_tells_what_is_missing_and_what_is_strange(household, tmp_path):
    source = data.load("objectnet", household, "test")
    assert "113 photos of 113 of 113 classes are there, and 18,574 are known" in source.notices[0]
    for inner in ("objectnet-1.0", "objectnet-1.0/images"):
        assert data.load("objectnet", household / inner, "test").names == source.names
    lay(tmp_path, ["images/alarm_clock/a.png", "images/Bath towel/b.png"])
    with pytest.raises(ValueError, match="folder Bath towel is not one of its 313 classes"):
        data.load("objectnet", tmp_path, "test")


def test_objectnet_is_for_evaluation_only(household):
    for source in (
        data.load("objectnet", household, "test"),
        data.load("labelled_folder", household / "objectnet-1.0/images", "", named="objectnet"),
    ):
        with pytest.raises(ValueError, match="terms only allow evaluation on it"):
            refuse_training(source, "fit heads on")
    assert objectnet.WHOLE["scored"] == (18_574,)


# SI-Score.

ROWS = {  # ids with a gap, own numbers of classes, a grid of floats
    "koala/0.jpg": "0,0.5,0.5,0.1,0,0,3,8,500,500,1.0",
    "koala/12.jpg": "12,0.5,0.5,0.30000000000000004,0,0,3,8,500,500,1.0",
    "banana/7.jpg": "7,0.5,0.5,0.3,0,7,3,8,500,500,1.0",
    "banana/8.jpg": "8,0.5,0.5,0.3,0.0,7,3,9,500,500,1.0",
}


def test_factors_and_labels_of_siscore(tmp_path):
    siscore(tmp_path / "area", ROWS)
    siscore(tmp_path / "rotation", {"koala/0.jpg": "0,.5,.5,.2,21.0,0,1,0,500,500,1.0"})
    source = good(data.load("siscore", tmp_path, "test"))
    assert right(source) == {
        "area/koala/0.jpg": 105,
        "area/koala/12.jpg": 105,
        "area/banana/7.jpg": 954,
        "area/banana/8.jpg": 954,
    }
    words = dict(zip(source.names, source.factors["area"], strict=True))
    assert words["area/koala/12.jpg"] == words["area/banana/7.jpg"] == "0.30"
    assert set(source.factors) == {"area"}  # the others do not vary
    units = dict(zip(source.names, source.units, strict=True))
    assert units["area/koala/0.jpg"] == units["area/koala/12.jpg"]
    assert len(set(units.values())) == 3  # an instance of another class, another background
    assert len(source.columns) == 61
    turned = data.load("siscore", tmp_path, "test", kind="rotation")
    assert turned.names == ["rotation/koala/0.jpg"]  # not the name of the other set's 0


def test_angles_are_whole_degrees(tmp_path):
    rows = {
        f"koala/{i}.jpg": f"{i},.5,.5,.2,{angle},0,1,0,1,1,1" for i, angle in enumerate((1.0, 341))
    }
    siscore(tmp_path / "rotation", rows)
    source = data.load("siscore", tmp_path, "test", kind="rotation")
    assert source.factors == {"rotation": ["1", "341"]}


@pytest.mark.parametrize(
    ("rows", "own", "message"),
    [
        ({"koala/0.jpg": ""}, "", "no metadata.csv"),
        ({**ROWS, "koala/1.jpg": ""}, "", r"koala/1\.jpg: .* has no line of this image_id"),
        ({"koala/0.jpg": ROWS["koala/0.jpg"]}, "0,banana\n", "says that it is 'banana'"),
        ({**ROWS, "koala/1.jpg": ROWS["koala/0.jpg"]}, "", "image_id 0 twice"),
        ({"armadillo/0.jpg": ROWS["koala/0.jpg"]}, "", "armadillo is not one of its 61"),
    ],
)
def test_what_does_not_fit_in_siscore_is_told(rows, own, message, tmp_path):
    root = siscore(tmp_path / "area", rows, own or "0,koala\n7,banana\n")
    with pytest.raises(ValueError, match=message):
        data.load("siscore", root, "test")


def test_another_set_of_siscore_is_not_taken_for_it(tmp_path):
    siscore(tmp_path / "rotation", {"koala/0.jpg": ROWS["koala/0.jpg"]})
    with pytest.raises(ValueError, match=r"give it the option kind=rotation"):
        data.load("siscore", tmp_path / "rotation", "test")


# ImageNet-9, ImageNet-C, Hard ImageNet.


@pytest.mark.parametrize("words", ["beach,dog", "('beach','dog')", "\"('beach', 'dog')\""])
def test_lists_are_words_of_a_command_line(tmp_path, words):
    names = [f"{place}/n02085620/{i}.png" for i, place in enumerate(("sand", "sand", "snow"))]
    root = lay(tmp_path, names, encoded(0, "PNG"))
    levels = words.replace("beach", "place").replace("dog", "label")
    kind, _, folder, _, told = data.named(f"factor_table={root} levels={levels}")
    source = data.load(kind, folder, "test", **told)
    assert source.factors == {"place": ["sand", "sand", "snow"]}


@pytest.mark.parametrize("kind", OPTIONS)
def test_every_option_of_a_set_can_be_given_and_a_misspelt_one_is_named(kind, tmp_path):
    for option in OPTIONS[kind]:
        for text, known in ((f"{option}=1", True), (f"{option[:-1]}_=1", False)):
            *_, root, _, told = data.named(f"{kind}={tmp_path} {text}")
            told_of = f"data {kind}: option: no '{option[:-1]}_'"
            with pytest.raises(ValueError, match="." if known else told_of) as raised:
                data.load(kind, root, "test", **told)  # the folder is empty
            assert (told_of in str(raised.value)) != known


def test_imagenet9_pairs_variants_and_has_outputs_of_no_group(tmp_path):
    same = "mixed_same/val/00_dog/fg_n02085936_01570_bg_n02085936_02323.JPEG"
    wheels = "mixed_same/val/02_wheeled vehicle/fg_n02701002_00001_bg_n02085936_02323.JPEG"
    names = [
        "original/val/00_dog/n02085936_1570.JPEG",
        "original/val/08_fish/n01440764_1.JPEG",
        same,
        wheels,
    ]
    root = lay(tmp_path / "bg_challenge", names)
    source = good(data.load("imagenet9", tmp_path, "test"))
    assert source.names == names
    assert source.labels.tolist() == [0, 8, 0, 2]
    assert source.factors == {"variant": ["original"] * 2 + ["mixed_same"] * 2}
    assert source.units == ["n02085936_1570", "n01440764_1", "n02085936_1570", "n02701002_1"]
    assert source.resized
    assert (source.groups == -1).sum() == 630
    for group, outputs in enumerate(source.outputs):
        assert (source.groups[list(outputs)] == group).all()
    assert [len(outputs) for outputs in source.outputs] == [116, 52, 42, 36, 35, 27, 26, 20, 16]
    assert "4 photos of 3 of 9 classes are there, and it is said to have 8,100" in source.notices[0]
    assert "not there: mixed_rand, mixed_next" in source.notices[1]
    asked = data.load("imagenet9", root, "test", variants=("mixed_same",))
    assert (asked.names, asked.told) == ([same, wheels], ())
    with pytest.raises(ValueError, match="has no folder only_fg; there are: mixed_same, original"):
        data.load("imagenet9", root, "test", variants=("only_fg",))
    with pytest.raises(ValueError, match="did you mean 'only_fg'"):
        data.load("imagenet9", root, "test", variants=("only_f",))
    lay(root, ["original/val/09_tree/n02085936_1570.JPEG"])
    with pytest.raises(ValueError, match="folder 09_tree is not one of its"):
        data.load("imagenet9", root, "test")


def test_imagenet_c_is_not_resized_and_wants_synsets(tmp_path):
    names = [f"{c}/{s}/{WNIDS[9]}/x.JPEG" for c in ("fog", "snow") for s in (1, 5)]
    tar_of(tmp_path / "weather.tar", dict.fromkeys(names[:2], encoded()))
    tar_of(tmp_path / "more.tar", dict.fromkeys(names[2:], encoded()))
    source = good(data.load("imagenet_c", tmp_path, "test"))
    assert source.names == names
    assert source.resized
    assert set(right(source).values()) == {9}
    assert source.factors["corruption"] == ["fog", "fog", "snow", "snow"]
    assert source.factors["severity"] == ["1", "5", "1", "5"]
    assert len(set(source.units)) == 1  # one photo
    assert "4 photos of 1 of 1000 classes are there, and 200,000 are known" in source.notices[0]
    only = data.load("imagenet_c", tmp_path, "test", corruptions=("snow",))
    assert only.names == names[2:]
    with pytest.raises(ValueError, match="no pictures of frost"):
        data.load("imagenet_c", tmp_path, "test", corruptions=("snow", "frost"))
    bare = lay(tmp_path / "bare", ["fog/1/bird.jpeg", "clean/bird.jpeg"])
    with pytest.raises(ValueError, match=r"such as fog/1/bird\.jpeg; .*the option wnid"):
        data.load("imagenet_c", bare, "test")
    told = data.load("imagenet_c", bare, "test", wnid=WNIDS[10])
    assert (told.names, told.labels.tolist()) == (["fog/1/bird.jpeg"], [10])
    assert "such as clean/bird.jpeg" in told.notices[1]
    with pytest.raises(ValueError, match=r"option wnid=n1: not one of"):
        data.load("imagenet_c", bare, "test", wnid="n1")


def test_hard_imagenet_finds_photos_by_the_masks_names(tmp_path):
    wnid, image = WNIDS[837], "ILSVRC2012_val_00000777.JPEG"
    masks = lay(tmp_path / "masks", [f"val/{wnid}_{image}"], encoded(1, "PNG"))
    lay(masks, [f"images/val/{wnid}/{image}"])
    source = data.load("hard_imagenet", masks, "test")
    good(source)
    assert right(source) == {f"{wnid}/{image}": 837}
    item = source[0]
    assert item["mask"].mode == "L"
    assert item["mask"].size == item["image"].size
    assert set(np.unique(item["mask"])) <= {0, 255}
    flat = lay(tmp_path / "flat", [image])
    assert len(data.load("hard_imagenet", masks, "test", photos=str(flat))) == 1
    with pytest.raises(ValueError, match=r"has no photo .*the option photos"):
        data.load("hard_imagenet", masks, "test", photos=str(tmp_path / "nowhere"))
    lay(masks, ["val/sunglasses_1.JPEG"])
    with pytest.raises(ValueError, match=r"sunglasses_1\.JPEG is not named by a synset"):
        data.load("hard_imagenet", masks, "test")


# Sets of one's own classes, and tables.

BIRDS = """img_id,img_filename,y,split,place,place_filename
1,a/1.jpg,0,2,0,x
2,a/2.jpg,1,2,0,x
3,b/1.jpg,1,0,1,x
"""


def test_groups_of_waterbirds(tmp_path):
    root = lay(tmp_path / "waterbird_1.0", ["a/1.jpg", "a/2.jpg", "b/1.jpg"])
    (root / "metadata.csv").write_text(BIRDS)
    source = data.load("waterbirds", tmp_path, "test")
    good(source)
    assert source.classes == ("landbird", "waterbird")
    assert source.names == ["a/1.jpg", "a/2.jpg"]
    assert source.factors["group"] == ["landbird on land", "waterbird on land"]
    assert source.outputs == ((), ())  # ImageNet has none
    train = data.load("waterbirds", tmp_path, "train")
    assert train.factors == {"place": ["water"], "group": ["waterbird on water"]}
    with pytest.raises(ValueError, match="did you mean 'test'"):
        data.load("waterbirds", tmp_path, "tests")
    (root / "a/2.jpg").unlink()
    with pytest.raises(
        ValueError, match=r"1 of 2 lines of split test have an unknown img_filename.*a/2\.jpg"
    ):
        data.load("waterbirds", tmp_path, "test")
    (root / "metadata.csv").write_text(BIRDS.replace("1,a/1.jpg,0", "1,a/1.jpg,-1"))
    with pytest.raises(ValueError, match=r"have an unknown (y|img_filename)"):
        data.load("waterbirds", tmp_path, "test")


def test_a_labelled_folder_has_imagenets_classes_or_its_own(tmp_path):
    synsets = lay(tmp_path / "s", [f"val/{WNIDS[5]}/a.jpg", f"val/{WNIDS[3]}/deep/b.jpg"])
    source = good(data.load("labelled_folder", synsets, "val"))
    assert right(source) == {f"{WNIDS[3]}/deep/b.jpg": 3, f"{WNIDS[5]}/a.jpg": 5}
    own = good(data.load("labelled_folder", lay(tmp_path / "o", ["cat/a.jpg", "dog/b.jpg"]), "val"))
    assert own.classes == ("cat", "dog")
    assert own.class_wnids is None
    numbers = lay(tmp_path / "n", ["10/a.jpg", "9/a.jpg"])
    assert data.load("labelled_folder", numbers, "val").classes == ("9", "10")
    named = data.load("labelled_folder", numbers, "val", named="outputs")
    assert right(named) == {"10/a.jpg": 10, "9/a.jpg": 9}
    with pytest.raises(ValueError, match="named=pug: no 'cat'"):
        data.load("labelled_folder", tmp_path / "o", "val", named="pug")
    with pytest.raises(ValueError, match="did you mean 'pug'"):
        data.load("labelled_folder", tmp_path / "o", "val", named="pugg")
    with pytest.raises(ValueError, match="lie in no class folder"):
        data.load("labelled_folder", lay(tmp_path / "f", ["a.jpg", "cat/b.jpg"]), "val")


def test_a_table_joins_labels_and_factors_by_file_name(tmp_path):
    root = lay(tmp_path, ["images/1.png", "images/2.png", "images/3.png", "images/unlisted.png"])
    (root / "t.csv").write_text(
        "filename,character_label,world,light,asset\n"
        "2.png,Goldfish,City,low,a\n1.png,Goldfish,Desert,low,b\n3.png,Sweatshirt,City,low,c\n"
        "4.png,Goldfish,City,low,d\n"
    )
    options = {"table": "t.csv", "label": "character_label", "named": "pug"}
    source = good(data.load("factor_table", root, "test", unit=("world",), **options))
    assert source.names == ["images/1.png", "images/2.png", "images/3.png"]
    assert source.factors == {"world": ["Desert", "City", "City"]}  # light and assets are none
    assert source.units == ["Desert", "City", "City"]
    assert len(source.columns) == 176
    assert "3 photos" in source.notices[0]
    chosen = data.load("factor_table", root, "test", factors=("light",), **options)
    assert chosen.factors == {"light": ["low"] * 3}
    for wrong, message in (
        ({"factors": ("wolrd",)}, "no column 'wolrd'"),
        ({"file": "photo"}, "pass file=COLUMN"),
        ({"table": "u.csv"}, "is not there"),
        ({"table": ""}, "say where labels are"),
    ):
        with pytest.raises(ValueError, match=message):
            data.load("factor_table", root, "test", **{**options, **wrong})
    (root / "t.csv").write_text("filename,label\n1.png,a\nimages/1.png,b\n")
    with pytest.raises(ValueError, match=r"names images/1\.png twice"):
        data.load("factor_table", root, "test", table="t.csv")
    (root / "t.csv").write_text("filename,label\n1.png,a,b\n")
    with pytest.raises(ValueError, match="line 2 does not have the header's columns"):
        data.load("factor_table", root, "test", table="t.csv")


def test_folders_are_factors_where_there_is_no_table(tmp_path):
    names = [f"spawrious224/{e}/{p}/{d}/1.png" for e, p, d in ("0aX", "1bX", "1aY")]
    source = good(
        data.load("factor_table", lay(tmp_path, names), "", levels=("split_of", "place", "label"))
    )
    assert source.classes == ("X", "Y")
    assert source.factors == {"split_of": ["0", "1", "1"], "place": ["a", "a", "b"]}
    with pytest.raises(ValueError, match="lies in 4 folders"):
        data.load("factor_table", tmp_path, "", levels=("a", "b", "c", "d", "label"))


def test_a_table_may_have_splits(tmp_path):
    root = lay(tmp_path, ["1.png", "2.png"])
    (root / "t.csv").write_text("filename,label,split\n1.png,a,train\n2.png,a,test\n")
    assert data.load("factor_table", root, "test", table="t.csv").names == ["2.png"]
    with pytest.raises(ValueError, match=r"no photo of t\.csv val"):
        data.load("factor_table", root, "val", table="t.csv")


# What is forbidden, and TFDS.


@pytest.fixture
def forbidden(tmp_path, monkeypatch):
    """A data set of masks whose terms allow evaluation only: its name for configs."""
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "forbidden.py").write_text(
        "from rival_jax.data import masked_folder\n"
        "def load(root, split):\n"
        "    source = masked_folder.load(root, split)\n"
        "    source.evaluation_only, source.title = True, 'household'\n"
        "    return source\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "mylab.forbidden"


def test_heads_are_not_fitted_or_selected_on_what_is_forbidden(forbidden, study, tmp_path):
    config = tiny_rfs(study, tmp_path / "cache")
    config.data.name = forbidden
    plugin("experiments", "rfs").Experiment(config, quiet())  # evaluated on it may be
    config.head = "probe"
    with pytest.raises(ValueError, match=r"household: its terms .* do not use it to fit heads on"):
        plugin("experiments", "rfs").Experiment(config, quiet())


def test_heads_are_not_selected_by_what_is_forbidden(forbidden, study, tmp_path, monkeypatch):
    config = tiny_rfs(study, tmp_path / "cache")
    config.data.name, config.head, config.probe.select = "masked_folder", "probe", "test"
    real = data.load
    only = lambda name, root, split: (forbidden if split == "test" else name, root, split)  # noqa: E731
    monkeypatch.setattr(data, "load", lambda *where, **options: real(*only(*where)))
    with pytest.raises(
        ValueError, match=r"household: its terms .* do not use it to select heads by"
    ):
        plugin("experiments", "rfs").Experiment(config, quiet())


def test_nothing_is_finetuned_on_what_is_forbidden(forbidden, tmp_path):
    folder = finetune_cases.make(tmp_path / "finetune")
    config = finetune_cases.config(folder)
    plugin("experiments", "finetune").Experiment(config, quiet())
    config.data.name = forbidden
    with pytest.raises(ValueError, match=r"household: its terms .* do not use it to finetune on"):
        plugin("experiments", "finetune").Experiment(config, quiet())


def prepare(root, photos, name):
    """A TFDS data set of photos by (synset, file name), with the features of ImageNet's."""
    tfds = pytest.importorskip("tensorflow_datasets")
    base, *configs = name.split("/")

    class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = base
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=c) for c in configs]  # noqa: RUF012

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(names=WNIDS),
                "file_name": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"test": self._generate_examples()}

        def _generate_examples(self):
            for i, (wnid, file_name) in enumerate(photos):
                yield i, {"image": encoded(i), "label": wnid, "file_name": file_name}

    config = {"config": name.split("/")[1]} if "/" in name else {}
    Prepared(data_dir=root, file_format="array_record", **config).download_and_prepare()
    return root


@pytest.mark.parametrize(
    ("name", "tfds_name", "form", "outputs"),
    [
        ("imagenet_a", "imagenet_a", "x_{}.jpg", A[:3]),
        ("imagenet_r", "imagenet_r", "{wnid}/art_{}.jpg", R[:3]),
        ("imagenet_v2", "imagenet_v2/matched-frequency", "{output}/{}.jpeg", (0, 1, 10)),
    ],
)
def test_sets_that_tfds_prepared(name, tfds_name, form, outputs, tmp_path):
    photos = [(WNIDS[o], form.format(i, wnid=WNIDS[o], output=o)) for i, o in enumerate(outputs)]
    source = good(data.load(name, prepare(tmp_path, photos, tfds_name), "test"))
    files = [f"{wnid}/{file.rpartition('/')[2]}" for wnid, file in photos]
    assert right(source) == dict(zip(files, outputs, strict=True))
    for position, file in enumerate(files):
        item = np.asarray(source[source.names.index(file)]["image"])
        plain = np.asarray(Image.open(io.BytesIO(encoded(position))).convert("RGB"))
        np.testing.assert_array_equal(item, plain)
    if name == "imagenet_r":
        assert source.factors == {"style": ["art"] * 3}


def test_one_folder_of_all_sets_is_root_of_each(household, tmp_path):
    lay(tmp_path, [f"imagenet/val/{WNIDS[1]}/a.JPEG", f"imagenet-a/{WNIDS[A[0]]}/a.jpg"])
    lay(tmp_path, [f"imagenet-r/{WNIDS[R[0]]}/art_1.jpg", f"sketch/{WNIDS[2]}/a.JPEG"])
    lay(tmp_path, [f"{V2}/7/a.jpeg", f"imagenet-c/fog/1/{WNIDS[9]}/a.JPEG", "test/x.jpg"])
    lay(tmp_path, ["bg_challenge/original/val/00_dog/n02085936_1.JPEG"])
    siscore(tmp_path / "siscore" / "area", {"koala/0.jpg": ROWS["koala/0.jpg"]})
    (tmp_path / "objectnet-1.0").symlink_to(household / "objectnet-1.0")
    lay(tmp_path / "waterbirds", ["a/1.jpg", "a/2.jpg"])
    (tmp_path / "waterbirds" / "metadata.csv").write_text(BIRDS)
    sets = ("imagenet", "imagenet_a", "imagenet_r", "imagenet_sketch", "imagenet_v2", "imagenet_c")
    assert [len(data.load(name, tmp_path, "test")) for name in sets] == [1] * 6
    for name, count in (("imagenet9", 1), ("siscore", 1), ("objectnet", 113), ("waterbirds", 2)):
        assert len(data.load(name, tmp_path, "test")) == count
