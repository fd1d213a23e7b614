"""Photos stored turned, with an EXIF note of how to show them, and their masks.

Viewers and most labelling tools show such a photo upright, so most masks are drawn on the upright
photo; scripts that ignore the note draw on the stored pixels. The shapes tell which, unless both
fit.
"""

from __future__ import annotations

from PIL import Image

from rival_jax.data.checks import same_shape

Turn = Image.Transpose
TAG = 0x0112
TURNS = {
    2: Turn.FLIP_LEFT_RIGHT,
    3: Turn.ROTATE_180,
    4: Turn.FLIP_TOP_BOTTOM,
    5: Turn.TRANSPOSE,
    6: Turn.ROTATE_270,
    7: Turn.TRANSVERSE,
    8: Turn.ROTATE_90,
}
RULES = ("fit", "photo", "both", "ignore")


def noted(picture: Image.Image) -> int:
    """The orientation noted in a picture's header, 2 to 8; 1 without a readable note."""
    try:
        value = picture.getexif().get(TAG, 1)
    except Exception:  # damaged notes raise SyntaxError, struct.error and more; viewers skip them
        return 1
    return value if value in TURNS else 1


def turned(picture: Image.Image, note: int) -> Image.Image:
    """The picture as it is to be shown, without the note."""
    if note == 1:
        return picture
    picture = picture.transpose(TURNS[note])
    picture.info.pop("exif", None)
    return picture


def upright(
    photo: Image.Image, mask: Image.Image, notes: tuple[int, int], rule: str, name: str
) -> tuple[Image.Image, Image.Image]:
    """Photo and mask turned so that they match.

    Args:
      photo, mask: as stored.
      notes: the orientations `noted` in the photo's file and in the mask's.
      rule: "fit": the photo is turned as noted, the mask by its own note, or with the photo if only
        that gives it the photo's shape. "photo": the mask was drawn on the turned photo. "both": it
        was drawn on the stored pixels, and is turned with the photo unless it has its own note.
        "ignore": nothing is turned.
      name: the photo's name.

    Raises:
      ValueError: under "fit", if a mask without a note has the photo's shape either way.
    """
    note, own = notes
    if rule == "ignore":
        return photo, mask
    shown = turned(photo, note)
    if own != 1 or note == 1 or rule == "photo":
        return shown, turned(mask, own)
    as_stored = same_shape(mask.size, photo.size)
    if rule == "fit" and as_stored and same_shape(mask.size, shown.size):
        raise ValueError(
            f"photo {name} is stored turned (EXIF orientation {note}), and its mask fits it either "
            "way: pass --config.data.masked_folder.exif=photo if masks were drawn on photos as "
            "viewers show them, =both if on the stored pixels"
        )
    return shown, turned(mask, note) if rule == "both" or as_stored else mask
