"""RIVAL10's layout, item by item against what the study's loaders return."""

from __future__ import annotations

import base64
import io
import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from rival_jax import data
from rival_jax.data import rival10
from rival_jax.types import Geometry
from tests.golden.places import at_kept
from tests.helpers import golden
from tests.pictures import disc, photo, plain, save

SPLITS = ("train", "test")
CAT = "n02123394_1.JPEG"


@pytest.fixture(scope="module")
def layout(shared):
    return shared / "golden" / "rival10" / "dataset_layout"


@pytest.fixture
def folder(tmp_path):
    """One cat, complete."""
    base = tmp_path / "RIVAL10" / "test"
    stem = base / "ordinary" / CAT.removesuffix(".JPEG")
    save(photo(), base / "ordinary" / CAT)
    save(disc(), base / "entire_object_masks" / CAT)
    save(disc(), stem.with_name(stem.name + "_merged_mask.JPEG"))
    np.save(stem.with_name(stem.name + "_attr_labels.npy"), np.zeros((2, 18), np.int64))
    stem.with_name(stem.name + "_attr_dict.pkl").write_bytes(pickle.dumps({}))
    return base


def equal(got, expected):
    np.testing.assert_array_equal(at_kept(got, expected), expected)


@pytest.mark.parametrize("split", SPLITS)
def test_photos_labels_and_object_masks_are_the_object_loaders(layout, shared, split):
    theirs = golden(shared, f"dataset_layout/expected_rival10_{split}.npz")
    photos = golden(shared, f"dataset_layout/expected_local_{split}.npz")
    source = data.load("rival10", layout, split)
    assert source.names == sorted(theirs["names"].tolist()) == photos["names"].tolist()
    loaded = dict(zip(theirs["names"].tolist(), theirs["loaded"].tolist(), strict=True))
    examples = data.Examples(source, Geometry(), on_bad="skip")
    assert examples.names == [name for name in source.names if loaded[name]]
    assert [name for name, _ in examples.skipped] == [n for n in source.names if not loaded[n]]
    for name, image, mask, label in zip(
        examples.names, examples.images, examples.masks, examples.labels, strict=True
    ):
        row = theirs["names"].tolist().index(name)
        equal(mask, theirs["mask_u8"][row])
        assert label == theirs["label"][row]
        expected = photos["img_u8"][photos["names"].tolist().index(name)]
        equal(np.moveaxis(image, -1, 0), expected)


@pytest.mark.parametrize("split", SPLITS)
def test_attributes_are_the_released_attribute_loaders(layout, shared, split):
    theirs = golden(shared, f"dataset_layout/expected_local_{split}.npz")
    source = data.load("rival10", layout, split, attributes=True, attribute_masks="released")
    notes = json.loads((layout / "item_notes.json").read_text())
    tested = 0
    for i, name in enumerate(source.names):
        if any("FileNotFoundError" in note for note in notes[f"{split}/{name[:-5]}"]):
            continue
        item = source[i]
        np.testing.assert_array_equal(item["attr_labels"], theirs["attr_labels"][i])
        np.testing.assert_array_equal(item["changed_attrs"], theirs["changed_attrs"][i])
        merged = item["merged_mask"].resize((224, 224), Image.Resampling.BILINEAR)
        equal(merged, theirs["merged_mask_u8"][i])
        masks = source.attribute_pixels(item, Geometry())
        np.testing.assert_array_equal(masks, 255 * theirs["attr_masks"][i])
        assert source.labels[i] == theirs["og_class_label"][i]
        assert source.classes[source.labels[i]] == theirs["og_class_name"][i]
        tested += 1
    assert tested == (5 if split == "train" else 6)


@pytest.mark.parametrize("split", SPLITS)
def test_clean_masks_mend_what_the_released_loader_loses(layout, split):
    source = data.load("rival10", layout, split, attributes=True, attribute_masks="clean")
    released = data.load("rival10", layout, split, attributes=True, attribute_masks="released")
    notes = json.loads((layout / "item_notes.json").read_text())
    seen = set()
    for i, name in enumerate(source.names):
        text = " ".join(notes[f"{split}/{name[:-5]}"])
        if "FileNotFoundError" in text:
            continue
        if "dictionary file is" in text:
            with pytest.raises((ValueError, OSError), match=f"{name[:-5]}_attr_dict.pkl"):
                source[i]
            seen.add("no dictionary")
            continue
        item, theirs = source[i], released[i]
        present = item["attr_labels"] == 1
        coverage = np.array([np.mean(np.asarray(m) > 127) for m in item["attribute_masks"]])
        assert ((coverage[:18] > 0) == present).all()
        assert coverage.max() < 0.9
        for attribute, ours, lost in zip(
            (*rival10.ATTRIBUTES, rival10.OBJECT),
            item["attribute_masks"],
            theirs["attribute_masks"],
            strict=True,
        ):
            if f"attribute {attribute}:" in text:
                assert np.mean(np.asarray(lost)) in (0, 255)
                seen.add(attribute)
            else:
                np.testing.assert_array_equal(ours, lost)
    assert len(seen) == 3  # a missing or corrupt dictionary, two lost masks


def test_attribute_order_is_the_data_sets(layout):
    order = json.loads((layout / "attribute_order.json").read_text())["attribute_order"]
    assert list(rival10.ATTRIBUTES) == order


def test_synsets_are_the_data_sets(layout):
    meta = layout / "RIVAL10" / "meta"
    upstream = json.loads((meta / "wnid_to_class.json").read_text())
    classes = json.loads((meta / "label_mappings.json").read_text())
    assert len(rival10.CLASS_OF_SYNSET) == 20
    for wnid, label in rival10.CLASS_OF_SYNSET.items():
        assert [rival10.Rival10.classes[label], label] == classes[upstream[wnid]]


def test_real_photos_load_complete(all_shared):
    counts = {
        "train": [6, 9, 6, 8, 13, 13, 13, 6, 4, 9],
        "test": [2, 4, 2, 3, 5, 5, 5, 3, 2, 4],
    }
    for split in SPLITS:
        source = data.load("rival10", all_shared / "data/rival10_mini", split, attributes=True)
        examples = data.Examples(source, Geometry())
        assert np.bincount(examples.labels, minlength=10).tolist() == counts[split], split
        share = examples.masks.astype(float).mean((1, 2)) / 255
        assert 0.01 < share.min() < share.max() < 0.9, split
        for position in range(0, len(source), 9):
            item, name = source[position], f"{split} {source.names[position]}"
            covered = source.attribute_pixels(item, Geometry()).any((1, 2))
            labels = item["attr_labels"] == 1
            np.testing.assert_array_equal(covered[:18], labels, err_msg=name)
            assert covered[18], name


def test_root_is_the_folder_or_its_parent(folder):
    for root in (folder.parent, folder.parent.parent, str(folder.parent)):
        assert data.load("rival10", root, "test").names == [CAT]


def test_wrong_place_is_told(folder):
    with pytest.raises(ValueError, match=r"looked for .*val.ordinary and .*RIVAL10.val.ordinary"):
        data.load("rival10", folder.parent, "val")


def test_variants_use_the_same_object_mask(folder):
    save(photo(7), folder / "removed" / CAT)
    item = data.load("rival10", folder.parent, "test", variant="removed")[0]
    ordinary = data.load("rival10", folder.parent, "test")[0]
    assert item["image"] != ordinary["image"]
    assert item["mask"] == ordinary["mask"]
    with pytest.raises(ValueError, match="did you mean 'removed'"):
        data.load("rival10", folder.parent, "test", variant="remove")


def test_strange_and_absent_photos_are_told(folder):
    save(photo(), folder / "ordinary" / "n00000001_3.JPEG")
    with pytest.raises(ValueError, match=r"n00000001_3\.JPEG has none of the 20 synsets"):
        data.load("rival10", folder.parent, "test")
    shutil.rmtree(folder / "ordinary")
    (folder / "ordinary").mkdir()
    with pytest.raises(ValueError, match="no photo in"):
        data.load("rival10", folder.parent, "test")


def stored(folder, ending):
    return folder / "ordinary" / CAT.replace(".JPEG", ending)


def tail(folder, picture, rule):
    """What becomes of an attribute picture, at the photo's size and resized."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    text = base64.b64encode(file.getvalue())
    stored(folder, "_attr_dict.pkl").write_bytes(pickle.dumps({"tail": text}))
    source = data.load("rival10", folder.parent, "test", attributes=True, attribute_masks=rule)
    item, place = source[0], rival10.ATTRIBUTES.index("tail")
    resized = source.attribute_pixels(item, Geometry((17, 23)))
    assert not np.delete(resized, place, 0).any()
    return np.asarray(item["attribute_masks"][place]), resized[place]


BITS = np.random.default_rng(0).random((30, 40)) < 0.5


def coloured(value, alpha=None):
    """`value` in the green channel where BITS, else black."""
    green = Image.fromarray(np.uint8(value) * BITS)
    picture = Image.merge("RGB", [plain(0), green, plain(0)])
    if alpha is not None:
        picture.putalpha(alpha)
    return picture


@pytest.mark.parametrize(
    ("picture", "clean", "released"),
    [
        (coloured(255), BITS, BITS),
        (coloured(254), BITS, 0 * BITS),
        (coloured(127), 0 * BITS, 0 * BITS),
        (coloured(128, alpha=plain(255)), BITS, 1 | BITS),
        (coloured(9, alpha=disc()), np.asarray(disc()) > 0, np.asarray(disc()) > 0),
        (coloured(9, alpha=disc(white=254)), np.asarray(disc()) > 0, 0 * BITS),
        (coloured(255).convert("P"), BITS, 1 | BITS),
    ],
    ids=["white", "254", "127", "opaque", "cut-out", "nearly-cut-out", "palette"],
)
def test_two_readings_of_an_attribute_picture(folder, picture, clean, released):
    np.testing.assert_array_equal(tail(folder, picture, "clean")[0] > 0, clean > 0)
    np.testing.assert_array_equal(tail(folder, picture, "released")[0], 255 * released)


def test_released_masks_are_resized_as_bits_and_clean_ones_softly(folder):
    ours = Image.fromarray(np.uint8(255) * BITS).resize((23, 17), Image.Resampling.BILINEAR)
    theirs = Image.fromarray(np.uint8(1) * BITS).resize((23, 17), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(tail(folder, coloured(255), "clean")[1], ours)
    np.testing.assert_array_equal(tail(folder, coloured(255), "released")[1] // 255, theirs)


def test_grey_attribute_pictures_have_only_a_clean_reading(folder):
    grey = Image.fromarray(np.uint8(255) * BITS)
    np.testing.assert_array_equal(tail(folder, grey, "clean")[0] > 0, BITS)
    with pytest.raises(ValueError, match=r"tail of .* mode L, .*attribute_masks='clean'"):
        tail(folder, grey, "released")


@pytest.mark.parametrize("rule", ["clean", "released"])
def test_unsafe_dictionary_is_refused_under_every_rule(folder, layout, capfd, rule):
    shutil.copy(layout / "unsafe_example_attr_dict.pkl", stored(folder, "_attr_dict.pkl"))
    source = data.load("rival10", folder.parent, "test", attributes=True, attribute_masks=rule)
    with pytest.raises(ValueError, match="refused"):
        source[0]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("ending", "content", "words"),
    [
        ("_attr_labels.npy", None, r"attribute labels .*_attr_labels\.npy"),
        ("_attr_labels.npy", b"nonsense", r"attribute labels .*_attr_labels\.npy"),
        ("_attr_dict.pkl", None, r"_attr_dict\.pkl"),
        ("_attr_dict.pkl", pickle.dumps({"tail": "iVBO"}), "tail of .*cannot be decoded"),
        ("_merged_mask.JPEG", None, "_merged_mask.JPEG is missing"),
    ],
)
def test_broken_attribute_files_are_named(folder, ending, content, words):
    if content is None:
        stored(folder, ending).unlink()
    else:
        stored(folder, ending).write_bytes(content)
    source = data.load("rival10", folder.parent, "test", attributes=True)
    with pytest.raises(ValueError, match=words):
        data.Examples(source, Geometry((8, 8)))
    assert len(data.Examples(data.load("rival10", folder.parent, "test"), Geometry((8, 8)))) == 1


def test_attribute_labels_of_another_shape_are_refused(folder):
    np.save(stored(folder, "_attr_labels.npy"), np.zeros((18,), np.int64))
    source = data.load("rival10", folder.parent, "test", attributes=True)
    with pytest.raises(ValueError, match=r"shape \(18,\), expected \(2, 18\)"):
        source[0]


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def saved(save, *arrays, **named) -> bytes:
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


HEADER = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }"


@pytest.mark.parametrize(
    "content",
    [
        npy(HEADER % ("<i8", "(2, 18")),
        npy(HEADER % ("<i8", "(2, 18)")),
        npy(HEADER % ("<i8", "(2, 10000000000000)")),
        npy(HEADER % ("<i8", "(-2, 18)")),
        npy(HEADER % ("|O", "(2, 18)"), bytes(288)),
        npy(HEADER % ("<M8[s]", "(2, 18)"), bytes(288)),
        npy("(" * 100),
        npy("\x00"),
        saved(np.savez, a=np.zeros(3)),
        saved(np.savez_compressed, np.zeros((2, 18))),
        saved(np.savez),
        saved(np.savez, np.zeros((2, 18), int), np.ones((2, 18), int)),
        saved(np.save, np.zeros((2, 18), complex)),
        saved(np.save, np.full((2, 18), 2)),
        saved(np.save, np.full((2, 18), np.nan)),
        saved(np.save, np.full((2, 18), 0.5)),
        saved(np.save, np.full((2, 18), "1")),
        bytes(10**5),
        b"",
        b"\x80\x02cos\nsystem\n.",
    ],
)
def test_attribute_labels_that_are_none_are_one_line(content, tmp_path):
    path = tmp_path / "x_attr_labels.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^attribute labels {path} cannot be read: [^\n]+$"):
        rival10._attribute_labels(path)


@pytest.mark.parametrize("dtype", ["<i8", "u1", "?", "<f4"])
def test_attribute_labels_of_any_number_type(dtype, tmp_path):
    labels = np.arange(36).reshape(2, 18) % 2
    np.save(tmp_path / "x.npy", labels.astype(dtype))
    found = rival10._attribute_labels(tmp_path / "x.npy")
    np.testing.assert_array_equal(found, labels)
    assert found.dtype == np.int64
