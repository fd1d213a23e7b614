"""ImageNet-9: objects and backgrounds taken apart and put together (Xiao et al. 2020).

    VARIANT/val/02_wheeled vehicle/*.JPEG      the number is the class

The 1000 outputs belong to nine groups, except 630 that belong to none and are always wrong.
Pictures have 224 pixels and are not resized. BG-gap is the accuracy on mixed_same less that on
mixed_rand.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from rival_jax.data import archives, class_maps
from rival_jax.data.archives import Files
from rival_jax.data.evaluation import Evaluation, in_folders, one_of

VARIANTS = (
    *("original", "mixed_same", "mixed_rand", "mixed_next"),
    *("only_fg", "no_fg", "only_bg_b", "only_bg_t"),
)
EACH = 4050  # pictures of a variant; nobody counted them here
LAYOUT = (
    f"VARIANT/val/00_dog..08_fish/*.JPEG, or their tar; VARIANT is {', '.join(VARIANTS)}; {EACH:,} "
    "pictures of each, it is said"
)
CLASS = re.compile(r"0[0-8]_.*")  # "02_wheeled vehicle", "06_musical instrument"
PHOTO = re.compile(r"(n\d{8})_(\d+)")  # the object's ImageNet photo, first in a picture's name


def load(root: Path, split: str, *, variants: tuple[str, ...] = ()) -> Evaluation:
    """The pictures of some variants, with the factor `variant`; `split` is ignored.

    A unit is the photo that the object comes from, so that variants are compared in pairs.

    Args:
      root: the folder of the variants, or its tar.
      split: any.
      variants: some of `VARIANTS`; (): all that are there.

    Raises:
      ValueError: for unknown or missing variants or class folders; see also
        `archives.at`.
    """
    files = archives.at(root, "bg_challenge").trimmed(VARIANTS)
    there = {name.partition("/")[0] for name in files.pictures}
    for variant in variants:
        one_of("imagenet9", "variants", variant, VARIANTS)
    wanted = [v for v in VARIANTS if v in (variants or there)]
    missing = sorted(set(wanted) - there)
    if missing or not wanted:
        raise ValueError(
            f"imagenet9: {files.where} has no folder {', '.join(missing or VARIANTS)}; there are: "
            f"{', '.join(sorted(there))}"
        )
    known = {name: int(name[:2]) for name in _folders(files) if CLASS.fullmatch(name)}
    names, labels, factor = [], [], []
    for variant in wanted:
        inner = files.below(variant)
        top = "val/" if any(name.startswith("val/") for name in inner.pictures) else ""
        some, mine = in_folders(f"imagenet9 {variant}", inner.below(top), known)
        names += [f"{variant}/{top}{name}" for name in some]
        labels.append(mine)
        factor += [variant] * len(some)
    groups = class_maps.imagenet9()
    lacking = [v for v in VARIANTS if v not in there]
    told = f"imagenet9: not there: {', '.join(lacking)}"
    return Evaluation(
        "imagenet9",
        files,
        tuple(name.lower() for name in class_maps.IMAGENET9),
        names,
        np.concatenate(labels),
        tuple(
            tuple(np.flatnonzero(groups == i).tolist()) for i in range(len(class_maps.IMAGENET9))
        ),
        columns=class_maps.columns("imagenet9"),
        groups=groups,
        factors={"variant": factor},
        units=[_photo(name) for name in names],
        resized=True,
        said=(EACH * len(wanted),),
        told=(told,) if lacking and not variants else (),
    )


def _photo(name: str) -> str:
    found = PHOTO.search(name.rpartition("/")[2])
    return f"{found[1]}_{int(found[2])}" if found else name


def _folders(files: Files) -> set[str]:
    return {name.split("/")[-2] for name in files.pictures if "/" in name}
