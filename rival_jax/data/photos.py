"""A decoded photo as 8-bit RGB, however it is stored.

CMYK, palettes and YCbCr come out as from PIL's `convert("RGB")`, which torchvision's and timm's
loaders call; grey and black-and-white pictures get three equal channels. Two things that it gets
wrong are done here. 16-bit grey keeps its high byte, as 16-bit colour does in PIL: `convert` would
cut all above 255 to white. And transparent pixels are laid on a named colour: `convert` shows the
hidden colour that the file happens to hold there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageColor

DROP = "drop"  # for `alpha_colour`: the stored colours of transparent pixels
MAX_PIXELS = 178_956_970  # PIL takes larger files for a bomb: 512 MiB of RGB
MODES = ("RGB", "L", "1", "LA", "P", "PA", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")
DEEP = ("I;16", "I;16B", "I;16L", "I;16N")  # 16 bits of grey
DEEP_FORMATS = ("PNG", "PPM")  # their mode "I" holds 0 to 65535
REMARKS = "remarks"  # key in a picture's `info`


@dataclasses.dataclass(frozen=True)
class PhotoRules:
    """How the files of a data set are opened.

    Attributes:
      alpha_colour: the colour behind transparent pixels, as PIL names it ("white", "#7f7f7f"); or
        "drop", to show the stored colour, as torchvision and timm do.
      max_pixels: larger pictures cannot be used.
      options: the prefix of both flags, "--config.data.masked_folder."; "" if the data set has
        none.

    Raises:
      ValueError: for invalid values, naming the flag.
    """

    alpha_colour: str = "white"
    max_pixels: int = MAX_PIXELS
    options: str = ""

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise ValueError(f"{self.options}max_pixels={self.max_pixels}: a number from 1 up")
        try:
            opaque = self.alpha_colour == DROP or len(ImageColor.getrgb(self.alpha_colour)) == 3
        except ValueError:
            opaque = False
        if not opaque:
            raise ValueError(
                f"{self.options}alpha_colour={self.alpha_colour!r}: expected a colour, such as "
                f"'white', 'black' or '#7f7f7f', or '{DROP}' to show what is stored below "
                "transparency"
            )

    def too_large(self, name: str, what: str) -> str:
        """The error for a picture with too many pixels."""
        cure = f"pass {self.options}max_pixels=N if memory suffices, or " if self.options else ""
        return f"{what} {name} has more than {self.max_pixels} pixels; {cure}save it smaller"


DEFAULT = PhotoRules()


def remark(picture: Image.Image, *words: str) -> None:
    """Notes an assumption made to read a picture, worded to follow "3 of 9 photos"."""
    picture.info[REMARKS] = (*remarks(picture), *words)


def remarks(picture: Image.Image) -> tuple[str, ...]:
    """The notes on a picture or on the one it was made from."""
    return picture.info.get(REMARKS, ())


def counted(count: int, verb: str = "") -> str:
    """Photos in words, perhaps with "are" or "have".

    >>> counted(1), counted(1, "are"), counted(1200, "have")
    ('1 photo', '1 photo is', '1,200 photos have')
    """
    if count == 1:
        return f"1 photo {({'are': 'is', 'have': 'has'}).get(verb, verb)}".strip()
    return f"{count:,} photos {verb}".strip()


def sentences(counts: Mapping[str, int], total: int) -> list[str]:
    """Sentences on how many of `total` photos had each remark."""
    return [f"{count} of {total} photos {words}" for words, count in sorted(counts.items())]


def as_rgb(photo: Image.Image, name: str, rules: PhotoRules) -> Image.Image:
    """A photo as RGB, with `remarks` that a reader of the numbers must know.

    Args:
      photo: decoded, in its stored mode.
      name: its name in errors.
      rules: see `PhotoRules`.

    Raises:
      ValueError: for a mode of unknown value range (floats, 32-bit integers), or with colours that
        PIL does not convert (premultiplied grey) or only roughly (LAB).
    """
    mode = photo.mode
    if mode in DEEP or (mode == "I" and photo.format in DEEP_FORMATS):
        photo = _high_byte(photo)
    elif mode not in MODES:
        raise ValueError(
            f"photo {name} has mode {mode}, whose colours are not known: save it as 8-bit RGB"
        )
    if photo.has_transparency_data:
        photo = photo.convert("RGBA")
        if photo.getextrema()[-1] != (255, 255):
            photo = _on_colour(photo, rules)
    return photo.convert("RGB")


def _on_colour(photo: Image.Image, rules: PhotoRules) -> Image.Image:
    option = f" ({rules.options}alpha_colour)" if rules.options else ""
    if rules.alpha_colour == DROP:
        remark(photo, f"have transparent pixels, shown as what is stored below them{option}")
        return photo
    ground = Image.new("RGBA", photo.size, rules.alpha_colour)
    laid = Image.alpha_composite(ground, photo)
    laid.info = dict(photo.info)
    remark(laid, f"have transparent pixels, shown on {rules.alpha_colour}{option}")
    return laid


def _high_byte(photo: Image.Image) -> Image.Image:
    """8-bit grey from 16-bit grey, with alpha if one of its values means transparency."""
    values = np.asarray(photo).astype(np.int64)
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    if "transparency" in photo.info:
        alpha = np.where(values == photo.info["transparency"], 0, 255).astype(np.uint8)
        grey = Image.merge("LA", (grey, Image.fromarray(alpha)))
    grey.info = {key: value for key, value in photo.info.items() if key != "transparency"}
    words = "are 16-bit grey, reduced to the high byte"
    if values.max() < 4096:
        words += (
            "; no value in them is above 4095: they may have 10 or 12 bits, and are then too dark"
        )
    remark(grey, words)
    return grey
