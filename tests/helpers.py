"""Tolerances with names, and readers of the reference data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

EXACT = 1e-6  # pixels
REFERENCE = 1e-5  # probabilities, RFS, figure numbers
PARITY = 1e-4  # logits, features, maps


def golden(shared: Path, name: str) -> dict[str, np.ndarray]:
    """One `.npz` of the RIVAL10 reference data, as a dict."""
    with np.load(shared / "golden" / "rival10" / name) as file:
        return dict(file)


def nhwc(array: np.ndarray) -> np.ndarray:
    """The reference data's channels-first pictures [..., c, h, w], channels last."""
    return np.moveaxis(array, -3, -1)
