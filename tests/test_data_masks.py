"""What the values of masks mean: soft rims, labels, void, inverted masks, objects too small."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from rival_jax import data
from rival_jax.data.mask_formats import reader
from rival_jax.data.mask_labels import labels
from rival_jax.data.mask_values import check_values
from rival_jax.types import Geometry
from tests.pictures import Drawn, disc, photo, plain, save

SMALL = Geometry((12, 16))
INSIDE = np.asarray(disc()) == 255
WHITE = np.uint8(255) * INSIDE
RING = (np.asarray(disc().filter(ImageFilter.MaxFilter(9))) == 255) & ~INSIDE
FILTERS = [Image.Resampling[name] for name in ("BILINEAR", "BICUBIC", "LANCZOS", "HAMMING")]
few = settings(max_examples=60, deadline=None, derandomize=True)


def grey(*pairs, ground=0):
    """A picture of mode "L": `ground`, then each (where, value) over it."""
    values = np.full(INSIDE.shape, ground, np.uint8)
    for where, value in pairs:
        values[where] = value
    return Image.fromarray(values)


def palette(picture, colours):
    """The same values as indices of a palette."""
    indexed = Image.new("P", picture.size)
    indexed.putdata(np.asarray(picture).ravel().tolist())
    indexed.putpalette(colours)
    return indexed


def coloured(picture, colours):
    """The same values as colours: {value: (r, g, b)}."""
    found = np.zeros((*INSIDE.shape, 3), np.uint8)
    for value, colour in colours.items():
        found[np.asarray(picture) == value] = colour
    return Image.fromarray(found)


VOC = grey((INSIDE, 15), (RING, 255))
VOC_COLOURS = {15: (192, 128, 128), 255: (224, 224, 192)}
TOP = (np.arange(INSIDE.shape[0])[:, None] < 8) & (INSIDE | ~INSIDE)
LABELS = {
    "void ring": (VOC, [15]),
    "ids": (grey((TOP, 157), (INSIDE, 18), ground=124), [18, 124, 157]),
    "trimap": (grey((INSIDE, 1), (RING, 3), ground=2), [2, 3]),
    "matte": (grey((INSIDE, 255), (RING, 128)), [128]),
    "one id": (grey((INSIDE, 200)), [200]),
    "id 1 and void": (grey((INSIDE, 1), (RING, 255)), [1]),
    "id 254 and void": (grey((INSIDE, 254), (RING, 255)), [254]),
    "no ground": (grey((INSIDE, 255), ground=15), [15]),
}


def read(picture, mask_format="auto", **options):
    return np.asarray(reader("masked_folder", mask_format, **options)[0](picture, "m.png"))


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_refused_with_their_values_and_the_cure(name):
    picture, found = LABELS[name]
    assert labels(np.asarray(picture)) == found
    for mask_format in ("auto", "inverted", "grey"):
        with pytest.raises(ValueError, match=r"mask m\.png") as error:
            read(picture, mask_format)
        for value in np.unique(np.asarray(picture)):
            assert f"{value}" in str(error.value)
        assert "--config.data.masked_folder.mask_values, such as '(" in str(error.value)


def test_the_smallest_value_is_told_and_nonzero_not_advised_without_a_zero():
    with pytest.raises(ValueError, match=r"reaches from 1 to 3 \(1, 2 and 3\)") as error:
        read(LABELS["trimap"][0])
    assert "nonzero" not in str(error.value)
    with pytest.raises(ValueError, match="'nonzero' if all that is not 0 is object"):
        read(VOC)


TRIMAPS = {  # the picture, its object, what nobody labelled, and the values as they are told
    "another order": (grey((INSIDE, 2), (RING, 1), ground=3), 2, 1, "from 1 to 3 (1, 2 and 3)"),
    "larger values": (grey((INSIDE, 9), (RING, 5), ground=4), 9, 5, "from 4 to 9 (4, 5 and 9)"),
    "grey RGB": (LABELS["trimap"][0].convert("RGB"), 1, 3, "from 1 to 3 (1, 2 and 3)"),
}


@pytest.mark.parametrize("name", TRIMAPS)
def test_trimaps_without_a_zero_are_read_by_the_values_that_the_error_tells(name):
    picture, value, nobody, told = TRIMAPS[name]
    with pytest.raises(ValueError, match=r"mask m\.png.*masked_folder\.mask_values") as error:
        read(picture)
    assert told in str(error.value)
    assert "nonzero" not in str(error.value)
    np.testing.assert_array_equal(read(picture, mask_values=(value,), ignore=(nobody,)), WHITE)


@pytest.mark.parametrize("zero", [True, False])
def test_the_advice_for_a_palette_fits_what_it_holds(zero):
    """Without a 0, "nonzero" would take all of the picture for the object."""
    indices = np.asarray(LABELS["trimap"][0]).copy()
    indices[:2] = 0 if zero else indices[0, 0]
    picture = Image.fromarray(indices, "L").convert("P")
    picture.putpalette(bytes(range(256)) + bytes(512))
    with pytest.raises(ValueError, match=r"m\.png \(P\).*mask_values") as error:
        read(picture)
    assert ("nonzero" in str(error.value)) == zero


@st.composite
def drawn(draw, least=3):
    """A black and white mask of one to three shapes, and a size."""
    width, height = draw(st.integers(24, 160)), draw(st.integers(24, 160))
    mask = Image.new("L", (width, height))
    for _ in range(draw(st.integers(1, 3))):
        x, y = draw(st.integers(0, width - 8)), draw(st.integers(0, height - 8))
        box = (x, y, draw(st.integers(x + least, width)), draw(st.integers(y + least, height)))
        shape = draw(st.sampled_from(["ellipse", "rectangle"]))
        getattr(ImageDraw.Draw(mask), shape)(box, fill=255)
    return mask


def jpeg(mask, quality):
    file = io.BytesIO()
    mask.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue()))


@few
@given(drawn(), st.sampled_from(FILTERS), st.floats(0.2, 4), st.floats(0.2, 4))
def test_resized_masks_are_never_taken_for_labels(mask, resample, across, down):
    size = (max(4, round(mask.width * across)), max(4, round(mask.height * down)))
    assert labels(np.asarray(mask.resize(size, resample))) == []


@few
@given(drawn(), st.integers(2, 6))
def test_antialiased_masks_are_never_taken_for_labels(mask, factor):
    assert labels(np.asarray(mask.reduce(factor))) == []


@few
@given(drawn(), st.integers(20, 95), st.sampled_from([0, 1, 2]))
def test_masks_saved_as_jpeg_are_never_taken_for_labels(mask, quality, blur):
    soft = mask.filter(ImageFilter.GaussianBlur(blur)) if blur else mask
    assert labels(np.asarray(jpeg(soft, quality))) == []


@few
@given(drawn(least=8), st.lists(st.integers(1, 255), min_size=2, max_size=2, unique=True))
def test_two_ids_or_an_id_and_void_are_always_found(mask, ids):
    inside = np.asarray(mask) == 255
    grown = np.asarray(mask.filter(ImageFilter.MaxFilter(7))) == 255
    values = np.where(inside, ids[0], np.where(grown, ids[1], 0)).astype(np.uint8)
    if values.min() == values.max():
        return
    picture = Image.fromarray(values)
    with pytest.raises(ValueError, match=r"mask m\.png"):
        read(picture)


@pytest.mark.parametrize("change", ["resized", "jpeg"])
@pytest.mark.parametrize("name", ["void ring", "ids", "matte"])
def test_labels_are_found_among_soft_rims(name, change):
    picture, found = LABELS[name]
    large = picture.resize((160, 120), Image.Resampling.NEAREST)
    soft = picture.resize((160, 120), Image.Resampling.BILINEAR)
    changed = soft if change == "resized" else jpeg(large, 95)
    assert labels(np.asarray(changed))
    assert len(np.unique(np.asarray(changed))) > len(found) + 2


@few
@given(st.lists(st.integers(0, 255), min_size=12, max_size=40, unique=True))
def test_many_ids_that_fill_a_picture_are_found(ids):
    tiles = np.array(ids, np.uint8).repeat(6)[None].repeat(12, 0)
    assert set(labels(tiles)) >= {value for value in ids[1:-1] if 8 < value < 247}


def test_masks_of_real_photos_are_no_labels(all_shared):
    for split in ("train", "test"):
        source = data.load("rival10", all_shared / "data" / "rival10_mini", split)
        for position in range(0, len(source), 4):
            assert labels(np.asarray(source[position]["mask"])) == []


HEX = {value: "#" + "".join(f"{part:02x}" for part in c) for value, c in VOC_COLOURS.items()}
STORED = {
    "grey": (VOC, 15, 255),
    "palette": (palette(VOC, [0, 0, 0] * 15 + [192, 128, 128]), 15, 255),
    "palette by colour": (palette(VOC, [0, 0, 0] * 15 + [192, 128, 128]), HEX[15], 255),
    "RGB": (coloured(VOC, VOC_COLOURS), HEX[15], HEX[255].upper()),
    "RGBA": (coloured(VOC, VOC_COLOURS).convert("RGBA"), HEX[15], HEX[255]),
    "grey RGB": (VOC.convert("RGB"), 15, 255),
    "16-bit": (Image.fromarray(np.asarray(VOC).astype(np.uint16) * 20), 300, 5100),
}


@pytest.mark.parametrize("name", STORED)
def test_values_say_what_is_object_and_what_nobody_labelled(name):
    picture, value, nobody = STORED[name]
    np.testing.assert_array_equal(read(picture, mask_values=(value,)), WHITE)
    options = {"mask_values": (value,), "ignore": (nobody,)}
    np.testing.assert_array_equal(read(picture, **options), WHITE)
    both = np.uint8(255) * (INSIDE | RING)
    np.testing.assert_array_equal(read(picture, **options, void="foreground"), both)
    with pytest.raises(ValueError, match=r"none of --config\.data\.masked_folder\.mask_values"):
        read(picture, mask_values=(7,) if isinstance(value, int) else ("#000007",))


@pytest.mark.parametrize(
    ("mask_format", "picture"),
    [
        ("auto", grey((INSIDE, 1), (RING, 255))),
        ("nonzero", VOC),
        ("nonzero", coloured(VOC, VOC_COLOURS).convert("RGBA")),
        ("inverted", grey((~INSIDE, 255), (RING, 9))),
    ],
)
def test_void_goes_with_every_format(mask_format, picture):
    nobody = (9,) if mask_format == "inverted" else (255,)
    nobody = (HEX[255],) if picture.mode == "RGBA" else nobody
    np.testing.assert_array_equal(read(picture, mask_format, ignore=nobody), WHITE)
    both = np.uint8(255) * (INSIDE | RING)
    options = {"ignore": nobody, "void": "foreground"}
    np.testing.assert_array_equal(read(picture, mask_format, **options), both)
    kept = picture.copy()
    read(picture, mask_format, **options)
    assert picture == kept


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mask_values": ("800000",)}, r"mask_values \('800000',\): expected numbers or colours"),
        ({"mask_values": (-1,)}, r"mask_values \(-1,\)"),
        ({"mask_values": (True,)}, r"mask_values \(True,\)"),
        ({"mask_values": (1, 2), "ignore": (2,)}, r"\[2\] are in mask_values and in ignore"),
        ({"mask_values": ("#FF0000",), "ignore": ("#ff0000",)}, "in mask_values and in ignore"),
        ({"void": "object"}, "void: no 'object'"),
        ({"mask_format": "invert"}, "did you mean 'inverted'"),
        ({"exif": "aply"}, "exif: no 'aply'"),
    ],
)
def test_odd_options_are_refused_at_once(tmp_path, options, words):
    save(photo(), tmp_path / "images/cat/a.png")
    save(disc(), tmp_path / "masks/cat/a.png")
    with pytest.raises(ValueError, match=words):
        data.load("masked_folder", tmp_path, "test", **options)


@pytest.mark.parametrize("values", ["#800000", 15, None])
def test_values_that_are_no_tuple_are_refused(values):
    for pair in ((values, ()), ((), values)):
        with pytest.raises(ValueError, match=rf"{values!r}: expected numbers or colours"):
            check_values("masked_folder", *pair)


@pytest.mark.parametrize(
    ("picture", "value", "words"),
    [
        (VOC, "#c08080", "has mode L: name numbers"),
        (coloured(VOC, VOC_COLOURS), 15, "has mode RGB: name colours such as '#800000'"),
        (coloured(VOC, VOC_COLOURS), "#000001", "#000000, #c08080 and #e0e0c0"),
        (palette(VOC, [0] * 48), 14, "0, 15 and 255"),
    ],
)
def test_values_that_a_mask_cannot_hold_are_told(picture, value, words):
    with pytest.raises(ValueError, match=rf"mask m\.png .*{words}"):
        read(picture, mask_values=(value,))


def test_colours_and_palettes_are_named_where_they_are_refused():
    with pytest.raises(ValueError, match=r"\(RGB\).*#000000, #c08080 and #e0e0c0.*mask_values"):
        read(coloured(VOC, VOC_COLOURS))
    with pytest.raises(ValueError, match=r"\(P\).*holds 0, 15 and 255.*mask_values"):
        read(palette(VOC, [0] * 48))


def folder(root, masks):
    for i, mask in enumerate(masks):
        name = f"{'cat' if i % 2 else 'dog'}/{i}.png"
        save(photo(i), root / "images" / name)
        save(mask, root / "masks" / name)
    return root


def test_what_counts_as_what_stands_in_the_notices(tmp_path):
    source = data.load(
        "masked_folder", folder(tmp_path, [VOC] * 2), "test", mask_values=(15,), ignore=(255,)
    )
    (said,) = data.Examples(source, SMALL).notices
    assert "255 (--config.data.masked_folder.ignore) count as background" in said


def test_inverted_masks_are_hinted_at_and_read(tmp_path):
    inverted = Image.fromarray(255 - WHITE)
    soft = inverted.resize((80, 60), Image.Resampling.BILINEAR)
    root = folder(tmp_path, [inverted, soft, disc()])
    (said,) = data.Examples(data.load("masked_folder", root, "test"), SMALL).notices
    assert said.startswith("in 2 of 3 masks the object takes up nearly all")
    assert "mask_format=inverted" in said
    root = folder(tmp_path, [inverted, soft, inverted])
    source = data.load("masked_folder", root, "test", mask_format="inverted")
    examples = data.Examples(source, SMALL)
    assert examples.notices == []
    assert (examples.masks[:, 6, 8] == 255).all()


def test_one_object_that_fills_its_frame_is_no_reason_to_doubt():
    assert data.Examples(Drawn(3, {1: {"mask": Image.fromarray(255 - WHITE)}}), SMALL).notices == []


def far(side, white=255):
    """A mask of 320 x 240 with a square object of `side` pixels."""
    mask = Image.new("L", (320, 240), 255 - white)
    ImageDraw.Draw(mask).rectangle((160, 120, 159 + side, 119 + side), fill=white)
    return mask


def test_objects_that_vanish_are_bad_for_binary_masks_alone():
    source = Drawn(6, {2: {"image": photo(2, (320, 240)), "mask": far(9)}})
    with pytest.raises(
        ValueError, match=r"cat/002\.png has no pixel of object at 16 x 12"
    ) as error:
        data.Examples(source, SMALL, mask="binary")
    assert "on_bad='skip'" in str(error.value)
    skipped = data.Examples(source, SMALL, mask="binary", on_bad="skip").skipped
    assert [name for name, _ in skipped] == ["cat/002.png"]
    soft = data.Examples(source, SMALL)
    assert soft.masks[2].max() > 0
    assert soft.notices[0].startswith("1 of 6 objects fill no pixel by half at 16 x 12")


def test_backgrounds_that_vanish_are_bad_for_binary_masks():
    source = Drawn(4, {1: {"image": photo(2, (320, 240)), "mask": far(9, white=0)}})
    with pytest.raises(ValueError, match=r"dog/001\.png has no pixel of background at 16 x 12"):
        data.Examples(source, SMALL, mask="binary")


@pytest.mark.parametrize(("value", "bad"), [(127, True), (128, False)])
def test_half_is_where_the_experiments_have_it(value, bad):
    mask = Image.fromarray(np.where(np.eye(12, 16) > 0, value, 0).astype(np.uint8))
    item = {"image": photo(0, (16, 12)), "mask": mask}
    examples = data.Examples(Drawn(4, {0: item}), SMALL, mask="binary", on_bad="skip")
    assert bool(examples.skipped) is bad
    assert (np.float32(value) / np.float32(255) > 0.5) is not bad


def test_an_unknown_use_of_masks_is_refused():
    with pytest.raises(ValueError, match="mask 'hard', expected one of soft, binary"):
        data.Examples(Drawn(2), SMALL, mask="hard")


@pytest.mark.parametrize("name", ["void ring", "matte", "one id"])
def test_labels_of_data_sets_from_elsewhere_are_bad_examples(name):
    with pytest.raises(ValueError, match=r"cat/002\.png holds the labels 0.*255 on the object"):
        data.Examples(Drawn(6, {2: {"mask": LABELS[name][0]}}), SMALL)
    assert data.Examples(Drawn(6, {2: {"mask": plain(128)}}), SMALL, on_bad="skip").skipped
