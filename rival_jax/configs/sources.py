"""The options of each kind of data set, as blocks of a config: `config.data.masked_folder`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Scenes:
    """Drawn scenes."""

    per_class: int = 10
    background_correlation: float = 0.95
    size: int = 64  # side in pixels that they are drawn at


@dataclass(frozen=True)
class Rival10:
    """RIVAL10 as its authors pack it."""

    variant: str = "ordinary"


@dataclass(frozen=True)
class Rival10Attributes(Rival10):
    """RIVAL10 with the masks of its attributes."""

    attribute_masks: str = "clean"  # | "released": only channels of 255 count, bicubic


@dataclass(frozen=True)
class Pictures:
    """How files of pictures are read."""

    alpha_colour: str = "white"  # behind transparent pixels; "drop": what is stored there
    max_pixels: int = 178_956_970  # a picture that has more is refused


@dataclass(frozen=True)
class Masks(Pictures):
    """How masks are read: see `data.mask_formats`."""

    mask_format: str = "auto"
    mask_values: tuple[int | str, ...] = ()
    ignore: tuple[int | str, ...] = ()
    void: str = "background"


@dataclass(frozen=True)
class MaskedFolder(Masks):
    """Folders of photos and of their masks."""

    class_map: str = ""
    manifest: str = ""
    exif: str = "fit"
    masks_per_photo: Literal["one", "several"] = "one"  # "several": see `data.mask_files`


@dataclass(frozen=True)
class Outlined:
    """Outlines of a labelling tool: LabelMe, CVAT, YOLO."""

    ignore: tuple[str, ...] = ()  # words of outlines that are neither object nor background
    class_from: Literal["outline", "folder"] = "outline"  # the largest outline's word, or a folder


@dataclass(frozen=True)
class HubParquet:
    """Parquet files of the Hugging Face hub, and their columns."""

    image: str = "image"
    label: str = "label"
    mask: str = "mask"
    mask_format: str = "auto"
    mask_values: tuple[int | str, ...] = ()
    ignore: tuple[int | str, ...] = ()
    void: str = "background"


@dataclass(frozen=True)
class ImageFolder(Pictures):
    """A folder of photos alone."""

    exif: str = "photo"


@dataclass(frozen=True)
class Tfds(Masks):
    """A data set of TensorFlow Datasets, and the names of its features."""

    name: str = "rival10"
    image: str = "image"
    label: str = "label"
    mask: str = "object_mask"
    mask_format: str = "grey"
    file_name: str = "file_name"
