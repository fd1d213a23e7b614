"""Which files of a folder are read, what they are called, and what is said of the others."""

from __future__ import annotations

import json
import shutil
import unicodedata

import pytest

from rival_jax import data
from rival_jax.types import Geometry
from tests.pictures import disc, photo, save

SMALL = Geometry((12, 16))
COMPOSED, APART = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))


def pair(root, name, suffix=".jpg"):
    save(photo(sum(name.encode())), root / "images" / f"{name}.png").rename(
        root / "images" / f"{name}{suffix}"
    )
    save(disc(), root / "masks" / f"{name}.png")


@pytest.fixture
def root(tmp_path):
    """Two classes of two photos."""
    for name in ("cat/a", "cat/b", "dog/a", "dog/c"):
        pair(tmp_path, name)
    return tmp_path


def load(root, kind="masked_folder", **options):
    return data.load(kind, root, "test", **options)


def fault(root, kind="masked_folder", **options) -> str:
    with pytest.raises(ValueError, match=r"\w") as error:
        load(root, kind, **options)
    return str(error.value)


def test_the_composed_form_is_another_one():
    assert COMPOSED != APART


@pytest.mark.parametrize("kind", ["masked_folder", "image_folder"])
@pytest.mark.parametrize("deep", ["cat/more/x", "cat/more/a", "dog/1/2/3/y", "dog/cat/a"])
def test_photos_deeper_in_a_class_are_read(root, kind, deep):
    pair(root, deep)
    source = load(root, kind)
    assert source.names == sorted(
        ["cat/a.jpg", "cat/b.jpg", "dog/a.jpg", "dog/c.jpg", f"{deep}.jpg"]
    )
    place = source.names.index(f"{deep}.jpg")
    assert source.classes[source.labels[place]] == deep.split("/")[0]
    assert source[place]["image"].size == (40, 30)


def test_links_to_folders_are_followed_and_circles_end(root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    pair(elsewhere, "eel/z")
    for kind in ("images", "masks"):
        (root / kind / "eel").symlink_to(elsewhere / kind / "eel")
        (root / kind / "cat" / "again").symlink_to(root / kind / "cat")
    assert load(root).classes == ("cat", "dog", "eel")
    assert len(load(root)) == 5


@pytest.mark.parametrize("kind", ["masked_folder", "image_folder"])
@pytest.mark.parametrize("suffix", [".jfif", ".JPE", ".pjpeg", ".pnm", ".dib"])
def test_other_suffixes_of_formats_that_are_read(root, kind, suffix):
    for path in (root / "images").glob("*/*"):
        path.rename(path.with_suffix(suffix))
    source = load(root, kind)
    assert source.names[0] == f"cat/a{suffix}"
    assert source[0]["image"].size == (40, 30)


@pytest.mark.parametrize("suffix", [".heic", ".avif", ".JXL", ".npy", ".foo"])
def test_pictures_that_are_not_read_are_named_with_what_is(root, suffix):
    for path in (root / "images").glob("*/*"):
        path.rename(path.with_suffix(suffix))
    text = fault(root)
    assert "4 of 8 files and folders cannot be used" in text
    for name in ("cat/a", "cat/b", "dog/a", "dog/c"):
        assert f"photo images/{name}{suffix} is of a suffix that is not read" in text
    assert "read are .apng, .bmp" in text
    assert ".jfif" in text
    assert "has no photo" not in text


def test_unread_masks_are_named(root):
    (root / "masks/cat/a.png").rename(root / "masks/cat/a.npy")
    text = fault(root)
    assert "mask masks/cat/a.npy is of a suffix that is not read" in text
    assert "has no mask" not in text


@pytest.mark.parametrize("kind", ["masked_folder", "image_folder"])
def test_an_unread_photo_without_mask_is_no_silence(root, kind):
    (root / "images/cat/new.heic").write_bytes(b"x")
    assert "images/cat/new.heic" in fault(root).replace("photo cat", "photo images/cat")
    assert "new.heic is of a suffix that is not read" in fault(root, kind)


@pytest.mark.parametrize("kind", ["masked_folder", "image_folder"])
def test_an_original_beside_what_was_made_of_it_does_not_matter(root, kind):
    for name in ("images/cat/a.heic", "images/dog/c.psd", "masks/dog/c.npy"):
        (root / name).write_bytes(b"x")
    assert len(load(root, kind)) == 4
    assert not load(root, kind).notices


def test_counts_are_of_what_there_is(root):
    for name in ("a", "b", "c"):
        (root / f"images/cat/{name}.heic").write_bytes(b"x")
    for name in ("a", "b"):
        (root / f"images/cat/{name}.jpg").unlink()
    (root / "images/eel").mkdir()
    save(photo(), root / "images/loose.jpg")
    (root / "images/loose.heic").write_bytes(b"x")
    # Five photos, of which three are of a suffix that is not read; four masks, two loose, a folder.
    assert "6 of 12 files and folders cannot be used" in fault(root)


@pytest.mark.parametrize("kind", ["masked_folder", "image_folder"])
def test_what_programs_leave_behind_is_silence(root, kind):
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.jpg", "notes.txt", "labels.xml"):
        for folder in ("images", "images/cat", "masks/cat"):
            (root / folder / name).write_bytes(b"x")
    for folder in ("images/__MACOSX/cat", "images/cat/.thumbs", "images/.cache", "masks/cat/.old"):
        (root / folder).mkdir(parents=True)
        save(photo(), root / folder / "q.jpg")
    source = load(root, kind)
    assert len(source) == 4
    assert source.classes == ("cat", "dog")
    assert not source.notices


@pytest.mark.parametrize("kind", ["masked_folder", "image_folder"])
def test_unknown_files_are_told(root, kind):
    for name in ("weights.bin", "a.jpg_orig", "b2.jpg_orig"):
        (root / "images/cat" / name).write_bytes(b"x")
    (words,) = load(root, kind).notices
    assert "files of suffix .bin (1), .jpg_orig (1) are not read, such as cat/" in words
    assert ".tiff" in words


def test_a_folder_of_splits_is_no_folder_of_classes(root, tmp_path):
    for split in ("train", "val"):
        shutil.copytree(root / "images", tmp_path / "lab" / split)
    assert len(data.load("image_folder", tmp_path / "lab", "val")) == 4
    with pytest.raises(ValueError, match=r"no photos: looked for CLASS/NAME\.jpg"):
        data.load("image_folder", tmp_path / "lab", "test")


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (f"{COMPOSED}/x", f"{APART}/x"),
        (f"{APART}/x", f"{COMPOSED}/x"),
        (f"eel/{COMPOSED}", f"eel/{APART}"),
        (f"eel/{APART}/{COMPOSED}", f"eel/{COMPOSED}/{APART}"),
        (f"{APART}/x", f"{APART}/x"),
    ],
)
def test_names_are_the_same_in_any_form_of_unicode(root, image, mask):
    save(photo(), root / "images" / f"{image}.jpg")
    save(disc(), root / "masks" / f"{mask}.png")
    source = load(root)
    name = unicodedata.normalize("NFC", image)
    assert f"{name}.jpg" in source.names
    assert name.split("/")[0] in source.classes
    assert len(data.Examples(source, SMALL)) == 5
    assert f"{name}.jpg" in load(root, "image_folder").names


def test_noise_does_not_depend_on_the_form(tmp_path):
    ids = []
    for form in (COMPOSED, APART):
        pair(tmp_path / str(len(form)), f"cat/{form}")
        pair(tmp_path / str(len(form)), "dog/a")
        ids.append(data.Examples(load(tmp_path / str(len(form))), SMALL).noise_ids.tolist())
    assert ids[0] == ids[1]


def test_two_files_of_one_name_in_two_forms(root):
    for form in (COMPOSED, APART):
        save(photo(), root / "images/cat" / f"{form}.jpg")
    save(disc(), root / "masks/cat" / f"{COMPOSED}.png")
    text = fault(root)
    name = f"{COMPOSED}.jpg"
    assert f"photos {name} and {name} of cat have one name (in two forms of Unicode)" in text


@pytest.mark.parametrize(("folder", "key"), [(COMPOSED, APART), (APART, COMPOSED)])
def test_class_maps_and_manifests_in_another_form(root, folder, key):
    pair(root, f"{folder}/x")
    (root / "map.json").write_text(json.dumps({key: f"{key}s", "cat": "cat"}), encoding="utf-8-sig")
    assert load(root, class_map="map.json").classes == (f"{COMPOSED}s", "cat")
    text = f"image,mask,class\nimages/{key}/x.jpg,masks/{key}/x.png,{key}\n"
    (root / "list.csv").write_text(text, encoding="utf-8")
    source = load(root, manifest="list.csv")
    assert source.names == [f"images/{COMPOSED}/x.jpg"]
    assert source.classes == (COMPOSED,)
    assert len(data.Examples(source, SMALL)) == 1


@pytest.mark.parametrize("twin", ["Cat", "c at", "CAT ", " cat"])
def test_classes_that_look_alike_are_told(root, twin):
    pair(root, f"{twin}/x")
    (words,) = load(root).notices
    assert "'cat'" in words
    assert repr(twin) in words
    assert "--config.data.masked_folder.class_map" in words


def test_a_class_map_says_whom_it_leaves_out(root):
    pair(root, "eel/x")
    (root / "map.json").write_text('{"cat": "pet"}')
    assert load(root, class_map="map.json").notices == (
        "class_map map.json leaves out 2 classes, such as dog",
    )


@pytest.mark.parametrize("keys", [("cat", "cat"), (COMPOSED, APART)])
def test_a_class_map_that_names_a_folder_twice(root, keys):
    pair(root, f"{keys[0]}/x")
    members = ", ".join(f'"{key}": "{value}"' for key, value in zip(keys, "pq", strict=True))
    (root / "map.json").write_text("{" + members + "}", encoding="utf-8")
    assert "occurs twice" in fault(root, class_map="map.json")
