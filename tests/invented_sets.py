"""A data set of coloured photos for networks of ImageNet's outputs: `tests.invented_sets`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

OUTPUTS = ((3,), (5, 7), (11,), ())  # of four classes, the last of which is not scored


@dataclasses.dataclass(eq=False)
class Invented:
    """An `EvaluationSource`."""

    names: list[str]
    labels: np.ndarray
    classes: tuple[str, ...] = ("sky", "sea", "sand", "other")
    class_wnids = None
    outputs: tuple[tuple[int, ...], ...] = OUTPUTS
    columns: tuple[int, ...] | None = (3, 5, 7, 11)
    groups: np.ndarray | None = None
    real: tuple[tuple[int, ...], ...] | None = None
    factors: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    units: Sequence[str] | None = None
    evaluation_only: bool = False
    resized: bool = False
    bad: tuple[int, ...] = ()
    size: int = 20
    tint: int = 0
    read: list[int] = dataclasses.field(default_factory=list)  # positions, as they were asked for

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, position: int) -> dict[str, Any]:
        self.read.append(position)
        if position in self.bad:
            raise ValueError(f"photo {self.names[position]} cannot be decoded")
        rng = np.random.default_rng([position, self.tint])
        pixels = rng.integers(0, 256, (self.size, self.size, 3), np.uint8)
        return {"image": Image.fromarray(pixels)}


def load(
    root: Path,
    split: str,
    *,
    photos: int = 30,
    bad: tuple[int, ...] = (),
    clustered: bool = False,
    evaluation_only: bool = False,
    resized: bool = False,
    factor: str = "hue",
    wrong: int = 0,
    shift: int = 0,
    tint: int = 0,
) -> Invented:
    """Photos of the four classes in turn, with two factors' words; all of them invented."""
    labels = np.arange(photos, dtype=np.int32) % 4
    labels[:wrong] = 9
    numbers = np.arange(photos)
    return Invented(
        [f"{split}/{(i + shift):03d}.png" for i in range(photos)],
        labels,
        real=tuple(() if i % 5 == 0 else (int(i % 4 * 2 + 3), 400) for i in range(photos)),
        factors={factor: [("red", "blue")[i % 3 // 2] for i in numbers]},
        units=[f"object {i // 6}" for i in numbers] if clustered else None,
        evaluation_only=evaluation_only,
        resized=resized,
        bad=bad,
        size=16 if resized else 20,
        tint=tint,
    )
