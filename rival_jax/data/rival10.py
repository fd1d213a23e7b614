"""RIVAL10 in its published layout (Moayeri et al., CVPR 2022, section 3).

RIVAL10/{train,test}/ordinary/NAME.JPEG              photos, NAME = WNID_FILE
                             /NAME_attr_labels.npy   int [2, 18]: attributes, changed attributes
                             /NAME_merged_mask.JPEG  all attributes' masks in one
                             /NAME_attr_dict.pkl     attribute -> base64 of a picture
RIVAL10/{train,test}/entire_object_masks/NAME.JPEG   soft at the rim, as JPEG leaves it

EXIF notes of rotation are ignored: masks match the stored pixels, and published results were
computed on these.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rival_jax.data.checks import report
from rival_jax.data.mask_formats import brightest
from rival_jax.data.photos import DROP, PhotoRules
from rival_jax.data.pickles import RefusedPickle, read_attribute_dict
from rival_jax.data.transforms import Size, open_photo, open_picture, resize_masks
from rival_jax.runtime.plugins import no_such
from rival_jax.types import Geometry

SYNSETS = {
    "truck": ("n03796401", "n04467665"),
    "car": ("n02814533", "n03100240"),
    "plane": ("n02690373", "n04552348"),
    "ship": ("n03673027", "n03095699"),
    "cat": ("n02123394", "n02124075"),
    "dog": ("n02099712", "n02099601"),
    "equine": ("n02389026", "n02391049"),
    "deer": ("n02423022", "n02422699"),
    "frog": ("n01644900", "n01644373"),
    "bird": ("n01531178", "n01532829"),
}
CLASS_OF_SYNSET = {wnid: i for i, wnids in enumerate(SYNSETS.values()) for wnid in wnids}
ATTRIBUTES = (
    *("long-snout", "wings", "wheels", "text", "horns", "floppy-ears", "ears", "colored-eyes"),
    *("tail", "mane", "beak", "hairy", "metallic", "rectangular", "wet", "long", "tall"),
    "patterned",
)
RULES = PhotoRules(DROP)  # as the study's code opens photos
OBJECT = "entire-object"  # the last of the attribute masks
VARIANTS = ("ordinary", "superimposed", "removed")
MAX_LABELS = 1 << 16  # bytes of a file of attribute labels; one needs 416


def load(
    root: Path,
    split: str,
    *,
    variant: str = "ordinary",
    attributes: bool = False,
    attribute_masks: str = "clean",
) -> Rival10:
    """One split of RIVAL10.

    Args:
      root: the folder RIVAL10 or its parent.
      split: "train" or "test".
      variant: "ordinary" photos, or those with attributes pasted in ("superimposed") or cut out
        ("removed").
      attributes: whether items also have `attr_labels` and `changed_attrs` (int64 [18], order of
        `ATTRIBUTES`), `merged_mask` (PIL, "L") and `attribute_masks` (19 PIL "L": `ATTRIBUTES`,
        then the whole object; all 0 where absent).
      attribute_masks: how a stored attribute picture becomes a mask. "clean": by transparency, or,
        if it is opaque everywhere, any channel above 127. "released": as in the study's code, where
        only channels of exactly 255 count, opacity included, and a missing or damaged dictionary
        means empty masks.

    Raises:
      ValueError: for an unknown value or a missing folder.
    """
    for value, known in ((variant, VARIANTS), (attribute_masks, READERS)):
        if value not in known:
            raise ValueError("data rival10: " + no_such(value, known))
    folder = _split_folder(root, split, variant)
    files = sorted(file.name for file in folder.glob("*.JPEG"))
    names = [name for name in files if not name.endswith("_merged_mask.JPEG")]
    strange = [f"{name} has none of the 20 synsets" for name in names if _class(name) is None]
    if strange:
        raise ValueError(report(strange, len(names), "photos", f"move them out of {folder}"))
    if not names:
        raise ValueError(f"no photo in {folder}: looked for *.JPEG")
    return Rival10(folder, names, attributes, attribute_masks)


def _split_folder(root: Path, split: str, variant: str) -> Path:
    for base in (root, root / "RIVAL10"):
        if (base / split / variant).is_dir():
            return base / split / variant
    raise ValueError(
        f"no RIVAL10 photos: looked for {root / split / variant} and "
        f"{root / 'RIVAL10' / split / variant}; root is the folder RIVAL10 or its parent"
    )


def splits(root: Path, variant: str) -> list[str]:
    """Which of train and test exist."""
    return [
        split
        for split in ("train", "test")
        if any((base / split / variant).is_dir() for base in (root, root / "RIVAL10"))
    ]


def _class(name: str) -> int | None:
    return CLASS_OF_SYNSET.get(name.split("_")[0])


class Rival10:
    """An `AttributeSource` by file name, labelled by the synset before the first underscore."""

    classes = tuple(SYNSETS)
    class_wnids = tuple(SYNSETS.values())

    def __init__(self, folder: Path, names: list[str], attributes: bool, rule: str) -> None:
        self.names, self.attributes = names, ATTRIBUTES if attributes else ()
        self.labels = np.array([_class(name) for name in names], np.int32)
        self._folder, self._rule = folder, rule

    def __len__(self) -> int:
        return len(self.names)

    def files(self, position: int) -> tuple[Path, Path]:
        """The photo's file and its object mask's."""
        name = self.names[position]
        return self._folder / name, self._folder.parent / "entire_object_masks" / name

    def __getitem__(self, position: int) -> dict[str, Any]:
        name, (photo_file, mask_file) = self.names[position], self.files(position)
        mask_name = f"entire_object_masks/{name}"
        photo = open_photo(photo_file, name, RULES)
        mask = open_picture(mask_file, mask_name, "mask").convert("L")
        item = {"image": photo, "mask": mask, "mask_name": mask_name}
        if self.attributes:
            item |= self._attributes(self._folder / name.removesuffix(".JPEG"), photo.size)
        return item

    def attribute_pixels(self, item: dict[str, Any], geometry: Geometry) -> np.ndarray:
        """An item's `attribute_masks` on the pixels of its resized photo: uint8 [19, h, w].

        255 is inside. With "released" masks are 0 or 255, with "clean" their rims are soft.
        """
        return resized(item["attribute_masks"], geometry, item["image"].size, self._rule)

    def _attributes(self, stem: Path, photo_size: Size) -> dict[str, Any]:
        labels = _attribute_labels(stem.with_name(stem.name + "_attr_labels.npy"))
        merged = stem.with_name(stem.name + "_merged_mask.JPEG")
        masks = self._attribute_masks(stem.with_name(stem.name + "_attr_dict.pkl"), photo_size)
        return {
            "attr_labels": labels[0],
            "changed_attrs": labels[1],
            "merged_mask": open_picture(merged, merged.name, "mask").convert("L"),
            "attribute_masks": masks,
        }

    def _attribute_masks(self, path: Path, photo_size: Size) -> list[Image.Image]:
        try:
            stored = read_attribute_dict(path)
        except (OSError, ValueError) as error:
            if self._rule == "clean" or isinstance(error, RefusedPickle):
                raise
            stored = {}
        masks = [Image.new("L", photo_size) for _ in (*ATTRIBUTES, OBJECT)]
        for i, attribute in enumerate((*ATTRIBUTES, OBJECT)):
            if attribute in stored:
                name = f"{attribute} of {path.name}"
                picture = open_picture(io.BytesIO(stored[attribute]), name, "mask")
                masks[i] = READERS[self._rule](picture, name)
        return masks


def resized(
    masks: list[Image.Image], geometry: Geometry, photo_size: Size, rule: str
) -> np.ndarray:
    """Attribute masks as uint8 [len(masks), h, w]; "released" resizes bits, bicubic."""
    if rule == "clean":
        return resize_masks(masks, geometry, photo_size)
    bits = [mask.point([0] * 255 + [1]) for mask in masks]
    return 255 * resize_masks(bits, geometry, photo_size, Image.Resampling.BICUBIC)


def _attribute_labels(path: Path) -> np.ndarray:
    """int64 [2, 18] of 0 and 1; raises ValueError with the file's name for anything else."""
    shape = (2, len(ATTRIBUTES))
    try:
        if path.stat().st_size > MAX_LABELS:
            raise ValueError(f"it has more than {MAX_LABELS} bytes")
        labels = np.load(path, allow_pickle=False)
    except Exception as error:  # a damaged header can raise anything
        what = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"attribute labels {path} cannot be read: {what}") from error
    if not isinstance(labels, np.ndarray):
        raise ValueError(f"attribute labels {path} cannot be read: an archive, not one array")
    if labels.shape != shape:
        raise ValueError(f"attribute labels {path} have shape {labels.shape}, expected (2, 18)")
    if labels.dtype.kind not in "biuf" or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            f"attribute labels {path} cannot be read: {labels.dtype} that are not all 0 or 1"
        )
    return labels.astype(np.int64)


def _clean_mask(picture: Image.Image, name: str) -> Image.Image:
    if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        raise ValueError(f"mask {name} has mode {picture.mode}, expected 8 bits per channel")
    picture = picture.convert("RGBA")
    *colours, alpha = picture.split()
    if alpha.getextrema() != (255, 255):
        return alpha
    return brightest(colours).point([0] * 128 + [255] * 128)


def _released_mask(picture: Image.Image, name: str) -> Image.Image:
    if picture.mode == "P":
        picture = picture.convert("RGBA")
    if picture.mode not in ("RGB", "RGBA"):
        raise ValueError(
            f"mask {name} has mode {picture.mode}, which the study's code turns into garbage; "
            "pass --config.data.rival10.attribute_masks='clean'"
        )
    return brightest(picture.split()).point([0] * 255 + [255])


READERS = {"clean": _clean_mask, "released": _released_mask}
