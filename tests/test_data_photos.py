"""Photos of every mode and format as RGB, transparency, and files that are too large."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from rival_jax import data
from rival_jax.data import transforms
from rival_jax.data.photos import DROP, PhotoRules, remarks
from rival_jax.types import Geometry
from tests.pictures import disc, photo, save

GREY = np.asarray(photo().convert("L"))
OPTIONS = "--config.data.masked_folder."


def stored(picture: Image.Image, kind: str, **options) -> io.BytesIO:
    """A file in memory."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    file.seek(0)
    return file


def opened(file: io.BytesIO, *rules: PhotoRules) -> Image.Image:
    return transforms.open_photo(file, "a.x", *rules)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("P", "PNG"),
        ("P", "GIF"),
        ("L", "GIF"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("YCbCr", "TIFF"),
        ("LA", "PNG"),
        ("RGBA", "WEBP"),
        ("1", "PNG"),
        ("1", "TIFF"),
        ("L", "PPM"),
    ],
)
def test_opaque_photos_are_what_pil_converts_them_to(mode, kind):
    file = stored(photo().convert(mode), kind)
    got = opened(file)
    file.seek(0)
    expected = Image.open(file).convert("RGB")
    assert got.mode == "RGB"
    np.testing.assert_array_equal(got, expected)
    assert remarks(got) == ()
    assert np.ptp(np.asarray(got)) > 100


def test_cmyk_photos_look_like_their_originals():
    got = np.asarray(opened(stored(photo().convert("CMYK"), "JPEG", quality=95))).astype(int)
    assert abs(got - np.asarray(photo())).mean() < 3


DEEP = Image.fromarray(GREY.astype(np.uint16) * 257)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_cut(kind):
    got = opened(stored(DEEP, kind))
    np.testing.assert_array_equal(got, GREY[..., None].repeat(3, 2))
    assert remarks(got) == ("are 16-bit grey, reduced to the high byte",)


def test_16_bit_grey_of_a_pgm():
    values = (GREY.astype(np.uint16) * 257).astype(">u2").tobytes()
    file = io.BytesIO(b"P5 %d %d 65535\n" % GREY.shape[::-1] + values)
    np.testing.assert_array_equal(opened(file), GREY[..., None].repeat(3, 2))


def colour_png(values: np.ndarray) -> io.BytesIO:
    """A PNG of 16 bits a channel [h, w, 3], which PIL reads and does not write."""

    def part(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    height, width = values.shape[:2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = part(b"IHDR", header) + part(b"IDAT", zlib.compress(lines)) + part(b"IEND", b"")
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + parts)


def test_16_bit_grey_and_16_bit_colour_agree():
    """PIL itself brings 16-bit colour to 8 bits."""
    values = np.random.default_rng(0).integers(0, 2**16, (6, 5), np.uint16)
    colour = opened(colour_png(values[..., None].repeat(3, 2)))
    np.testing.assert_array_equal(opened(stored(Image.fromarray(values), "PNG")), colour)


def test_12_bits_in_16_are_told():
    (words,) = remarks(opened(stored(Image.fromarray(GREY.astype(np.uint16) * 16), "PNG")))
    assert "no value in them is above 4095" in words


@pytest.mark.parametrize(("mode", "kind"), [("F", "TIFF"), ("LAB", "TIFF"), ("I", "TIFF")])
def test_colours_that_nobody_knows_are_refused(mode, kind):
    picture = photo().convert("L" if mode in "FI" else "RGB").convert(mode)
    with pytest.raises(ValueError, match=rf"photo a\.x has mode {mode}.*save it as 8-bit RGB"):
        opened(stored(picture, kind))


def animated(kind: str) -> io.BytesIO:
    first, second = (photo(seed).convert("P" if kind == "GIF" else "RGB") for seed in (0, 1))
    more = {"lossless": True} if kind == "WEBP" else {}
    return stored(first, kind, save_all=True, append_images=[second], **more)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_of_several_pictures_is_read_and_told(kind):
    got = opened(animated(kind))
    expected = photo().convert("P").convert("RGB") if kind == "GIF" else photo()
    np.testing.assert_array_equal(got, expected)
    assert remarks(got) == ("hold several pictures (frames, pages): the first is read",)


def test_the_preview_in_a_phones_jpeg_is_not_told():
    got = opened(stored(photo(), "MPO", save_all=True, append_images=[photo(1)]))
    assert remarks(got) == ()


def cut_out(mode: str = "RGBA") -> Image.Image:
    """The photo inside of the disc; what is stored around it is the photo, too."""
    picture = photo().convert("RGB" if mode == "RGBA" else "L").convert(mode)
    picture.putalpha(disc())
    return picture


def keyed(kind: str) -> Image.Image:
    """A picture one of whose values means transparency."""
    if kind == "palette":
        picture = Image.fromarray(np.where(np.asarray(disc()) > 0, 1, 0).astype(np.uint8))
        picture.putpalette([0, 200, 0, 90, 80, 70])
        return picture
    return Image.fromarray(np.where(np.asarray(disc()) > 0, 90, 7).astype(np.uint8))


INSIDE = np.asarray(disc()) > 0


@pytest.mark.parametrize(
    ("colour", "rgb"), [("white", (255,) * 3), ("#102030", (16, 32, 48)), ("black", (0,) * 3)]
)
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_lie_on_the_named_colour(colour, rgb, mode):
    got = opened(stored(cut_out(mode), "PNG"), PhotoRules(colour, options=OPTIONS))
    pixels, source = np.asarray(got), np.asarray(cut_out(mode).convert("RGB"))
    np.testing.assert_array_equal(pixels[INSIDE], source[INSIDE])
    assert (pixels[~INSIDE] == rgb).all()
    words = f"have transparent pixels, shown on {colour} (--config.data.masked_folder.alpha_colour)"
    assert remarks(got) == (words,)


@pytest.mark.parametrize(
    ("kind", "format_"), [("palette", "PNG"), ("palette", "GIF"), ("grey", "PNG")]
)
def test_a_value_that_means_transparency(kind, format_):
    key = 7 if kind == "grey" else 0
    got = opened(stored(keyed(kind), format_, transparency=key))
    assert (np.asarray(got)[~INSIDE] == 255).all()
    assert (np.asarray(got)[INSIDE] == ((90, 90, 90) if kind == "grey" else (90, 80, 70))).all()
    assert "transparent pixels, shown on white" in remarks(got)[0]


def test_a_value_of_16_bit_grey_that_means_transparency():
    values = np.where(INSIDE, 90 * 257, 7).astype(np.uint16)
    got = np.asarray(opened(stored(Image.fromarray(values), "PNG", transparency=7)))
    assert (got[~INSIDE] == 255).all()
    assert (got[INSIDE] == 90).all()


def test_half_transparent_pixels_are_mixed():
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 51))
    assert (np.asarray(opened(stored(picture, "PNG"))) == 204).all()


def test_what_is_stored_below_transparency_is_shown_on_demand():
    got = opened(stored(cut_out(), "PNG"), PhotoRules(DROP))
    np.testing.assert_array_equal(got, photo())
    assert remarks(got) == ("have transparent pixels, shown as what is stored below them",)


def test_rival10_photos_keep_what_the_studys_code_sees(tmp_path):
    folder = tmp_path / "RIVAL10/test"
    name = "n02123394_n02123394_1.JPEG"
    (folder / "ordinary").mkdir(parents=True)
    (folder / "entire_object_masks").mkdir()
    cut_out().save(folder / "ordinary" / name, "PNG")
    disc().save(folder / "entire_object_masks" / name)
    np.testing.assert_array_equal(data.load("rival10", tmp_path, "test")[0]["image"], photo())


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"alpha_colour": "withe"}, r"masked_folder\.alpha_colour='withe': expected a colour"),
        ({"alpha_colour": "#ffffff80"}, "alpha_colour='#ffffff80'"),
        ({"alpha_colour": ""}, "alpha_colour=''"),
        ({"max_pixels": 0}, r"masked_folder\.max_pixels=0: a number from 1 up"),
    ],
)
def test_rules_without_a_meaning_are_refused_before_any_photo(tmp_path, rules, words):
    with pytest.raises(ValueError, match=words):
        data.load("masked_folder", tmp_path / "nowhere", "test", **rules)


@pytest.mark.parametrize("limit", [1199, 100, 1])  # 1200 pixels; PIL itself refuses twice its own
def test_a_picture_of_too_many_pixels_names_the_option(limit):
    rules = PhotoRules(max_pixels=limit, options=OPTIONS)
    words = rf"photo a\.x has more than {limit} pixels; pass {OPTIONS}max_pixels=N"
    with pytest.raises(ValueError, match=words):
        opened(stored(photo(), "PNG"), rules)


@pytest.mark.parametrize("what", ["photo", "mask"])
def test_pils_own_limit_is_ours_and_can_be_raised(monkeypatch, what):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    file = stored(photo(), "PNG")
    with pytest.raises(ValueError, match=f"{what} a has more than 599 pixels; save it smaller"):
        transforms.open_picture(file, "a", what, PhotoRules(max_pixels=599))
    file.seek(0)
    assert transforms.open_picture(file, "a", what, PhotoRules(max_pixels=1200)).size == (40, 30)


@pytest.fixture
def root(tmp_path):
    """Four photos, two of them cut out, one in 16 bits."""
    for i, picture in enumerate((photo(), cut_out(), cut_out(), DEEP)):
        save(picture, tmp_path / f"images/{'cat' if i % 2 else 'dog'}/{i}.png")
        save(disc(), tmp_path / f"masks/{'cat' if i % 2 else 'dog'}/{i}.png")
    return tmp_path


def test_what_was_assumed_of_photos_is_counted(root):
    examples = data.Examples(data.load("masked_folder", root, "test"), Geometry((12, 16)))
    assert examples.notices == [
        "1 of 4 photos are 16-bit grey, reduced to the high byte",
        "2 of 4 photos have transparent pixels, shown on white "
        "(--config.data.masked_folder.alpha_colour)",
    ]


def test_the_pixel_limit_makes_bad_examples(root):
    save(photo(size=(80, 60)), root / "images/cat/1.png")
    save(disc((80, 60)), root / "masks/cat/1.png")
    source = data.load("masked_folder", root, "test", max_pixels=2000)
    with pytest.raises(
        ValueError, match=r"photo cat/1\.png has more than 2000 pixels.*on_bad='skip'"
    ):
        data.Examples(source, Geometry((12, 16)))
    source = data.load("image_folder", root, "test", max_pixels=2000)
    with pytest.raises(ValueError, match=r"pass --config\.data\.image_folder\.max_pixels=N"):
        source[source.names.index("cat/1.png")]


def test_image_folders_open_photos_likewise(root):
    source = data.load("image_folder", root, "test", alpha_colour="black")
    got = source[source.names.index("cat/1.png")]["image"]
    assert (np.asarray(got)[~INSIDE] == 0).all()
    assert remarks(got)[0].endswith("shown on black (--config.data.image_folder.alpha_colour)")
