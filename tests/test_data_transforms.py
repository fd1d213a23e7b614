"""Resizing, cropping, augmentation and the decoding of photos."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from rival_jax.data import transforms
from rival_jax.types import Geometry
from tests.golden.places import at_kept
from tests.helpers import golden, held
from tests.pictures import disc, photo, save

BILINEAR = Image.Resampling.BILINEAR
sides = st.integers(1, 90)


@pytest.fixture(scope="module")
def reference(shared):
    return golden(shared, "07e_transforms.npz")


def equal(got, expected):
    np.testing.assert_array_equal(at_kept(got, expected), expected)


SIDES = {"0": 224, "1": 224, "2": 96}


@pytest.mark.parametrize("name", held(SIDES, left_out="12"))
def test_squash_is_the_studys_evaluation_transform(reference, name):
    side = SIDES[name]
    picture = Image.fromarray(reference[f"img{name}"])
    got = transforms.resize_photo(picture, Geometry((side, side)))
    equal(got, reference[f"eval{name}"])


def test_mask_is_resized_as_the_study_does(reference):
    mask = Image.fromarray(reference["mask_L"])
    got = transforms.resize_mask(mask, Geometry((224, 224), interpolation="nearest"), mask.size)
    equal(got, reference["mask_L_eval"])


@pytest.mark.parametrize("name", held("01", left_out="1"))
def test_crop_flip_and_resize_for_given_draws(reference, name):
    box, flip = tuple(reference[f"crop{name}"].tolist()), bool(reference[f"flip{name}"])
    picture = Image.fromarray(reference[f"img{name}"])
    got = transforms.crop_and_resize(picture, box, flip, Geometry(), BILINEAR)
    equal(got, reference[f"train{name}"])


def test_outside_of_a_picture_is_zero(reference):
    box = tuple(reference["oob_box"].tolist())
    mask = Image.fromarray(reference["mask_small"])
    got = transforms.crop_and_resize(mask, box, False, Geometry(), BILINEAR)
    equal(got, reference["mask_small_oob_train"])


def test_boxes_are_distributed_as_the_studys(shared):
    reference = golden(shared, "07f_crop_box_sample.npz")
    height, width = (int(side) for side in reference["image_hw"])
    rng = np.random.default_rng(0)
    boxes = np.array([transforms.draw_box((width, height), rng) for _ in range(4000)])
    theirs = reference["boxes_top_left_height_width"]
    for column in range(4):
        assert stats.ks_2samp(boxes[:, column], theirs[:, column]).pvalue > 0.01
    areas, their_areas = (b[:, 2] * b[:, 3] for b in (boxes, theirs))
    assert stats.ks_2samp(areas, their_areas).pvalue > 0.01


def test_crop_keeps_the_middle_unscaled_where_the_short_side_fits():
    picture = photo(size=(80, 64))
    got = transforms.resize_photo(picture, Geometry((56, 56), resize="crop", crop_pct=0.875))
    np.testing.assert_array_equal(got, np.asarray(picture)[4:60, 12:68])


@pytest.mark.parametrize(
    ("photo_size", "crop_pct", "scaled", "corner"),
    [
        ((500, 375), 0.875, (341, 256), (58, 16)),
        ((375, 500), 0.875, (256, 341), (16, 58)),
        ((375, 500), 0.95, (235, 313), (6, 44)),
    ],
)
def test_crop_rounds_like_timm(photo_size, crop_pct, scaled, corner):
    geometry = Geometry((224, 224), resize="crop", interpolation="bicubic", crop_pct=crop_pct)
    picture, (left, top) = photo(size=photo_size), corner
    resized = np.asarray(picture.resize(scaled, Image.Resampling.BICUBIC))
    got = transforms.resize_photo(picture, geometry)
    np.testing.assert_array_equal(got, resized[top : top + 224, left : left + 224])


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_mask_of_half_the_size_lies_where_the_photo_lies(resize):
    geometry = Geometry((48, 48), resize=resize, crop_pct=0.9)
    whole = transforms.resize_mask(disc((160, 120)), geometry, (160, 120))
    half = transforms.resize_mask(disc((80, 60)), geometry, (160, 120))
    assert np.mean((whole > 127) != (half > 127)) < 0.03


def test_mask_of_rounded_size_is_brought_to_the_photos_before_the_cut():
    mask = disc((50, 38))  # half of 100 x 75
    got = transforms.resize_mask(mask, Geometry((48, 40), resize="crop"), (100, 75))
    expected = np.asarray(mask.resize((64, 48), BILINEAR))[:, 12:52]
    np.testing.assert_array_equal(got, expected)


@settings(max_examples=50, deadline=None)
@given(sides, sides, sides, sides, st.sampled_from(transforms.RESIZES), st.floats(0.3, 1))
def test_every_shape_is_covered(width, height, out_height, out_width, resize, crop_pct):
    geometry = Geometry((out_height, out_width), resize=resize, crop_pct=crop_pct)
    white = Image.new("RGB", (width, height), (255, 255, 255))
    got = transforms.resize_photo(white, geometry)
    assert got.shape == (out_height, out_width, 3)
    assert got.min() == 255  # nothing from outside the photo


@settings(max_examples=100, deadline=None)
@given(sides, sides, st.integers(0, 2**32))
def test_boxes_lie_inside_the_photo(width, height, seed):
    top, left, box_height, box_width = transforms.draw_box(
        (width, height), np.random.default_rng(seed)
    )
    assert 0 <= top <= height - box_height
    assert 0 <= left <= width - box_width
    assert min(box_height, box_width) >= 1


def test_box_of_a_strip_falls_back_to_the_nearest_ratio():
    rng = np.random.default_rng(0)
    assert transforms.draw_box((400, 40), rng) == (0, 175, 40, 50)
    assert transforms.draw_box((30, 400), rng) == (180, 0, 40, 30)


def test_augmentation_moves_photo_and_mask_together():
    mask = disc((64, 64))
    picture = Image.merge("RGB", [mask] * 3)
    moved = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        image, got = transforms.augment(picture, mask, Geometry((32, 32)), rng)
        np.testing.assert_array_equal(image[..., 0], got)
        moved.append(got)
    assert len({got.tobytes() for got in moved}) == 8


def test_augmentation_fits_a_smaller_mask_to_the_photo():
    mask = disc((160, 120))
    args = Geometry((32, 32)), np.random.default_rng(5)
    _, half = transforms.augment(photo(size=(160, 120)), disc((80, 60)), *args)
    args = Geometry((32, 32)), np.random.default_rng(5)
    _, whole = transforms.augment(photo(size=(160, 120)), mask, *args)
    assert np.mean((whole > 127) != (half > 127)) < 0.04


def test_half_of_the_examples_are_mirrored():
    ramp = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (64, 1)))
    picture = Image.merge("RGB", [ramp] * 3)
    rng = np.random.default_rng(0)
    pairs = [transforms.augment(picture, ramp, Geometry((8, 8)), rng) for _ in range(400)]
    mirrored = sum(int(mask[0, 0] > mask[0, -1]) for _, mask in pairs)
    assert stats.binomtest(mirrored, 400).pvalue > 0.01


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resize": "stretch"}, "squash, crop"),
        ({"interpolation": "cubic"}, "bicubic"),
        ({"crop_pct": 0.0}, "crop_pct 0"),
        ({"crop_pct": 87.5}, "crop_pct 87.5"),
        ({"size": (0, 224)}, "at least 1"),
    ],
)
def test_meaningless_geometry_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        transforms.check_geometry(Geometry(**change))


def test_grey_photo_gets_three_equal_channels(tmp_path):
    path = save(photo().convert("L"), tmp_path / "grey.png")
    pixels = np.asarray(transforms.open_photo(path, "grey.png"))
    np.testing.assert_array_equal(pixels, np.asarray(photo().convert("L"))[..., None].repeat(3, 2))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_damaged_files_are_refused(tmp_path, suffix):
    path = save(photo(size=(200, 150)), tmp_path / f"a.{suffix}")
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"nonsense" * 40, whole[:20] + bytes(200)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"photo a\.{suffix} cannot be decoded"):
            transforms.open_photo(path, path.name)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"mask b\.png is missing.*b\.png"):
        transforms.open_picture(tmp_path / "b.png", "b.png", "mask")


def test_formats_that_are_not_listed_are_not_opened(tmp_path):
    path = tmp_path / "a.jpg"
    photo().save(path, format="PCX")
    with pytest.raises(ValueError, match="cannot be decoded"):
        transforms.open_photo(path, path.name)
