"""Photos that are stored turned, with a note (EXIF) of how to show them, and their masks.

Viewers and most labelling tools show such a photo upright, so masks are mostly drawn on what is
shown; scripts that ignore the note draw on what is stored. The shapes say which, unless both fit.
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
    """The orientation that a picture's header notes, 2 to 8; 1 without a note that can be read."""
    try:
        value = picture.getexif().get(TAG, 1)
    except Exception:  # damaged notes end in SyntaxError, struct.error and more; viewers skip them
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
    """Photo and mask turned so that they lie on one another.

    Args:
      photo, mask: as they are stored.
      notes: what is `noted` in the photo's file and in the mask's.
      rule: "fit": the photo is turned as noted, the mask as its own note says, or with the photo
        where only that gives it the photo's shape. "photo": the mask has been drawn on the turned
        photo. "both": it has been drawn on the stored pixels, and is turned with the photo unless
        it has its own note. "ignore": nothing is turned.
      name: of the photo.

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
