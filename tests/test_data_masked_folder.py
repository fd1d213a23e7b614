"""Anybody's folders and CSV files, and the formats that masks come in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from rival_jax import data
from rival_jax.data.mask_formats import READERS
from rival_jax.data.rival10 import SYNSETS
from rival_jax.types import Geometry
from tests.pictures import disc, photo, save

SMALL = Geometry((12, 16))
INSIDE = np.asarray(disc()) == 255


@pytest.fixture
def root(tmp_path):
    """Two classes of two photos."""
    for name in ("cat/a", "cat/b", "dog/a", "dog/c"):
        save(photo(sum(name.encode())), tmp_path / "images" / f"{name}.jpg")
        save(disc(), tmp_path / "masks" / f"{name}.png")
    return tmp_path


def load(root, split="test", **options):
    return data.load("masked_folder", root, split, **options)


def test_folders_are_classes(root):
    source = load(root)
    assert source.classes == ("cat", "dog")
    assert source.names == ["cat/a.jpg", "cat/b.jpg", "dog/a.jpg", "dog/c.jpg"]
    assert source.labels.tolist() == [0, 0, 1, 1]
    assert source.class_wnids is None
    examples = data.Examples(source, SMALL)
    assert 0.1 < examples.masks.mean() / 255 < 0.6


def class_ids(folder, name):
    stored = Image.open(folder / "masks" / name.replace(".JPEG", ".png"))
    channels = np.asarray(stored).astype(int)
    return channels[..., 0] + 256 * channels[..., 1]


def test_real_photos_in_imagenet_s_layout_agree_with_rival10s(all_shared):
    folder = all_shared / "data" / "imagenet_s_mini"
    source = load(folder, mask_format="imagenet_s")
    examples = data.Examples(source, Geometry())
    assert len(examples) == 122
    assert len(source.classes) == 20
    assert source.class_wnids == tuple((wnid,) for wnid in source.classes)
    ids = json.loads((folder / "class_ids.json").read_text())
    name = source.names[0]
    expected = class_ids(folder, name) == ids[name.split("/")[0]]
    np.testing.assert_array_equal(np.asarray(source[0]["mask"]) == 255, expected)
    rival = data.load("rival10", all_shared / "data" / "rival10_mini", "test")
    rows = {name.split("/")[1]: i for i, name in enumerate(source.names)}
    for position in range(0, len(rival), 5):
        row = rows[rival.names[position]]
        ours, theirs = rival[position], source[row]
        assert ours["image"] == theirs["image"]
        labelled = class_ids(folder, source.names[row]) != 1000
        a, b = (np.asarray(item["mask"])[labelled] > 127 for item in (ours, theirs))
        assert (a & b).sum() > 0.98 * (a | b).sum()


def test_splits_are_folders_where_there_are_any(root):
    for split in ("train", "val"):
        save(photo(), root / "lab" / split / "images" / "cat" / f"{split}.png")
        save(disc(), root / "lab" / split / "masks" / "cat" / f"{split}.png")
    assert load(root / "lab", "val").names == ["cat/val.png"]
    with pytest.raises(ValueError, match=r"looked for .*test.images.*splits there are: train, val"):
        load(root / "lab", "test")


def test_nothing_there_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"looked for .*images/CLASS/NAME.jpg"):
        load(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match="no photo in"):
        load(tmp_path)


def break_folder(root):
    (root / "masks/cat/a.png").unlink()
    (root / "images/dog/c.jpg").unlink()
    save(photo(), root / "images/dog/a.png")
    save(disc(), root / "masks/cat/b.bmp")
    (root / "images/eel").mkdir()
    save(photo(), root / "images/loose.jpg")


def test_every_fault_is_listed_at_once_before_decoding(root):
    break_folder(root)
    (root / "images/cat/b.jpg").write_bytes(b"never opened")
    with pytest.raises(ValueError, match="every photo needs one mask") as error:
        load(root)
    for fault in (
        "photo cat/a.jpg has no mask masks/cat/a.*",
        "mask dog/c.png has no photo images/dog/c.*",
        "photos a.jpg and a.png of dog have one name",
        "masks b.bmp and b.png of cat have one name",
        "class folder images/eel holds no photo",
        "photo images/loose.jpg lies in no class folder",
    ):
        assert fault in str(error.value)


def test_more_than_ten_faults_are_counted(root):
    for i in range(13):
        save(photo(), root / "images" / "cat" / f"x{i:02d}.png")
    with pytest.raises(ValueError, match=r"x09\.png has no mask") as error:
        load(root)
    assert "and 3 more" in str(error.value)
    assert "x10.png" not in str(error.value)


def test_files_that_are_no_pictures_do_not_matter(root):
    (root / "images/cat/notes.txt").write_text("a")
    (root / "images/cat/.hidden.jpg").write_text("a")
    (root / "images/.cache").mkdir()
    assert len(load(root)) == 4


def test_several_folders_form_one_class(root):
    save(photo(3), root / "images/eel/z.png")
    save(disc(), root / "masks/eel/z.png")
    (root / "map.json").write_text(json.dumps({"cat": "pet", "dog": "pet"}))
    source = load(root, class_map="map.json")
    assert source.classes == ("pet",)
    assert source.names == ["cat/a.jpg", "cat/b.jpg", "dog/a.jpg", "dog/c.jpg"]
    (root / "map.json").write_text(json.dumps({"eel": ["fish", 1], "cat": ["pet", 0]}))
    source = load(root, class_map="map.json")
    assert source.classes == ("pet", "fish")
    assert source.labels.tolist() == [0, 0, 1]


def test_rival10_of_imagenet_s_by_a_class_map(tmp_path):
    """Its synsets in the order of their numbers, as folders lie, are not its classes' order."""
    pairs = enumerate(SYNSETS.items())
    mapping = {wnid: [name, i] for i, (name, wnids) in pairs for wnid in wnids}
    (tmp_path / "map.json").write_text(json.dumps(mapping))
    for count, wnid in enumerate(sorted(mapping), 1):
        for i in range(count):
            save(photo(i), tmp_path / "images" / wnid / f"{wnid}_{i}.JPEG")
            save(disc(), tmp_path / "masks" / wnid / f"{wnid}_{i}.png")
    source = load(tmp_path, mask_format="imagenet_s", class_map="map.json")
    assert source.classes == tuple(SYNSETS)
    assert source.class_wnids == tuple(tuple(sorted(wnids)) for wnids in SYNSETS.values())
    assert len(source) == 210
    for name, label in zip(source.names, source.labels, strict=True):
        assert [source.classes[label], label] == mapping[name.split("/")[0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"cats": "pet"}', "no 'cats'; did you mean 'cat'"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "not an object"),
        ('{"cat": 3}', "expected class names"),
        ('{"cat": "pet", "dog": ["pet", 0]}', "expected class names throughout"),
        ('{"cat": ["pet", 0], "dog": ["hound", 0]}', "without a gap"),
        ('{"cat": ["pet", 0], "dog": ["pet", 1]}', "without a gap"),
        ('{"cat": ["pet", 1]}', "without a gap"),
    ],
)
def test_odd_class_maps_are_refused(root, text, words):
    (root / "map.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        load(root, class_map="map.json")


def write_csv(root, text):
    (root / "list.csv").write_text(text, encoding="utf-8-sig")
    return "list.csv"


def test_manifest(root):
    text = "class,split,image,mask\npet,test,images/dog/a.jpg,masks/dog/a.png\n"
    text += "pet,test,./images/cat/a.jpg,masks\\cat\\a.png\nold,train,gone.jpg,gone.png\n"
    source = load(root, manifest=write_csv(root, text))
    assert source.names == ["images/cat/a.jpg", "images/dog/a.jpg"]
    assert source.classes == ("pet",)
    assert len(data.Examples(source, SMALL)) == 2


def test_manifest_without_splits_is_every_split(root):
    text = "image,mask,class\nimages/cat/a.jpg,masks/cat/a.png,cat\n"
    assert load(root, "whatever", manifest=write_csv(root, text)).names == ["images/cat/a.jpg"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,label\na,b\n", "no column mask, class; it has image, label"),
        ("image,mask,class,split\na,b,c,train\n", r"no row of split 'test'.*\['train'\]"),
        ("image,mask,class\nx.jpg,masks/cat/a.png,cat\n", "line 2: there is no image 'x.jpg'"),
        ("image,mask,class\nimages/cat/a.jpg\n", "line 2 has 1 cells, the header 3"),
        ("image,mask,class\nimages/cat/a.jpg,masks/cat/a.png,\n", "no class ''"),
    ],
)
def test_odd_manifests_are_refused(root, text, words):
    with pytest.raises(ValueError, match=words):
        load(root, manifest=write_csv(root, text))


def read(mask_format, picture):
    return np.asarray(READERS[mask_format](picture, "m.png"))


def palette(indices, colours):
    picture = Image.fromarray(indices.astype(np.uint8), "L").convert("P")
    picture.putdata(indices.ravel().tolist())
    picture.putpalette(colours)
    return picture


WHITE = np.where(INSIDE, 255, 0)
BLACK_WHITE = [0, 0, 0, 255, 255, 255]
PASCAL = [0, 0, 0, 128, 0, 0]  # background and the first class, as PASCAL VOC colours them


@pytest.mark.parametrize(
    "picture",
    [
        disc(),
        disc(white=1),
        disc().convert("1"),
        disc().convert("RGB"),
        disc(white=1).convert("RGB"),
        disc().convert("RGBA"),
        palette(INSIDE, BLACK_WHITE),
        palette(~INSIDE, [255, 255, 255, 0, 0, 0]),
        palette(INSIDE, PASCAL),
    ],
    ids=[
        "L",
        "0/1",
        "1-bit",
        "RGB",
        "RGB-0/1",
        "RGBA",
        "palette",
        "inverted-palette",
        "coloured-palette",
    ],
)
def test_auto_reads_what_is_unambiguous(picture):
    np.testing.assert_array_equal(read("auto", picture), WHITE)


def test_auto_keeps_soft_rims():
    soft = disc().resize((20, 15), Image.Resampling.BILINEAR)
    assert len(np.unique(np.asarray(soft))) > 10
    np.testing.assert_array_equal(read("auto", soft), np.asarray(soft))


def half_transparent():
    picture = disc().convert("RGBA")
    picture.putalpha(disc())
    return picture


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (disc(white=15), "from 0 to 15.*'nonzero'"),
        (photo(), r"\(RGB\).*'binary' or 'imagenet_s'"),
        (half_transparent(), r"\(RGBA\)"),
        (palette(INSIDE + 2 * np.eye(30, 40), [*PASCAL, 0, 128, 0, 0, 0, 9]), r"\(P\)"),
        (Image.fromarray(INSIDE.astype(np.uint16) * 65535), r"\(I;16\)"),
    ],
    ids=["label-15", "coloured", "transparent", "three-palette-values", "16-bit"],
)
def test_auto_refuses_what_is_ambiguous(picture, words):
    with pytest.raises(ValueError, match=rf"mask m\.png.*{words}"):
        read("auto", picture)


def test_binary_thresholds_at_half():
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    np.testing.assert_array_equal(read("binary", ramp)[0], np.where(np.arange(256) > 127, 255, 0))
    with pytest.raises(ValueError, match="I;16"):
        read("binary", Image.fromarray(np.zeros((2, 2), np.uint16)))


@pytest.mark.parametrize(
    "picture",
    [
        disc(white=15),
        palette(INSIDE * 15, PASCAL),
        Image.merge("RGB", [Image.new("L", (40, 30)), disc(white=3), Image.new("L", (40, 30))]),
        disc(white=9).convert("RGBA"),
        Image.fromarray(INSIDE.astype(np.uint16) * 300),
    ],
    ids=["L", "palette", "RGB", "RGBA", "16-bit"],
)
def test_nonzero_counts_every_label(picture):
    np.testing.assert_array_equal(read("nonzero", picture), WHITE)


def imagenet_s(*ids):
    channels = [[i % 256, i // 256, 0] for i in ids]
    return Image.fromarray(np.array([channels], np.uint8))


@pytest.mark.parametrize("class_id", [1, 255, 256, 919, 999, 1001])
def test_imagenet_s_ids(class_id):
    picture = imagenet_s(0, class_id, 1000, class_id)
    np.testing.assert_array_equal(read("imagenet_s", picture), [[0, 255, 0, 255]])


def test_imagenet_s_masks_are_rgb_and_of_one_class():
    with pytest.raises(ValueError, match="mode L"):
        read("imagenet_s", disc())
    with pytest.raises(ValueError, match="the class ids 256, 919; ImageNet-S marks one class"):
        read("imagenet_s", imagenet_s(0, 256, 919, 1000))


def test_unknown_mask_format_lists_all(root):
    with pytest.raises(ValueError, match=r"no 'nonzeros'; did you mean 'nonzero'.*imagenet_s"):
        load(root, mask_format="nonzeros")


def test_unreadable_masks_are_reported_like_other_bad_examples(root):
    save(disc(white=15), root / "masks/cat/a.png")
    with pytest.raises(ValueError, match=r"mask cat/a\.png reaches from 0 to 15.*on_bad='skip'"):
        data.Examples(load(root), SMALL)
    examples = data.Examples(load(root), SMALL, on_bad="skip")
    assert [name for name, _ in examples.skipped] == ["cat/a.jpg"]
