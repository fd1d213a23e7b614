"""Any labelled photos: CLASS/NAME.jpg in a folder or an archive, at any depth.

Classes are ImageNet's if all folders are synsets or follow the naming `named`. Otherwise they are
the set's own, for networks with these classes.
"""

from __future__ import annotations

from pathlib import Path

from rival_jax.data import archives
from rival_jax.data.evaluation import Evaluation, of_words

LAYOUT = "[SPLIT/]CLASS/*.jpg, or an archive of it"


def load(root: Path, split: str, *, named: str = "") -> Evaluation:
    """The photos of a split; all photos if it has no folder.

    Args:
      root: a folder or an archive.
      split: folder of the split.
      named: see `evaluation.of_words`: "pug", "imagenet_d", "objectnet", "siscore" or "outputs",
        numbers of ImageNet's outputs.

    Raises:
      ValueError: for photos in no class folder; see also `archives.at` and `evaluation.of_words`.
    """
    files = archives.at(root, split).trimmed()
    loose = [name for name in files.pictures if "/" not in name]
    if loose:
        raise ValueError(
            f"labelled_folder: {len(loose)} photos of {files.where} lie in no class folder, such "
            f"as {loose[0]}"
        )
    words = [name.partition("/")[0] for name in files.pictures]
    return of_words("labelled_folder", files, files.pictures, words, named)
