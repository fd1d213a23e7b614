"""ImageNet-A: 7,500 photos of 200 classes that a ResNet-50 gets wrong (Hendrycks et al. 2021).

Selected against a ResNet-50, which has 0 % by construction: networks like it rank too low.
Published numbers use 200 outputs (protocol `subset`), RobustViT's all 1000 (`full`).
"""

from __future__ import annotations

from pathlib import Path

from rival_jax.data import archives, class_maps
from rival_jax.data.evaluation import Evaluation, of_synsets

LAYOUT = "imagenet-a/WNID/*.jpg, their tar, or TFDS's data_dir with imagenet_a; 7,500 photos"
FILES = {
    "imagenet-a.tar": (
        687_552_512,
        "3bb3632277e6ba6392ea64c02ddbf4dd2266c9caffd6bc09c9656d28f012589e",
    )
}


def load(root: Path, split: str) -> Evaluation:
    """All photos, for any split; folders are synsets, places 0 to 199, or outputs.

    Raises:
      ValueError: see `archives.at` and `evaluation.of_synsets`.
    """
    files = archives.at(root, "imagenet-a", tfds="imagenet_a")
    return of_synsets("imagenet_a", files, class_maps.columns("imagenet_a"), whole=(7500,))
