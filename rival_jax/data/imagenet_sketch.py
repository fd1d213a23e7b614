"""ImageNet-Sketch: black-and-white sketches of all 1000 classes (Wang et al. 2019)."""

from __future__ import annotations

from pathlib import Path

from rival_jax.data import archives
from rival_jax.data.evaluation import Evaluation, of_synsets

LAYOUT = "sketch/WNID/*.JPEG, their zip, or TFDS's data_dir with imagenet_sketch; 50,889 pictures"
FILES = {
    "ImageNet-Sketch.zip": (
        7_593_573_012,
        "4d3ce6b82a7c48aabf14aeac105eb533e75707f152cc858f55bfc022031a72ed",
    )
}
WHOLE = (50_889, 50_000)  # as counted, and as its authors say
ALIKE = (
    "imagenet_sketch: some pictures are others, flipped or turned, which counts them as "
    "independent: intervals are a little too narrow"
)


def load(root: Path, split: str) -> Evaluation:
    """All pictures, for any split.

    Raises:
      ValueError: see `archives.at` and `evaluation.of_synsets`.
    """
    files = archives.at(root, "sketch", tfds="imagenet_sketch")
    return of_synsets("imagenet_sketch", files, range(1000), whole=WHOLE, told=(ALIKE,))
