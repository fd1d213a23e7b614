"""Any image data set of TFDS that has masks, prepared as array_record; TensorFlow is not needed.

    DATA_DIR/NAME/CONFIG/VERSION/    what TFDS's `download_and_prepare` writes

RIVAL10 is prepared by `python -m rival_jax.data.rival10_tfds`, and gives the same pixels, names and
order as its folder. Pictures are decoded from the stored bytes as files are, and not turned by EXIF
notes: TFDS's own readers do not turn them either, so masks match the stored pixels.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rival_jax.data import rival10
from rival_jax.data.mask_formats import Read, reader
from rival_jax.data.photos import MAX_PIXELS, PhotoRules
from rival_jax.data.tfds.prepared import check_features, parser, prepared
from rival_jax.data.transforms import open_photo, open_picture
from rival_jax.runtime.plugins import no_such
from rival_jax.types import Geometry


def load(
    root: Path,
    split: str,
    *,
    name: str = "rival10",
    image: str = "image",
    label: str = "label",
    mask: str = "object_mask",
    mask_format: str = "grey",
    mask_values: tuple[int | str, ...] = (),
    ignore: tuple[int | str, ...] = (),
    void: str = "background",
    file_name: str = "file_name",
    attributes: bool = False,
    alpha_colour: str = "white",
    max_pixels: int = MAX_PIXELS,
) -> Tfds:
    """One split of a prepared TFDS data set, sorted by name.

    Args:
      root: TFDS's data_dir; empty for its own default (TFDS_DATA_DIR or ~/tensorflow_datasets).
      split: "train", "test[:50%]" or another that the data set has.
      name: "rival10", "rival10/removed_released", "oxford_iiit_pet:4.0.0": data set, perhaps
        config, perhaps version.
      image, label, mask, file_name: keys of features. Without `file_name` ("") an example is named
        by its split and number, so its noise changes when the data set is prepared again.
      mask_format: see `mask_formats`; "grey" takes stored values from 0 to 255 unchanged.
      mask_values: instead, the stored values that mean object: (1,) for oxford_iiit_pet.
      ignore, void: values of unlabelled pixels ((3,) in the same set), and whether they count as
        "background" or "foreground".
      attributes: whether items have RIVAL10's attributes and their masks.
      alpha_colour, max_pixels: see `PhotoRules`; the second counts for masks too.

    Raises:
      ValueError: for a data set that is unknown, or not prepared, with the command that prepares
        it; for a missing split or feature, listing those there are.
    """
    rules = PhotoRules(alpha_colour, max_pixels, "--config.data.tfds.")
    masks = reader("tfds", mask_format, mask_values, ignore, void)
    builder = prepared(name, root)
    splits = list(builder.info.splits)
    if split.split("[")[0] not in splits:
        raise ValueError(f"data tfds: {name}: split: " + no_such(split, splits))
    check_features(builder.info, image, label, mask, file_name, attributes)
    keys = {"image": image, "label": label, "mask": mask, "file_name": file_name}
    return Tfds(builder, split, keys, masks, attributes, rules)


class Tfds:
    """An `AttributeSource` over records read by number, from any thread."""

    def __init__(
        self,
        builder: Any,
        split: str,
        keys: Mapping[str, str],
        masks: tuple[Read, tuple[str, ...]],
        attributes: bool,
        rules: PhotoRules,
    ) -> None:
        from tensorflow_datasets import decode

        features, self._keys, self._rules = builder.info.features, keys, rules
        self._read_mask, self.notices = masks
        raw = decode.DeserializeMethod.RAW_BYTES
        self._records = builder.as_data_source(split, deserialize_method=raw)
        self.classes = tuple(features[keys["label"]].names)
        self.class_wnids = _wnids(builder.info.name, self.classes)
        self.attributes = rival10.ATTRIBUTES if attributes else ()
        released = (builder.info.config_name or "").endswith("_released")
        self._rule = "released" if released else "clean"
        wanted = [keys["image"], keys["mask"]]
        wanted += ["attributes", "attribute_fault"] if attributes else []
        self._parse = parser(features, wanted)
        named = self._read_names(features, split)
        self.names = [name for name, _, _ in named]
        self.labels = np.array([label for _, label, _ in named], np.int32)
        self._places = [place for _, _, place in named]
        if attributes:
            self._attribute_names = features["attributes"]["name"].names

    def _read_names(self, features: Any, split: str) -> list[tuple[str, int, int]]:
        """Name, label and place of every record, sorted by name."""
        label, file_name = self._keys["label"], self._keys["file_name"]
        parse = parser(features, [key for key in (label, file_name) if key])
        found = []
        for place in range(len(self._records)):
            example = parse(self._records[place])
            name = example[file_name].decode() if file_name else f"{split}/{place:08d}"
            found.append((name, int(example[label]), place))
        return sorted(found)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, position: int) -> dict[str, Any]:
        name, mask_key = self.names[position], self._keys["mask"]
        example = self._parse(self._records[self._places[position]])
        mask_name = f"{mask_key} of {name}"
        mask = open_picture(io.BytesIO(example[mask_key]), mask_name, "mask", self._rules)
        photo = io.BytesIO(example[self._keys["image"]])
        item = {
            "image": open_photo(photo, name, self._rules),
            "mask": self._read_mask(mask, mask_name),
            "mask_name": mask_name,
        }
        if self.attributes:
            item |= self._attributes(example, item["image"].size, name)
        return item

    def attribute_pixels(self, item: dict[str, Any], geometry: Geometry) -> np.ndarray:
        """An item's `attribute_masks` on the pixels of its photo, as the folder's: [19, h, w]."""
        size = item["image"].size
        return rival10.resized(item["attribute_masks"], geometry, size, self._rule)

    def _attributes(
        self, example: Mapping[str, Any], size: tuple[int, int], name: str
    ) -> dict[str, Any]:
        if example["attribute_fault"]:
            raise ValueError(example["attribute_fault"].decode())
        order, entries = (*rival10.ATTRIBUTES, rival10.OBJECT), example["attributes"]
        labels, changed = np.zeros((2, len(order)), np.int64)
        masks = [Image.new("L", size) for _ in order]
        for i, number in enumerate(entries["name"]):
            attribute = self._attribute_names[number]
            place = order.index(attribute)
            labels[place], changed[place] = entries["present"][i], entries["changed"][i]
            picture = io.BytesIO(entries["mask"][i])
            masks[place] = open_picture(picture, f"{attribute} of {name}", "mask")
        return {
            "attr_labels": labels[:-1],
            "changed_attrs": changed[:-1],
            "attribute_masks": masks,
        }


def _wnids(name: str, classes: tuple[str, ...]) -> tuple[tuple[str, ...], ...] | None:
    """RIVAL10's synsets, or the classes if they are named as synsets."""
    if name == "rival10":
        return tuple(rival10.SYNSETS.values())
    synsets = all(len(c) == 9 and c[0] == "n" and c[1:].isdigit() for c in classes)
    return tuple((c,) for c in classes) if synsets else None
