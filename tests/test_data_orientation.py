"""Photos that are stored turned: they and their masks lie on one another, or are refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rival_jax import data
from rival_jax.data.orientation import TURNS, noted, turned
from rival_jax.types import Geometry
from tests.pictures import disc, save

TAG = 0x0112
BACK = {
    **{note: TURNS[note] for note in (2, 3, 4, 5, 7)},
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
QUARTER = (5, 6, 7, 8)


def scene(size=(48, 32)):
    """A photo, white in its upper left quarter, and the mask of that."""
    mask = np.zeros(size[::-1], np.uint8)
    mask[: size[1] // 2, : size[0] // 2] = 255
    return Image.fromarray(mask).convert("RGB"), Image.fromarray(mask)


def write(root, size=(48, 32), note=3, drawn="shown", own=1, suffix="png"):
    """One pair: the photo stored as `note` undoes, its mask drawn on what is shown or stored."""
    picture, mask = scene(size)
    for kind, what, number in (("images", picture, note), ("masks", mask, own)):
        stored = what.transpose(BACK[number]) if number != 1 else what
        if kind == "masks" and own == 1 and drawn == "stored" and note != 1:
            stored = what.transpose(BACK[note])
        exif = stored.getexif()
        if number != 1:
            exif[TAG] = number
        path = root / kind / "cat" / f"a.{'png' if kind == 'masks' else suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        stored.save(path, exif=exif)
    return root


def read(root, **options):
    return data.load("masked_folder", root, "test", **options)[0]


def assert_upright(item, size=(48, 32)):
    picture, mask = scene(size)
    assert item["image"].size == item["mask"].size == size
    difference = np.asarray(item["image"]).astype(int) - np.asarray(picture)
    assert np.abs(difference).mean() < 8
    np.testing.assert_array_equal(np.asarray(item["mask"]), np.asarray(mask))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
@pytest.mark.parametrize("note", sorted(TURNS))
def test_masks_drawn_on_what_is_shown(tmp_path, note, suffix):
    write(tmp_path, note=note, suffix=suffix)
    assert_upright(read(tmp_path, exif="photo"))


@pytest.mark.parametrize("note", sorted(TURNS))
def test_masks_drawn_on_what_is_stored(tmp_path, note):
    write(tmp_path, note=note, drawn="stored")
    assert_upright(read(tmp_path, exif="both"))
    item = read(tmp_path, exif="ignore")
    white = np.asarray(item["image"])[..., 0]
    np.testing.assert_array_equal(white, np.asarray(item["mask"]))


@pytest.mark.parametrize("drawn", ["shown", "stored"])
@pytest.mark.parametrize("note", QUARTER)
def test_shapes_say_what_a_mask_was_drawn_on(tmp_path, note, drawn):
    assert_upright(read(write(tmp_path, note=note, drawn=drawn)))


@pytest.mark.parametrize(
    ("note", "size"), [(3, (48, 32)), (2, (48, 32)), (4, (48, 32)), (6, (32, 32)), (8, (32, 32))]
)
def test_masks_that_fit_either_way_are_refused(tmp_path, note, size):
    root = write(tmp_path, size, note)
    with pytest.raises(ValueError, match=rf"a\.png is stored turned \(EXIF orientation {note}\)"):
        read(root)
    source = data.load("masked_folder", root, "test")
    with pytest.raises(ValueError, match=r"masked_folder\.exif=photo .* =both .*on_bad='skip'"):
        data.Examples(source, Geometry((8, 8)))


@pytest.mark.parametrize(("note", "own"), [(3, 3), (6, 6), (1, 3), (3, 2)])
@pytest.mark.parametrize("rule", ["fit", "photo", "both"])
def test_masks_with_a_note_of_their_own_follow_it(tmp_path, note, own, rule):
    assert_upright(read(write(tmp_path, note=note, own=own), exif=rule))


def test_photos_without_a_note_are_left(tmp_path):
    item = read(write(tmp_path, note=1))
    assert_upright(item)
    assert not item["turned"]


def test_how_many_were_turned_is_told(tmp_path):
    source = data.load("masked_folder", write(tmp_path, note=6), "test")
    (said,) = data.Examples(source, Geometry((8, 8))).notices
    assert said.startswith("1 of 1 photos are stored turned and are shown upright")


def test_masks_of_neither_shape_are_refused_as_before(tmp_path):
    write(tmp_path, note=6)
    save(disc((30, 30)), tmp_path / "masks/cat/a.png")
    source = data.load("masked_folder", tmp_path, "test")
    with pytest.raises(ValueError, match="is 30 x 30 pixels, which is not the shape of its photo"):
        data.Examples(source, Geometry((8, 8)))


@pytest.mark.parametrize("value", [0, 9, "up"])
def test_notes_without_meaning_are_none(value):
    picture = scene()[0]
    if value == "up":
        picture.info["exif"] = b"Exif\0\0MM\0"
    else:
        picture.getexif()[TAG] = value
    assert noted(picture) == 1
    assert turned(picture, 1) is picture


def test_what_was_turned_has_no_note_left():
    picture = scene()[0]
    picture.info["exif"] = Image.Exif().tobytes()
    exif = Image.Exif()
    exif[TAG] = 6
    picture.info["exif"] = exif.tobytes()
    assert noted(picture) == 6
    assert noted(turned(picture, 6)) == 1


def test_photos_alone_are_shown_as_viewers_show_them(tmp_path):
    write(tmp_path, note=6)
    photos = tmp_path / "images"
    shown = data.load("image_folder", photos, "test")[0]
    assert shown["image"] == scene()[0]
    left = data.load("image_folder", photos, "test", exif="ignore")[0]
    assert left["image"].size == (32, 48)
    with pytest.raises(ValueError, match="exif: no 'both'"):
        data.load("image_folder", photos, "test", exif="both")


def test_rival10_is_read_as_published(tmp_path):
    picture, mask = scene()
    stored, name = picture.transpose(Image.Transpose.ROTATE_180), "n02123394_1.JPEG"
    stored.getexif()[TAG] = 3
    for where, what in (("ordinary", stored), ("entire_object_masks", mask)):
        path = tmp_path / "test" / where / name
        path.parent.mkdir(parents=True)
        what.save(path, exif=what.getexif(), quality=95)
    item = data.load("rival10", tmp_path, "test")[0]
    assert np.asarray(item["image"])[-1, -1, 0] > 200
    assert np.asarray(item["mask"])[0, 0] > 200
