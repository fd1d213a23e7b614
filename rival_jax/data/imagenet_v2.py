"""ImageNet-v2: three new test sets of 10,000 photos, made as ImageNet was (Recht et al. 2019).

Folders are called 0 to 999 and are read by value: sorted as text, only 12 of 1000 would get their
own class.
"""

from __future__ import annotations

from pathlib import Path

from rival_jax.data import archives
from rival_jax.data.evaluation import Evaluation, of_synsets, one_of

VARIANTS = {
    "matched-frequency": "imagenetv2-matched-frequency-format-val",
    "threshold0.7": "imagenetv2-threshold0.7-format-val",
    "top-images": "imagenetv2-top-images-format-val",
}
TFDS = {"threshold0.7": "threshold-0.7", "top-images": "topimages"}
LAYOUT = (
    f"{VARIANTS['matched-frequency']}/0..999/*.jpeg (or threshold0.7, top-images), their tar after "
    "gunzip, or TFDS's data_dir with imagenet_v2; 10,000 photos, 10 of each class"
)
FILES = {
    "imagenetv2-matched-frequency.tar.gz": (
        0,
        "f0c37fdf925916b19ea1323cd9a2208cdb6959ba2c32eef2a7fc393835c9ca7c",
    ),
    "imagenetv2-threshold0.7.tar.gz": (
        0,
        "32142bfe998f9cfa4141be691f6a80eeb1e27b24bd532a668eb08c26d98897a2",
    ),
    "imagenetv2-top-images.tar.gz": (
        0,
        "85e4ace30f3f0d660152062254b8759dda66267b27f7ec0fd8d5768f1073a04b",
    ),
}


def load(root: Path, split: str, *, variant: str = "matched-frequency") -> Evaluation:
    """All photos of a variant, for any split.

    Args:
      root: the variant's folder or its parent, or its tar.
      split: any.
      variant: "matched-frequency", which RobustViT and timm use, "threshold0.7" or "top-images".

    Raises:
      ValueError: for an unknown variant, or if another variant lies there; see also
        `archives.at` and `evaluation.of_synsets`.
    """
    one_of("imagenet_v2", "variant", variant, VARIANTS)
    folder, tfds = VARIANTS[variant], f"imagenet_v2/{TFDS.get(variant, variant)}"
    files = archives.at(root, folder, tfds=tfds)
    for other, elsewhere in VARIANTS.items():
        top = files.pictures[0].partition("/")[0]
        if other != variant and elsewhere in (files.where.name, top):
            raise ValueError(
                f"imagenet_v2: {root} holds {elsewhere}, not {folder}; give "
                f"it the option variant={other} or name the other folder"
            )
    return of_synsets("imagenet_v2", files, range(1000), whole=(10_000,))
