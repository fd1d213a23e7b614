"""A mask for each object: which files are a photo's, their union, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from rival_jax import data
from rival_jax.data.mask_formats import unlabelled
from rival_jax.types import Geometry
from tests.pictures import SIZE, photo, plain, save

SMALL = Geometry((12, 16))
HEADER = (
    "id,area,bbox_x0,bbox_y0,bbox_w,bbox_h,point_input_x,point_input_y,predicted_iou,"
    "stability_score,crop_box_x0,crop_box_y0,crop_box_w,crop_box_h"
)


def box(left, top, right, bottom, value=255) -> Image.Image:
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[top:bottom, left:right] = value
    return Image.fromarray(mask)


FIRST, SECOND = box(2, 2, 12, 12), box(10, 6, 30, 20)
BOTH = (np.asarray(FIRST) | np.asarray(SECOND)) == 255


@pytest.fixture
def root(tmp_path):
    """Photos with two masks, by number and in a folder, and one with one."""
    for name in ("cat/a", "cat/b", "dog/a"):
        save(photo(sum(name.encode())), tmp_path / "images" / f"{name}.jpg")
    for name in ("cat/a_0", "cat/b/person"):
        save(FIRST, tmp_path / "masks" / f"{name}.png")
    for name in ("cat/a_1", "cat/b/2", "dog/a"):
        save(SECOND, tmp_path / "masks" / f"{name}.png")
    return tmp_path


def load(root, **options):
    return data.load("masked_folder", root, "test", masks_per_photo="several", **options)


def said(root, **options) -> str:
    with pytest.raises(ValueError, match=re.escape(str(root))) as error:
        load(root, **options)
    return str(error.value)


def test_the_object_is_the_union(root):
    source = load(root)
    assert source.names == ["cat/a.jpg", "cat/b.jpg", "dog/a.jpg"]
    for position in (0, 1):
        np.testing.assert_array_equal(np.asarray(source[position]["mask"]) == 255, BOTH)
    assert source[1]["mask_name"] == "cat/b/2.png and cat/b/person.png"
    np.testing.assert_array_equal(source[2]["mask"], SECOND)
    examples = data.Examples(source, SMALL)
    assert "3 photos have 5 masks, 1 to 2 each" in examples.notices[0]


def test_numbers_that_are_left_out_are_told(root):
    (root / "masks/cat/a_1.png").rename(root / "masks/cat/a_3.png")
    (said, _) = load(root).notices
    assert said.startswith("the masks of 1 photo leave out numbers, such as 1 of cat/a.jpg: if")
    assert len(load(root, **table(root, A.replace("a_0", "a_3"), A)).notices) == 1


def test_it_is_never_assumed_but_named(root):
    with pytest.raises(ValueError, match=r"mask cat/a_0\.png has no photo") as error:
        data.load("masked_folder", root, "test")
    assert "masks_per_photo=several" in str(error.value)
    with pytest.raises(ValueError, match="did you mean 'several'"):
        data.load("masked_folder", root, "test", masks_per_photo="severl")


def test_names_that_two_photos_share_are_of_neither(root):
    save(photo(), root / "images/cat/a_0.jpg")
    text = said(root)
    assert "mask cat/a_0.png may be of photo cat/a_0 or of cat/a" in text
    assert "in a folder of its name, NAME/0.png" in text
    for name in ("cat/a_0", "cat/a_1"):
        (root / f"masks/{name}.png").unlink()
    for name in ("cat/a/0", "cat/a_0/0", "cat/a_0_0", "cat/a_0_1"):
        save(FIRST, root / f"masks/{name}.png")
    found = load(root)
    assert [found[i]["mask_name"] for i in range(2)] == [
        "cat/a/0.png",
        "cat/a_0/0.png, cat/a_0_0.png and cat/a_0_1.png",
    ]


def test_lost_files_are_all_named(root):
    (root / "masks/cat/a_0.png").unlink()
    (root / "masks/cat/a_1.png").unlink()
    for file in (root / "masks/cat/b").iterdir():
        file.unlink()
    save(SECOND, root / "masks/dog/z_3.png")
    save(SECOND, root / "masks/dog/a.bmp")
    (root / "masks/dog/a_1.npy").write_bytes(b"array")
    text = said(root)
    for fault in (
        "photo cat/a.jpg has no mask masks/cat/a/* or masks/cat/a_0.*",
        "photo cat/b.jpg has no mask masks/cat/b/* or masks/cat/b_0.*",
        "mask dog/z_3.png has no photo images/dog/z.*",
        "masks a.bmp and a.png of dog have one name",
        "mask masks/dog/a_1.npy is of a suffix that is not read",
    ):
        assert fault in text


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: save(plain(0), path), "mask cat/a_1.png is 0 of 1200 pixels"),
        (lambda path: save(plain(255), path), "mask cat/a_1.png is 1200 of 1200 pixels"),
        (lambda path: save(FIRST.resize((30, 30)), path), "mask cat/a_1.png is 30 x 30 pixels"),
        (lambda path: save(FIRST.resize((20, 15)), path), "different sizes, 20 x 15 and 40 x 30"),
        (lambda path: path.write_bytes(b"no picture"), "mask cat/a_1.png cannot be decoded"),
        (lambda path: save(box(2, 2, 9, 9, 15), path), "mask cat/a_1.png reaches from 0 to 15"),
    ],
    ids=["empty", "full", "shape", "size", "damaged", "labels"],
)
def test_a_file_that_is_wrong_is_named_or_its_photo_left_out(root, write, words):
    write(root / "masks/cat/a_1.png")
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        data.Examples(load(root), SMALL)
    assert "on_bad='skip'" in str(error.value)
    examples = data.Examples(load(root), SMALL, on_bad="skip")
    assert examples.names == ["cat/b.jpg", "dog/a.jpg"]
    assert words in examples.skipped[0][1]


def test_unlabelled_pixels_stay_so_where_no_mask_has_an_object(root):
    trimap = np.array(FIRST)
    trimap[4:8, 8:20] = 128
    save(SECOND, root / "masks/cat/a_0.png")
    save(Image.fromarray(trimap), root / "masks/cat/a_1.png")
    source = load(root, ignore=(128,), void="ignored")
    found = source[0]["mask"]
    assert unlabelled(found)
    assert not unlabelled(source[2]["mask"])
    pixels = np.asarray(found)
    assert pixels[5, 9] == 127
    assert pixels[7, 15] == 255


def table(root, *lines):
    (root / "list.csv").write_text("image,mask,class\n" + "".join(f"{line}\n" for line in lines))
    return {"manifest": "list.csv"}


A, B = (f"images/cat/a.jpg,masks/cat/{name}.png,cat" for name in ("a_0", "a_1"))


def test_a_table_has_a_line_for_every_object(root):
    source = load(root, **table(root, A, "images/dog/a.jpg,masks/dog/a.png,dog", B))
    assert source.names == ["images/cat/a.jpg", "images/dog/a.jpg"]
    np.testing.assert_array_equal(np.asarray(source[0]["mask"]) == 255, BOTH)
    assert "line 3: photo images/cat/a.jpg is on line 2 already, with the same mask" in said(
        root, **table(root, A, A)
    )
    dog = B.replace(",cat", ",dog")
    assert "is on line 2 already, of class 'cat'" in said(root, **table(root, A, dog))
    with pytest.raises(ValueError, match=r"line 3: .* on line 2 already; .*=several"):
        data.load("masked_folder", root, "test", **table(root, A, B))


@pytest.fixture
def sam(tmp_path):
    """As segment-anything's automatic generator writes: a folder for each photo."""
    for name in ("a", "b"):
        save(photo(), tmp_path / f"images/cat/{name}.jpg")
        for number, mask in enumerate((FIRST, SECOND, box(0, 20, 40, 30))):
            save(mask, tmp_path / f"masks/cat/{name}/{number}.png")
        lines = [f"{number},100{',0.9' * 12}" for number in range(3)]
        (tmp_path / f"masks/cat/{name}/metadata.csv").write_text("\n".join([HEADER, *lines]))
    return tmp_path


def test_all_segments_of_a_photo_are_no_object(sam):
    text = said(sam)
    assert "masks/cat/a: 3 of the 3 segments that segment-anything found" in text
    assert "--config.data.masked_folder.manifest" in text
    assert "--config.tokencut.segments" in text
    (sam / "masks/cat/a/2.png").unlink()
    assert "masks/cat/a: 2 of the 3 segments" in said(sam)
    for name in ("a", "b"):
        (sam / f"masks/cat/{name}/metadata.csv").unlink()
    assert len(load(sam)) == 2


def test_segments_that_are_chosen_are_the_object(sam):
    lines = [f"images/cat/a.jpg,masks/cat/a/{number}.png,cat" for number in range(3)]
    source = load(sam, **table(sam, *lines[:2]))
    np.testing.assert_array_equal(np.asarray(source[0]["mask"]) == 255, BOTH)
    text = said(sam, **table(sam, *lines))
    assert "line 2: 3 of the 3 segments that segment-anything found" in text
    file = sam / "masks/cat/a/metadata.csv"
    file.write_text("id,area\n0,1\n1,1\n2,1\n")  # somebody else's table
    assert len(load(sam, **table(sam, *lines))) == 1
    file.write_text(f"{HEADER}\n" + "../b/0,1,1,1,1,1,1,1,1,1\n")
    with pytest.raises(ValueError, match=r"metadata\.csv: id '\.\./b/0' is no number"):
        load(sam, **table(sam, *lines[:2]))
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match=r"metadata\.csv cannot be read"):
        load(sam, **table(sam, *lines[:2]))
