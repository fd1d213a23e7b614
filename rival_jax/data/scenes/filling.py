"""Which samples a polygon fills, the same on every machine and with every version of Pillow.

Pillow's own polygons differ between its versions, which would change the pictures that the bundled
networks were trained on. This draws what Pillow 13 draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HALF = np.float32(0.5)


class _Edges:
    """The non-horizontal sides of many polygons, with corners on whole samples."""

    def __init__(self, ends: np.ndarray, owner: np.ndarray, lowest: np.ndarray) -> None:
        (self.x, self.y), (x1, y1) = ends[:, 0].T, ends[:, 1].T
        self.owner, self.lowest = owner, lowest  # `lowest`: the last row of the whole polygon
        self.slope = (x1 - self.x).astype(np.float32) / (y1 - self.y).astype(np.float32)
        self.top, self.bottom = np.minimum(self.y, y1), np.maximum(self.y, y1)

    def at(self, edges: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Where edges cross rows, in single precision."""
        along = (rows - self.y[edges]).astype(np.float32)
        return along * self.slope[edges] + self.x[edges].astype(np.float32)


def filled(polygons: Sequence[np.ndarray], side: int) -> tuple[np.ndarray, np.ndarray]:
    """The samples of a canvas `side` wide that polygons fill: (polygon [n], sample [n]).

    In the order of the polygons, in row-major positions; a sample may occur twice. Corners are
    truncated to whole samples, and what the outline touches is filled.

    Args:
      polygons: corners (x right, y down) of each, [n, 2], in samples; they may lie outside.

    >>> filled([np.array([(0, 0), (2, 0), (2, 1)])], 4)[1].tolist()
    [0, 1, 2, 0, 1, 2, 6]
    """
    if not polygons:
        return np.zeros(0, int), np.zeros(0, int)
    counts = np.array([len(points) for points in polygons])
    owner, begin = np.repeat(np.arange(len(counts)), counts), np.cumsum(counts) - counts
    start = np.trunc(np.concatenate(polygons)).astype(np.int64)
    following = np.arange(1, len(start) + 1)
    following[begin + counts - 1] = begin  # the last corner leads to the first
    stop = start[following]
    lowest = np.repeat(np.maximum.reduceat(start[:, 1], begin), counts)
    ends, level = np.stack([start, stop], 1), start[:, 1] == stop[:, 1]
    x = np.sort(ends[level, :, 0], axis=1)
    sides = np.stack([owner[level], start[level, 1], x[:, 0], x[:, 1]], 1)
    edges = _Edges(ends[~level], owner[~level], lowest[~level])
    runs = np.concatenate([sides, _between(edges, side)])
    _, row, first, last = runs.T
    runs = runs[(row >= 0) & (row < side) & (first < side) & (last >= 0) & (first <= last)]
    index, row, first, last = runs[np.argsort(runs[:, 0], kind="stable")].T
    first, last = np.maximum(first, 0), np.minimum(last, side - 1)
    length = last - first + 1
    before = np.cumsum(length) - length
    position = np.repeat(row * side + first - before, length) + np.arange(length.sum())
    return np.repeat(index, length), position


def _between(edges: _Edges, side: int) -> np.ndarray:
    """Runs between crossings, paired from the left: [n, 4] of polygon, row, first, last."""
    height = np.maximum(np.minimum(edges.bottom, side - 1) - np.maximum(edges.top, 0) + 1, 0)
    edge = np.repeat(np.arange(len(height)), height)
    row = np.arange(height.sum()) - np.repeat(np.cumsum(height) - height, height)
    row += np.maximum(edges.top, 0)[edge]
    x = edges.at(edge, row)
    # An edge that ends above the polygon's last row counts twice there: the next one begins.
    twice = (row == edges.bottom[edge]) & (row < edges.lowest[edge])
    for at_top in (True, False):
        corner = (row == edges.top[edge]) if at_top else (row == edges.bottom[edge]) & ~twice
        x[corner] = _joined(edges, edge[corner], row[corner], x[corner], 1 if at_top else -1)
    edge, row, x = (np.concatenate([each, each[twice]]) for each in (edge, row, x))
    owner = edges.owner[edge]
    order = np.lexsort((x, row, owner))
    left, right = x[order].reshape(-1, 2).T
    first = np.copysign(np.floor(np.abs(left) + HALF), left)
    last = np.copysign(np.ceil(np.abs(right) - HALF), right)
    return np.stack([owner[order][::2], row[order][::2], first, last], 1).astype(np.int64)


def _joined(
    edges: _Edges, edge: np.ndarray, row: np.ndarray, x: np.ndarray, step: int
) -> np.ndarray:
    """Crossings at corners, moved where two edges leave a corner flatly to the same side.

    Otherwise the row between the tip and the start of the next row would stay empty.
    """
    sloped = edges.slope[edge] != 0
    places = np.stack([edges.owner[edge], row, np.rint(x).astype(np.int64), sloped])
    order = np.lexsort(places)  # stable: where edges meet, the first comes first
    group = np.flatnonzero((np.diff(places[:, order], prepend=-1) != 0).any(0))
    partner = np.empty_like(order)
    partner[order] = np.repeat(order[group], np.diff(group, append=len(order)))
    has = sloped & (partner != np.arange(len(edge)))
    one, other = (edges.at(edge[k], row + step) for k in (slice(None), partner))
    near, far = np.maximum(one, other), np.minimum(one, other)
    right, left = has & (x > near + 1), has & (x < far - 1)
    moved = np.where(right, _rounded(near) + 1, np.where(left, _rounded(far) - 1, x))
    return moved.astype(np.float32)


def _rounded(x: np.ndarray) -> np.ndarray:
    """To whole numbers, halves away from 0."""
    return np.copysign(np.floor(np.abs(x).astype(np.float64) + 0.5), x)
