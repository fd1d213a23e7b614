"""Which values are kept of an array that is thinned, and how one is made from another."""

from __future__ import annotations

import numpy as np


def evenly(size: int, count: int) -> np.ndarray:
    """`count` places among `size`, evenly spaced, the first one first."""
    return np.arange(count) * size // count


def at_kept(whole, kept):
    """The values of `whole` at the places that `kept` has values of; all, if it is not thinned.

    Of a thinned array the last axis holds some of the values of all that `whole` has beyond it.
    """
    if np.shape(whole) == np.shape(kept):
        return whole
    flat = np.reshape(whole, (*np.shape(kept)[:-1], -1))
    return flat[..., evenly(flat.shape[-1], np.shape(kept)[-1])]


def laid_out(value, part: int, parts: int, axes, shape) -> np.ndarray:
    """One of the equal parts of an array's first axis, transposed and reshaped."""
    return np.split(value, parts)[part].transpose(axes).reshape(shape)
