"""Hard ImageNet: photos of 15 of ImageNet's classes whose objects are hard to see, with masks.

    ROOT/val/WNID_NAME.JPEG            masks: all that is not black is object
    PHOTOS/val/WNID/NAME.JPEG          the photos, which are ImageNet's

The synset is in the mask's name, so the authors' pickles are not needed. Source: Moayeri et al.,
2022.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path

from rival_jax.data import archives, class_maps
from rival_jax.data.archives import Files, Span, Stored
from rival_jax.data.checks import report
from rival_jax.data.evaluation import WNID, Evaluation, of_words
from rival_jax.data.mask_formats import reader
from rival_jax.data.source import Item
from rival_jax.data.transforms import open_picture

LAYOUT = (
    "masks in val/WNID_NAME.JPEG, and ImageNet's photos in images/val/WNID/NAME.JPEG or where "
    "the option photos says; 15 classes"
)
# Outputs of the 15 classes that it is said to have; the authors' own list is a pickle.
SAID = (379, 416, 433, 537, 602, 655, 706, 746, 785, 795, 801, 810, 837, 890, 981)


@dataclasses.dataclass(frozen=True, eq=False)
class HardImageNet(Evaluation):
    """An `Evaluation` whose items have masks too."""

    masks: Mapping[str, Stored] = dataclasses.field(default_factory=dict)

    def __getitem__(self, position: int) -> Item:
        name = self.names[position]
        mask_name = f"of {name}"
        stored = open_picture(io.BytesIO(self.masks[name].read()), mask_name, "mask")
        read, _ = reader("hard_imagenet", "nonzero")
        mask = read(stored, mask_name)
        return {**super().__getitem__(position), "mask": mask, "mask_name": mask_name}


def load(root: Path, split: str, *, photos: str = "") -> HardImageNet:
    """The photos that have masks.

    Args:
      root: folder of the masks, or an archive of them.
      split: "train"; every other name means "val".
      photos: folder of ImageNet, with the photos in SPLIT/WNID/, in WNID/, flat in SPLIT/, or flat;
        "": ROOT/images.

    Raises:
      ValueError: for masks not named by a synset, and missing photos.
    """
    split = "train" if split == "train" else "val"
    masks = archives.at(root, split)
    base = Path(photos).expanduser() if photos else root / "images"
    forms = ("{split}/{wnid}/{name}", "{wnid}/{name}", "{split}/{name}", "{name}")
    places, mask_of, faults = {}, {}, []
    for mask in (name for name in masks.pictures if not name.startswith("images/")):
        wnid, _, name = mask.rpartition("/")[2].partition("_")
        ways = [base / form.format(split=split, wnid=wnid, name=name) for form in forms]
        found = next((path for path in ways if path.is_file()), None)
        if not WNID.fullmatch(wnid) or wnid not in class_maps.index_of():
            faults.append(f"mask {mask} is not named by a synset")
        elif not found:
            faults.append(f"mask {mask} has no photo {ways[0]}")
        else:
            places[f"{wnid}/{name}"], mask_of[f"{wnid}/{name}"] = (
                Span(str(found)),
                masks.places[mask],
            )
    if faults:
        cure = "give it the option photos, the folder of ImageNet's photos"
        raise ValueError("hard_imagenet: " + report(faults, len(masks.pictures), "masks", cure))
    names = sorted(places)
    words = [name.partition("/")[0] for name in names]
    found = of_words("hard_imagenet", Files(base, places), names, words)
    others = sorted(set(found.columns or ()) - set(SAID))
    names = ", ".join(class_maps.imagenet()[i].name for i in others)
    told = f"hard_imagenet: {names}: none of the 15 classes that it is said to have (not verified)"
    found = dataclasses.replace(found, told=(told,) if others else ())
    fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return HardImageNet(**fields, masks=mask_of)
