"""From a photo and its mask to the uint8 pixels that a model gets.

PIL resizes, on uint8, because published results were computed that way: its filters are antialiased
and round to whole grey levels, so other resizers differ by a level or more.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rival_jax.data.mask_formats import UNLABELLED, unlabelled
from rival_jax.data.photos import DEFAULT, PhotoRules, as_rgb, remark
from rival_jax.types import Geometry

Size = tuple[int, int]  # width, height: PIL's order
Box = tuple[int, int, int, int]  # top, left, height, width

BILINEAR = Image.Resampling.BILINEAR
INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
RESIZES = ("squash", "crop")
# Named, so that a file cannot choose its reader: PIL hands some formats (EPS) to other programs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")

CROP_AREA = (0.8, 1.0)  # of the photo's area
CROP_RATIO = (0.75, 1.25)  # width / height
CROP_TRIES = 10
SQUARE = 224 / 256  # side of RobustViT's crop, as a share of the squashed photo's


def open_picture(
    file: Path | io.BytesIO, name: str, what: str = "photo", rules: PhotoRules = DEFAULT
) -> Image.Image:
    """The decoded picture in its stored mode; the first if a file holds several.

    Args:
      file: a path, or the file itself in memory.
      name: its name in errors.
      what: "photo" or "mask".
      rules: only `max_pixels` is used.

    Raises:
      ValueError: if the file is missing, truncated, damaged, too large, or in none of `FORMATS`.
    """
    # PIL's own limit holds for the whole process, so it may be raised to the requested one, but is
    # never lowered.
    if Image.MAX_IMAGE_PIXELS is not None and rules.max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = rules.max_pixels
    try:
        picture = Image.open(file, formats=FORMATS)
        with picture:
            large = picture.width * picture.height > rules.max_pixels
            if not large:
                # The second picture of a phone's JPEG (MPO) is a preview or a map of light.
                if getattr(picture, "is_animated", False) and picture.format != "MPO":
                    remark(picture, "hold several pictures (frames, pages): the first is read")
                picture.load()
    except Image.DecompressionBombError:
        large = True
    except FileNotFoundError as error:
        raise ValueError(f"{what} {name} is missing: there is no file {file}") from error
    except Exception as error:  # damaged files raise OSError, SyntaxError, struct.error and more
        fault = str(error).replace(repr(file), "it")
        raise ValueError(f"{what} {name} cannot be decoded: {fault}") from error
    if large:
        raise ValueError(rules.too_large(name, what))
    return picture


def open_photo(file: Path | io.BytesIO, name: str, rules: PhotoRules = DEFAULT) -> Image.Image:
    """A photo as RGB, see `photos.as_rgb`.

    A rotation noted in the file's header is not applied, but stays noted in the picture
    (`orientation.noted`).

    Raises:
      ValueError: as `open_picture` and `as_rgb`.
    """
    return as_rgb(open_picture(file, name, rules=rules), name, rules)


def check_geometry(geometry: Geometry) -> None:
    """Raises ValueError for an invalid `Geometry`, naming the valid values."""
    if geometry.resize not in RESIZES:
        raise ValueError(f"resize {geometry.resize!r}, expected one of {', '.join(RESIZES)}")
    if geometry.interpolation not in INTERPOLATIONS:
        known = ", ".join(INTERPOLATIONS)
        raise ValueError(f"interpolation {geometry.interpolation!r}, expected one of {known}")
    if not 0 < geometry.crop_pct <= 1:
        raise ValueError(f"crop_pct {geometry.crop_pct}, expected more than 0 and at most 1")
    if min(geometry.size) < 1:
        raise ValueError(f"size {geometry.size}, expected height and width of at least 1")


def resize_photo(photo: Image.Image, geometry: Geometry) -> np.ndarray:
    """uint8 [h, w, 3] of an RGB photo."""
    resample = INTERPOLATIONS[geometry.interpolation]
    return fit(photo, geometry, photo.size, resample)


def resize_mask(mask: Image.Image, geometry: Geometry, photo_size: Size) -> np.ndarray:
    """A mask of mode "L" as uint8 [h, w], matching the pixels of `resize_photo`.

    Always bilinear, so that a pixel at an edge holds its share of object. The mask may have another
    size than the photo, `photo_size` (width, height).
    """
    return fit(mask, geometry, photo_size, BILINEAR)


def resize_labels(mask: Image.Image, geometry: Geometry, photo_size: Size) -> np.ndarray:
    """The same with each pixel's nearest label (RobustViT's segmentation test): 0, 127 or 255."""
    found = fit(mask, geometry, photo_size, INTERPOLATIONS["nearest"])
    labels = np.where(found > 127, 255, 0).astype(np.uint8)
    return np.where(found == UNLABELLED, found, labels) if unlabelled(mask) else labels


def resize_masks(
    masks: Sequence[Image.Image],
    geometry: Geometry,
    photo_size: Size,
    resample: Image.Resampling = BILINEAR,
) -> np.ndarray:
    """uint8 [len(masks), h, w], each as `resize_mask` gives it; empty ones cost nothing."""
    resized = np.zeros((len(masks), *geometry.size), np.uint8)
    for place, mask in enumerate(masks):
        if mask.getbbox():
            resized[place] = fit(mask, geometry, photo_size, resample)
    return resized


def fit(
    picture: Image.Image, geometry: Geometry, photo_size: Size, resample: Image.Resampling
) -> np.ndarray:
    """A picture of the same scene as a photo of `photo_size`, as uint8 [h, w] or [h, w, 3]."""
    height, width = geometry.size
    if geometry.resize == "squash":
        return np.asarray(picture.resize((width, height), resample))
    scaled = _covering_size(photo_size, geometry)
    left, top = round((scaled[0] - width) / 2), round((scaled[1] - height) / 2)
    resized = picture.resize(scaled, resample)
    return np.asarray(resized.crop((left, top, left + width, top + height)))


def _covering_size(photo_size: Size, geometry: Geometry) -> Size:
    """The smallest size of the photo's shape that covers `geometry.size / crop_pct`."""
    height, width = (math.floor(side / geometry.crop_pct) for side in geometry.size)
    photo_width, photo_height = photo_size
    if photo_height * width <= photo_width * height:
        return height * photo_width // photo_height, height
    return width, width * photo_height // photo_width


def draw_box(photo_size: Size, rng: np.random.Generator) -> Box:
    """A random crop: 80 to 100 % of the area, aspect ratio log-uniform in 3:4 to 5:4.

    Ten tries; if none fits inside the photo, the largest centred box of an allowed ratio.
    """
    width, height = photo_size
    for _ in range(CROP_TRIES):
        area = width * height * rng.uniform(*CROP_AREA)
        ratio = math.exp(rng.uniform(math.log(CROP_RATIO[0]), math.log(CROP_RATIO[1])))
        box_width, box_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(rng.integers(height - box_height + 1))
            left = int(rng.integers(width - box_width + 1))
            return top, left, box_height, box_width
    ratio = min(max(width / height, CROP_RATIO[0]), CROP_RATIO[1])
    box_width = max(1, min(width, round(height * ratio)))
    box_height = max(1, min(height, round(width / ratio)))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def crop_and_resize(
    picture: Image.Image, box: Box, flip: bool, geometry: Geometry, resample: Image.Resampling
) -> np.ndarray:
    """uint8 of the box, mirrored left to right if `flip`, squashed to `geometry.size`.

    Outside the picture it is 0.
    """
    top, left, box_height, box_width = box
    cropped = picture.crop((left, top, left + box_width, top + box_height))
    if flip:
        cropped = cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    height, width = geometry.size
    return np.asarray(cropped.resize((width, height), resample))


def augment(
    photo: Image.Image, mask: Image.Image, geometry: Geometry, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One random crop and coin-flip mirroring of a photo, and the same of its mask.

    The training-time transform of the RIVAL10 study. A mask of another size is first resized to the
    photo's, so that the box covers the same pixels of both.

    Returns:
      uint8 [h, w, 3] and uint8 [h, w], of `geometry.size` whatever `geometry.resize` says.
    """
    box = draw_box(photo.size, rng)
    flip = bool(rng.random() < 0.5)
    if mask.size != photo.size:
        mask = mask.resize(photo.size, BILINEAR)
    resample = INTERPOLATIONS[geometry.interpolation]
    image = crop_and_resize(photo, box, flip, geometry, resample)
    return image, crop_and_resize(mask, box, flip, geometry, BILINEAR)


def square_augment(
    photo: Image.Image, mask: Image.Image, geometry: Geometry, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A random crop, 7/8 of each side of the squashed photo, and coin-flip mirroring (RobustViT).

    224 pixels out of 256. Returns and arguments as `augment`.
    """
    width, height = square_size(geometry)
    top = int(rng.integers(height - geometry.size[0] + 1))
    left = int(rng.integers(width - geometry.size[1] + 1))
    return square_crop(photo, mask, geometry, (top, left), bool(rng.random() < 0.5))


def square_size(geometry: Geometry) -> Size:
    """Width and height that a photo is squashed to before it is cropped to `geometry.size`."""
    height, width = (round(side / SQUARE) for side in geometry.size)
    return width, height


def square_crop(
    photo: Image.Image, mask: Image.Image, geometry: Geometry, corner: tuple[int, int], flip: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The photo squashed to `square_size` and cut at `corner` (top, left); its mask likewise.

    As released, shrinking averages the photo's pixels, but not the mask's.
    """
    size, (top, left) = square_size(geometry), corner
    resized = np.asarray(photo.resize(size, INTERPOLATIONS[geometry.interpolation]))
    marks = _plain_bilinear(np.asarray(mask), size)
    rows, columns = slice(top, top + geometry.size[0]), slice(left, left + geometry.size[1])
    image, marked = resized[rows, columns], marks[rows, columns]
    if flip:
        image, marked = image[:, ::-1], marked[:, ::-1]
    return np.ascontiguousarray(image), np.ascontiguousarray(marked)


def _plain_bilinear(mask: np.ndarray, size: Size) -> np.ndarray:
    """uint8 resized to `size`: half-pixel centres, edges clamped, no antialiasing."""
    resized = mask.astype(np.float64)
    for axis, new in ((0, size[1]), (1, size[0])):
        old = mask.shape[axis]
        place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        below = np.minimum(place.astype(int), max(old - 2, 0))
        share = np.expand_dims(place - below, 1 - axis)
        above = np.minimum(below + 1, old - 1)
        resized = resized.take(below, axis) * (1 - share) + resized.take(above, axis) * share
    return np.round(resized).astype(np.uint8)


def mirror_augment(
    photo: Image.Image, mask: Image.Image, geometry: Geometry, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The whole photo as in evaluation, mirrored by a coin flip. Returns as `augment`."""
    image, marked = resize_photo(photo, geometry), resize_mask(mask, geometry, photo.size)
    if rng.random() < 0.5:
        return np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(marked[:, ::-1])
    return image, marked


AUGMENTATIONS = {"area": augment, "square": square_augment, "mirror": mirror_augment}
