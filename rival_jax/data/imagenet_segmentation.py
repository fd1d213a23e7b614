"""ImageNet-segmentation: 4,276 photos of ImageNet with masks, in one file of MATLAB.

    ROOT is gtsegs_ijcv.mat, or a folder with it

MATLAB 7.3 files are HDF5, so h5py is needed. `value/img` refers to photos, stored transposed;
`value/gt` refers to references, and these to labels: 0 background, 1 object, -1 not labelled. No
classes are known, so all is one class. Source: Guillaumin, Kuettel and Ferrari, IJCV 2014.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rival_jax.data.mask_formats import of_labels

FILE = "gtsegs_ijcv.mat"
EXPECTED = f"{FILE}, or a folder with it"
COUNT = 4276
VOID = -1  # label of pixels that do not count
CLASS = "object"


def load(root: Path, split: str) -> ImageNetSegmentation:
    """All photos, in the file's order; `split` does not matter.

    Raises:
      ValueError: if h5py is missing, or the file is missing or of another layout.
    """
    return ImageNetSegmentation(root / FILE if root.is_dir() else root)


class ImageNetSegmentation:
    """A `Source` of one class; photos are read on demand."""

    classes = (CLASS,)
    class_wnids = None

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()  # HDF5 reads in one thread at a time
        self._file: Any = _opened(path)
        try:
            self._photos, self._labels = (self._file[f"value/{name}"][:, 0] for name in KEYS)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} has no value/img and value/gt, {error}; expected is {EXPECTED}"
            ) from error
        count = len(self._photos)
        if count != len(self._labels):
            raise ValueError(f"{path} has {count} photos and {len(self._labels)} masks")
        self.names = [f"{number:05d}" for number in range(count)]
        self.labels = np.zeros(count, np.int32)
        known = "" if count == COUNT else f", where {COUNT:,} are known"
        self.notices = (f"imagenet_segmentation: {count:,} photos{known}; no classes are known",)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, position: int) -> dict[str, Any]:
        name = self.names[position]
        try:
            with self._lock:
                photo = np.array(self._file[self._photos[position]]).transpose(2, 1, 0)
                inner = self._file[self._labels[position]][0, 0]
                labels = np.array(self._file[inner]).transpose(1, 0)
        except (KeyError, TypeError, ValueError, OSError, RuntimeError) as error:
            raise ValueError(f"photo {name} of {self._path} cannot be read: {error}") from error
        labels = labels.astype(np.int64)
        if photo.dtype != np.uint8 or photo.shape[2] != 3 or not set(np.unique(labels)) <= {*KNOWN}:
            raise ValueError(
                f"photo {name} of {self._path} is {photo.dtype} {photo.shape} with labels "
                f"{np.unique(labels)[:5].tolist()}, expected uint8 (h, w, 3) and {KNOWN}"
            )
        return {"image": Image.fromarray(photo), "mask": of_labels(labels, VOID)}


KEYS, KNOWN = ("img", "gt"), (VOID, 0, 1)


def _opened(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ValueError(
            "data imagenet_segmentation needs h5py: pip install 'rival_jax[hdf5]', or pip install "
            "h5py"
        ) from error
    if not path.is_file():
        raise ValueError(f"there is no {path}; --config.data.root is expected to be {EXPECTED}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(
            f"{path} is no file of MATLAB 7.3, which is HDF5: {error}; download {FILE} again"
        ) from error
