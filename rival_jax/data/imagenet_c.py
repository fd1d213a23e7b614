"""ImageNet-C: the validation photos under 15 corruptions and 4 more, in five severities.

    CORRUPTION/1..5/WNID/*.JPEG      folders, or the tars blur.tar, noise.tar, ... in one folder

Pictures have 224 pixels and are not resized. Source: Hendrycks and Dietterich 2019.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from rival_jax.data import archives, class_maps
from rival_jax.data.evaluation import Evaluation, one_of
from rival_jax.relative_errors import ALEXNET_ERROR

CORRUPTIONS = (*ALEXNET_ERROR, "gaussian_blur", "saturate", "spatter", "speckle_noise")
LAYOUT = (
    "CORRUPTION/1..5/WNID/*.JPEG, or the tars blur, digital, extra, noise and weather in one "
    "folder; 50,000 pictures of each of 19 x 5"
)
PLACE = re.compile(rf"(?:^|/)({'|'.join(CORRUPTIONS)})/([1-5])/(?:(n\d{{8}})/)?([^/]+)$")


def load(
    root: Path, split: str, *, corruptions: tuple[str, ...] = (), wnid: str = ""
) -> Evaluation:
    """Pictures with the factors `corruption` and `severity`, for any split.

    A unit is the photo that was corrupted.

    Args:
      root: folder of the corruptions or of their tars, or a single tar.
      split: any.
      corruptions: some of `CORRUPTIONS`; (): all that are there.
      wnid: the synset of pictures directly in a severity's folder; "": these are refused.

    Raises:
      ValueError: for unknown or missing corruptions, for pictures without a synset; see also
        `archives.at`.
    """
    for corruption in corruptions:
        one_of("imagenet_c", "corruptions", corruption, CORRUPTIONS)
    known = class_maps.index_of()
    if wnid and wnid not in known:
        raise ValueError(f"imagenet_c: option wnid={wnid}: not one of ImageNet's synsets")
    files = archives.at(root, "imagenet-c", "ImageNet-C")
    names, found, left_out = [], [], []
    for name in files.pictures:
        place = PLACE.search(name)
        if not place:
            left_out.append(name)
        elif not corruptions or place[1] in corruptions:
            names.append(name)
            found.append((place[1], place[2], place[3] or wnid, place[4]))
    bad = [name for name, cell in zip(names, found, strict=True) if cell[2] not in known]
    if bad:
        raise ValueError(
            f"imagenet_c: {len(bad)} pictures of {files.where} lie in no folder of ImageNet's "
            f"synsets, such as {bad[0]}; if all are of one class, name it with "
            "the option wnid"
        )
    lacking = set(corruptions) - {cell[0] for cell in found}
    if lacking or not names:
        raise ValueError(
            f"imagenet_c: no pictures of {', '.join(sorted(lacking)) or 'a corruption'} in "
            f"{files.where}: expected {LAYOUT}"
        )
    told = "imagenet_c: pictures in folders of no corruption are left out"
    cells = len({cell[:2] for cell in found})
    return Evaluation(
        "imagenet_c",
        files,
        tuple(known),
        names,
        np.array([known[cell[2]] for cell in found], np.int32),
        tuple((output,) for output in known.values()),
        tuple((name,) for name in known),
        factors={"corruption": [c[0] for c in found], "severity": [c[1] for c in found]},
        units=[f"{cell[2]}/{cell[3]}" for cell in found],
        resized=True,
        told=(f"{told}: {len(left_out)}, such as {left_out[0]}",) if left_out else (),
        whole=(50_000 * cells,),
    )
