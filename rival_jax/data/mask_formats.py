"""How stored masks mark the object: `reader` gives a function from them to PIL "L", 0 to 255.

- "auto": grey pictures, 0 to 255 with soft rims allowed, or labels 0 and 1 if nothing is above 1.
  Also palette pictures of two values, and colour ones whose three channels are equal. Other labels,
  values that fill areas (`mask_labels`), are refused.
- "inverted": as "auto", but the object is black.
- "binary": all that is brighter than half of white.
- "nonzero": every colour but black, every palette entry but 0.
- "grey": grey values from 0 to 255 as stored; labels are refused.
- "imagenet_s": ImageNet-S's class ids, R + 256 G. Id 0 (other) and id 1000 (ignore) are background;
  there is one other id.

All raise ValueError, naming the mask, its mode, what it holds and the option that reads it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageChops

from rival_jax.data.mask_labels import labels, listed
from rival_jax.data.mask_values import check_values, marked, stored
from rival_jax.runtime.plugins import no_such

GREY = ("1", "L", "LA")
COLOUR = ("RGB", "RGBA")
IGNORE = 1000  # ImageNet-S's id of unlabelled pixels
VOID = ("background", "foreground", "ignored")
UNLABELLED = 127  # value of unlabelled pixels, in masks whose `info` has the key
OPTION = "--config.data.masked_folder."

Read = Callable[[Image.Image, str], Image.Image]


def reader(
    data_set: str,
    mask_format: str,
    mask_values: Sequence[int | str] = (),
    ignore: Sequence[int | str] = (),
    void: str = "background",
) -> tuple[Read, tuple[str, ...]]:
    """A function that reads a data set's masks, and sentences the reader must know.

    Args:
      data_set: the data set whose options errors name.
      mask_format: see above.
      mask_values: instead, the stored values that are object: numbers (palette indices, for palette
        pictures) or colours, "#800000".
      ignore: stored values of unlabelled pixels, in the same form; ImageNet-S's are known.
      void: what they count as: "background", "foreground", or "ignored": left out, which only
        config.data.mask="labelled" can do. Masks with such pixels are told by `unlabelled`.

    Raises:
      ValueError: for an unknown format or `void`, for invalid values or values in both tuples.
    """
    option = f"--config.data.{data_set}."
    for key, value, known in (("mask_format", mask_format, READERS), ("void", void, VOID)):
        if value not in known:
            raise ValueError(f"data {data_set}: {key}: " + no_such(value, known))
    check_values(data_set, mask_values, ignore)

    def by_format(picture: Image.Image, name: str) -> Image.Image:
        return READERS[mask_format](picture, name, option)

    def by_values(picture: Image.Image, name: str) -> Image.Image:
        found = marked(picture, mask_values, name, f"{option}mask_values")
        if not found.any():
            held = listed(stored(picture))
            raise ValueError(f"mask {name} has none of {option}mask_values={mask_values}: {held}")
        return _object(found)

    read = by_values if mask_values else by_format

    def around(picture: Image.Image, name: str) -> Image.Image:
        found = marked(picture, ignore, name, f"{option}ignore")
        if by_id and picture.mode == "RGB":
            found = found | (_ids(picture) == IGNORE)
        nobody = _object(found)
        if not mask_values:
            picture = picture.convert(picture.mode.rstrip("A")) if _opaque(picture) else picture
            picture = picture.copy()
            picture.paste(0, mask=nobody)
        mask = read(picture, name)
        mask.paste({"foreground": 255, "ignored": UNLABELLED}.get(void, 0), mask=nobody)
        return _with_unlabelled(mask) if void == "ignored" and found.any() else mask

    by_id = mask_format == "imagenet_s" and not mask_values
    if by_id and void == "ignored" and not ignore:
        return around, (f"ImageNet-S's id {IGNORE}, unlabelled pixels, is left out",)
    if ignore:
        values = listed(ignore)
        said = f"pixels of masks that hold {values} ({option}ignore) count as {void} ({option}void)"
        return around, (said,)
    if by_id:
        return read, (f"ImageNet-S's id {IGNORE}, unlabelled pixels, is background",)
    return read, ()


def unlabelled(mask: Image.Image) -> bool:
    """Whether some pixels of a mask that was read are `UNLABELLED`."""
    return "unlabelled" in mask.info


def of_labels(labels: np.ndarray, void: int) -> Image.Image:
    """A mask from labels [h, w]: 0 is background, `void` not labelled, all else object."""
    mask = _object((labels != 0) & (labels != void))
    mask.paste(UNLABELLED, mask=_object(labels == void))
    return _with_unlabelled(mask) if (labels == void).any() else mask


def union(masks: Sequence[Image.Image]) -> Image.Image:
    """The objects of several masks of one size; unlabelled is what is so in one, object in none."""
    found = brightest(masks)
    return _with_unlabelled(found) if any(map(unlabelled, masks)) else found


def _with_unlabelled(mask: Image.Image) -> Image.Image:
    mask.info["unlabelled"] = True
    return mask


def _auto(picture: Image.Image, name: str, option: str = OPTION) -> Image.Image:
    values = _grey_values(picture)
    if values is None:
        held = stored(picture)
        # Without a 0 in it, "nonzero" would take the whole picture for the object.
        formats = "'binary', 'nonzero' or" if {0, "#000000"} & set(held) else "'binary' or"
        raise ValueError(
            f"mask {name} ({picture.mode}) is not grey, two-valued or opaque: it holds "
            f"{listed(held)}. Name the object's with {option}mask_values, or pass "
            f"{option}mask_format={formats} 'imagenet_s'"
        )
    low, high = int(values.min()), int(values.max())
    if high <= 1:
        return Image.fromarray(values * np.uint8(255))
    if high < 128:
        there = np.unique(values).tolist()
        raise ValueError(
            f"mask {name} reaches from {low} to {high} ({listed(there)}), neither labels 0 and 1 "
            f"nor grey values: {_cure(there, option)}"
        )
    _refuse_labels(values, name, option)
    return Image.fromarray(values)


def _refuse_labels(values: np.ndarray, name: str, option: str) -> None:
    found = labels(values)
    if found:
        there = np.unique(values).tolist()
        of_which = "which" if found == there else f"of which {listed(found)}"
        raise ValueError(
            f"mask {name} holds {listed(there)}, {of_which} fill areas, as labels do and soft "
            f"rims do not: {_cure(there, option, found)}"
        )


def _cure(there: list[int], option: str, found: Sequence[int] = ()) -> str:
    first = next(iter(found or [value for value in there if value]))
    words = f"name the object's with {option}mask_values, such as '({first},)'"
    if len(there) > 2:
        words += f", unlabelled ones with {option}ignore, such as '({there[-1]},)'"
    formats = ["'binary' if what is above half is object"] if there[-1] > 127 else []
    formats += ["'nonzero' if all that is not 0 is object"] if there[0] == 0 else []
    return words + (f", or pass {option}mask_format={' or '.join(formats)}" if formats else "")


def _grey_values(picture: Image.Image) -> np.ndarray | None:
    """uint8 [h, w], or None where the picture cannot be read as grey values."""
    if picture.mode == "P":
        indices = np.asarray(picture)
        colours = np.asarray(picture.convert("RGB"))
        if len(np.unique(indices)) > 2:
            return None
        return colours[..., 0] if _equal_channels(colours) else indices
    if picture.mode in ("LA", "RGBA") and not _opaque(picture):
        return None
    if picture.mode in COLOUR:
        colours = np.asarray(picture)[..., :3]
        return colours[..., 0] if _equal_channels(colours) else None
    return np.asarray(picture.convert("L")) if picture.mode in GREY else None


def _opaque(picture: Image.Image) -> bool:
    return picture.mode in ("LA", "RGBA") and picture.getextrema()[-1] == (255, 255)


def _equal_channels(colours: np.ndarray) -> bool:
    return bool((colours == colours[..., :1]).all())


def _inverted(picture: Image.Image, name: str, option: str = OPTION) -> Image.Image:
    return ImageChops.invert(_auto(picture, name, option))


def _binary(picture: Image.Image, name: str, option: str = OPTION) -> Image.Image:
    if picture.mode not in (*GREY, *COLOUR, "P"):
        raise ValueError(f"mask {name} has mode {picture.mode}: pass {option}mask_format='nonzero'")
    return _object(np.asarray(picture.convert("RGB").convert("L")) > 127)


def _grey(picture: Image.Image, name: str, option: str = OPTION) -> Image.Image:
    if picture.mode not in (*GREY, *COLOUR):
        raise ValueError(f"mask {name} has mode {picture.mode}: pass {option}mask_format='nonzero'")
    grey = picture.convert("L")
    _refuse_labels(np.asarray(grey), name, option)
    return grey


def _nonzero(picture: Image.Image, name: str, option: str = OPTION) -> Image.Image:
    channels = [
        c for c, band in zip(picture.split(), picture.getbands(), strict=True) if band != "A"
    ]
    if len(channels) > 1:
        return brightest(channels).point([0] + [255] * 255)
    return _object(np.asarray(channels[0]) != 0)


def brightest(channels: Sequence[Image.Image]) -> Image.Image:
    """The largest value of some channels of mode "L", pixel by pixel."""
    return functools.reduce(ImageChops.lighter, channels)


def _imagenet_s(picture: Image.Image, name: str, option: str = OPTION) -> Image.Image:
    if picture.mode != "RGB":
        raise ValueError(
            f"mask {name} has mode {picture.mode}, ImageNet-S's are RGB: pass another "
            f"{option}mask_format"
        )
    ids = _ids(picture)
    there = sorted(set(np.unique(ids).tolist()) - {0, IGNORE})
    if len(there) > 1:
        raise ValueError(
            f"mask {name} has the class ids {', '.join(map(str, there))}; ImageNet-S marks one "
            f"class in a mask. Keep one, or pass {option}mask_format='nonzero' if all are the "
            "object"
        )
    return _object((ids != 0) & (ids != IGNORE))


def _ids(picture: Image.Image) -> np.ndarray:
    channels = np.asarray(picture).astype(np.int32)
    return channels[..., 0] + 256 * channels[..., 1]


def _object(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(np.uint8(255) * mask)


READERS: dict[str, Callable[..., Image.Image]] = {
    "auto": _auto,
    "inverted": _inverted,
    "binary": _binary,
    "grey": _grey,
    "nonzero": _nonzero,
    "imagenet_s": _imagenet_s,
}
