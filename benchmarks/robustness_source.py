"""Invented ImageNet validation photos for `robustness.py`: named by a dot, nothing on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rival_jax.data import class_maps


@dataclasses.dataclass(eq=False)
class Invented:
    """An `EvaluationSource` of grey photos with reassessed labels and a factor."""

    names: list[str]
    labels: np.ndarray
    real: tuple[tuple[int, ...], ...]
    factors: Mapping[str, Sequence[str]]
    classes = tuple(one.wnid for one in class_maps.imagenet())
    class_wnids = tuple((one.wnid,) for one in class_maps.imagenet())
    outputs = tuple((i,) for i in range(1000))
    columns = groups = units = None
    evaluation_only = resized = False

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, position: int) -> dict[str, Any]:
        return {"image": Image.new("RGB", (500, 375), (position % 256, 128, 128))}


def load(root: Path, split: str, *, photos: int = 50_000) -> Invented:
    """So many photos of 1000 classes, in four styles."""
    rng = np.random.default_rng(0)
    labels = np.arange(photos, dtype=np.int32) % 1000
    lists = rng.integers(0, 1000, (photos, 2))
    keep = rng.random(photos)
    alone = [(label,) for label in range(1000)]
    real = tuple(
        () if k < 0.06 else (int(label), *map(int, some)) if k > 0.8 else alone[label]
        for k, label, some in zip(keep, labels, lists, strict=True)
    )
    styles = [("art", "sketch", "toy", "tattoo")[i] for i in rng.integers(0, 4, photos)]
    names = [f"val/{i:08d}.JPEG" for i in range(photos)]
    return Invented(names, labels, real, {"style": styles})
