"""The types that all parts share: batches, taps, forwards, models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import jax
import numpy as np

Array = jax.Array
Variables = Mapping[str, Any]
"""A model's weights: a nested dict of arrays, `{"params": ..., "batch_stats": ...}`."""

Taps = Mapping[str, Array]
"""Named intermediate values, `"block11/attention" -> [b, heads, n, n]`."""

Forward = Callable[[Variables, Array, Taps], tuple[Array, Taps]]
"""`(variables, images [b, h, w, 3] in [0, 1], added) -> (logits [b, c], taps)`. Pure.

Every array in `added` is added to the tap of that name, so zeros change nothing, and the gradient
with respect to them is the gradient with respect to the activation.
"""

Score = Callable[[Array, Taps], Array]
"""What to explain: `(logits [b, c], taps) -> [b]`."""


class Batch(TypedDict, total=False):
    """One step's examples, leading axis `b`; which keys are present depends on the data set.

    Pictures may be on their way to a device as uint8, see `parallel.floats`.
    """

    image: np.ndarray | Array  # float32 [b, h, w, 3] in [0, 1]
    mask: np.ndarray | Array  # float32 [b, h, w] in [0, 1], 1 on the object
    label: np.ndarray | Array  # int32 [b]
    index: np.ndarray | Array  # int32 [b], position in the data set; -1 is padding
    noise_id: np.ndarray | Array  # uint32 [b], stable hash of the example's name: keys its noise
    attribute_masks: np.ndarray | Array  # float32 [b, a, h, w] in [0, 1], all 0 where absent
    outputs: np.ndarray | Array  # int32 [b, k], the network's outputs for the classes trained on
    other_image: np.ndarray | Array  # image and mask of another example, see `objectives`
    other_mask: np.ndarray | Array


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How a photo becomes the array a model sees.

    `resize="squash"` scales the whole photo to `size`, whatever its aspect ratio (the RIVAL10
    study); `resize="crop"` scales the short side to `size / crop_pct` and cuts the centre.
    """

    size: tuple[int, int] = (224, 224)  # height, width
    resize: str = "squash"
    interpolation: str = "bilinear"  # "nearest" | "bilinear" | "bicubic" | "lanczos"
    crop_pct: float = 1.0


def identity(value: Array) -> Array:
    """The value itself: `to_grid` for networks whose taps are grids."""
    return value


@dataclasses.dataclass(frozen=True)
class Model:
    """A network without its weights. Hashable, so it can be a static argument of `jit`.

    `forward` takes pixels in [0, 1] and normalises them itself with `mean` and `std`.
    """

    name: str
    forward: Forward
    init: Callable[[Array], Variables]
    num_classes: int
    cam_tap: str  # the layer class activation maps read: "layer4", "block11/norm1"
    feature_tap: str = "features"  # penultimate features [b, f]
    attention_taps: tuple[str, ...] = ()  # post-softmax [b, heads, n, n], first block to last
    to_grid: Callable[[Array], Array] = identity  # tap value -> [b, h, w, c]
    image_size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    interpolation: str = "bilinear"
    crop_pct: float = 1.0
    class_names: tuple[str, ...] | None = None  # "synonym, synonym"; None: unknown
    notices: tuple[str, ...] = ()  # assumptions about the file, for console and page
    # Unusual arithmetic that the weights do not show: part of the identity of results.
    settings: tuple[str, ...] = dataclasses.field(default=(), compare=False)
