"""ImageNet-R: 30,000 renditions of 200 classes (Hendrycks et al. 2021), by style.

Published numbers use 200 outputs (protocol `subset`), RobustViT's all 1000 (`full`).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rival_jax.data import archives, class_maps
from rival_jax.data.evaluation import Evaluation, of_synsets

LAYOUT = "imagenet-r/WNID/STYLE_N.jpg, their tar, or TFDS's data_dir with imagenet_r; 30,000 photos"
FILES = {
    "imagenet-r.tar": (
        2_191_079_936,
        "18c6bf493b39a0d975d48e587437f562caab9c52ae6327dcfa9dd8eb54aa1b52",
    )
}
SAID = (  # styles that it is said to have
    *("art", "cartoon", "deviantart", "embroidery", "graffiti", "graphic", "misc", "origami"),
    *("painting", "sculpture", "sketch", "sticker", "tattoo", "toy", "videogame"),
)


def load(root: Path, split: str) -> Evaluation:
    """All photos, for any split, with the factor `style`, the start of the file name.

    Raises:
      ValueError: see `archives.at` and `evaluation.of_synsets`.
    """
    files = archives.at(root, "imagenet-r", tfds="imagenet_r")
    found = of_synsets("imagenet_r", files, class_maps.columns("imagenet_r"), whole=(30_000,))
    style = [name.rpartition("/")[2].rpartition("_")[0] for name in found.names]
    others = sorted(set(style) - set(SAID))
    some = f"{len(others)} style{'s' * (len(others) > 1)}, such as {others[0]!r}" if others else ""
    told = f"imagenet_r: {some}, are none of the 15 that it is said to have (not verified)"
    return dataclasses.replace(found, factors={"style": style}, told=(told,) if others else ())
