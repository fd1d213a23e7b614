"""ObjectNet: photos of household things from odd sides (Barbu et al. 2019); for evaluation only.

Its classes are identified only by folder name: the numbers of its challenge and of sorted folders
differ for 138 of 313. 113 of them are in ImageNet; 9 of these match several of its outputs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rival_jax.data import archives, class_maps
from rival_jax.data.evaluation import Evaluation, in_folders, one_of

LAYOUT = (
    "objectnet-1.0/images/FOLDER/*.png, or an archive of it that is not locked; 50,273 photos in "
    "313 folders, 18,574 of them in the 113 that are ImageNet's"
)
WHOLE = {"scored": (18_574,), "all": (50_273,)}


def load(root: Path, split: str, *, border: int = 2, folders: str = "scored") -> Evaluation:
    """All photos, for any split.

    Args:
      root: the archive, or the folder objectnet-1.0, its `images`, or its parent.
      split: any.
      border: pixels cut off on each side before anything else, since photos have a red frame.
        RobustViT cuts none, all others 2.
      folders: "scored": of ImageNet's 113 classes; "all": others too, whose `outputs` are ().

    Raises:
      ValueError: for a folder that is not one of the 313; see also `archives.at`.
    """
    one_of("objectnet", "folders", folders, WHOLE)
    if border < 0:
        raise ValueError(f"--config.data.objectnet.border={border}: pixels, 0 or more")
    known = class_maps.objectnet()
    inner = ("objectnet-1.0/images", "images", "objectnet-1.0")
    files = archives.at(root, *inner).trimmed({one.folder for one in known})
    label_of = {one.folder: label for label, one in enumerate(known)}
    names, labels = in_folders("objectnet", files, label_of)
    classes = [i for i, one in enumerate(known) if one.outputs or folders == "all"]
    place = np.full(len(known), -1, np.int32)
    place[classes] = np.arange(len(classes))
    kept = np.flatnonzero(place[labels] >= 0)
    return Evaluation(
        "objectnet",
        files,
        tuple(known[i].folder for i in classes),
        [names[i] for i in kept],
        place[labels[kept]],
        tuple(known[i].outputs for i in classes),
        columns=class_maps.columns("objectnet"),
        evaluation_only=True,
        whole=WHOLE[folders],
        border=border,
    )
