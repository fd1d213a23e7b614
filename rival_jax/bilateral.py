"""The bilateral solver: a coarse mask moved to the edges of its photo; whether a mask is usable.

On the host, by NumPy and SciPy's sparse algebra: photos differ in size and their matrices in
pattern, and a compiled program has fixed shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import linalg

# Rows: luma and both chromas of JPEG, of RGB from 0 to 255.
_YUV = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_OFFSET = np.array([0, 128, 128])
CHOICES = ("largest", "released")
HIT = 0.5  # IoU of boxes above which an object counts as found
# What makes a mask doubtful. On bundled pictures masks below LEAST_AREA had an IoU of 0.08 (others
# 0.70), and masks below AGREEMENT one of 0.23 (others 0.75).
LEAST_AREA, MOST_AREA = 0.05, 0.7  # of the photo
BORDER = 0.5  # share of the photo's border that the mask covers
AGREEMENT = 0.3  # IoU between coarse and refined mask
GAP = 0.05  # gap between third and second eigenvalue, as a share of the third


class Sigmas(NamedTuple):
    """The bilateral grid's cell size along each kind of axis."""

    spatial: float = 16  # pixels
    luma: float = 16  # of 255
    chroma: float = 8


class Grid:
    """The occupied cells of a photo's bilateral grid, and how they neighbour each other."""

    def __init__(self, image: np.ndarray, sigmas: Sigmas):
        """Args: image: uint8 [h, w, 3], RGB."""
        height, width = image.shape[:2]
        yuv = image.reshape(-1, 3) @ _YUV.T + _OFFSET
        rows, columns = np.divmod(np.arange(height * width), width)
        spatial, luma, chroma = sigmas
        sides = np.array([spatial, spatial, luma, chroma, chroma])
        cells = (np.column_stack([columns, rows, yuv]) / sides).astype(np.int64)
        shape = cells.max(0) + 3  # a margin, so that no neighbour wraps round
        keys = np.ravel_multi_index(tuple(cells.T + 1), tuple(shape))
        self.keys, self.vertex = np.unique(keys, return_inverse=True)
        self.size = len(self.keys)
        steps = np.append(np.cumprod(shape[:0:-1])[::-1], 1)
        self.blur = sum(
            map(self._neighbours, steps.tolist()), 10 * sparse.eye_array(self.size)
        ).tocsr()

    def _neighbours(self, step: int) -> sparse.csr_array:
        """[vertices, vertices], 1 between cells next to each other in one direction."""
        after = np.searchsorted(self.keys, self.keys + step).clip(max=self.size - 1)
        found = np.flatnonzero(self.keys[after] == self.keys + step)
        shape = (self.size, self.size)
        one_way = sparse.csr_array((np.ones(len(found)), (found, after[found])), shape=shape)
        return one_way + one_way.T

    def splat(self, values: np.ndarray) -> np.ndarray:
        """[vertices], sums over the pixels of every cell."""
        return np.bincount(self.vertex, values, self.size)

    def bistochastic(self, steps: int = 10) -> tuple[sparse.dia_array, sparse.dia_array]:
        """Diagonals (Dm, Dn) so that Dn blur Dn has the row sums Dm, nearly the masses."""
        mass, scale = self.splat(np.ones(len(self.vertex))), np.ones(self.size)
        for _ in range(steps):
            scale = np.sqrt(scale * mass / (self.blur @ scale))
        mass = scale * (self.blur @ scale)
        return sparse.diags_array(mass), sparse.diags_array(scale)


def solve(
    image: np.ndarray,
    target: np.ndarray,
    sigmas: Sigmas = Sigmas(),  # noqa: B008
    *,
    confidence: float = 0.999,
    smoothness: float = 256.0,
) -> np.ndarray:
    """The target smoothed along the photo's edges, float64 [h, w].

    Minimises smoothness * (differences between like pixels close by)^2 + confidence * (difference
    from the target)^2 over the photo's bilateral grid: at most 25 steps of conjugate gradients,
    preconditioned by the diagonal, to a relative residual of 1e-5.

    Args:
      image: uint8 [h, w, 3], RGB.
      target: [h, w] in [0, 1], the coarse mask.
      sigmas: the grid's cell sizes.

    Raises:
      ValueError: if the two differ in size.

    Source: Barron and Poole, The Fast Bilateral Solver, ECCV 2016.
    """
    if image.shape != (*target.shape, 3) or image.dtype != np.uint8:
        raise ValueError(f"image: got {image.dtype} {image.shape}, expected uint8 [h, w, 3]")
    grid = Grid(image, sigmas)
    mass, scale = grid.bistochastic()
    weight = np.full(target.size, confidence)
    data, wanted = grid.splat(weight), grid.splat(weight * target.ravel())
    smooth = smoothness * (mass - scale @ grid.blur @ scale)
    matrix = (smooth + sparse.diags_array(data)).tocsr()
    preconditioner = sparse.diags_array(1 / np.maximum(matrix.diagonal(), 1e-5))
    found, _ = linalg.cg(
        matrix, wanted, x0=wanted / data, rtol=1e-5, atol=0, maxiter=25, M=preconditioner
    )
    return found[grid.vertex].reshape(target.shape)


class Refined(NamedTuple):
    """A coarse mask after refinement."""

    mask: np.ndarray  # int32 [h, w]: 1 on the object, or -1 as released
    iou: float  # between the coarse mask and the solver's


def choose(
    soft: np.ndarray, coarse: np.ndarray, choice: str = "largest", agreement: float = 0.5
) -> Refined:
    """One object of the solver's output: above 1/2, holes filled, one 4-connected part.

    Args:
      soft: the result of `solve`.
      coarse: bool [h, w], the mask that was solved for.
      choice: "largest": the largest part, or the coarse mask if that part is empty, the whole
        image, or agrees too little with it | "released": the second largest of background and parts
        (the background, if the object covers more than half the image), or the whole image if there
        are no parts; all values negated if it agrees too little with the coarse mask.
      agreement: the least IoU of the solver's object and the coarse mask.
    """
    if choice not in CHOICES:
        raise ValueError(f"choice {choice!r}, expected one of {', '.join(CHOICES)}")
    labelled: Any = ndimage.label(ndimage.binary_fill_holes(soft > 0.5))
    parts, count = labelled
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    if choice == "largest":
        mask = parts == 1 + sizes[1:].argmax() if count else np.zeros(coarse.shape, bool)
    elif count:
        mask = parts == np.argsort(-sizes, kind="stable")[1]
    else:
        mask = np.ones(coarse.shape, bool)
    iou = overlap(mask, coarse)
    if choice == "largest":
        usable = iou >= agreement and not mask.all()
        return Refined((mask if usable else coarse).astype(np.int32), iou)
    return Refined(mask.astype(np.int32) * (1 if iou >= agreement else -1), iou)


class Made(NamedTuple):
    """A photo's mask, and whether it is one."""

    mask: np.ndarray  # bool [h, w]
    coarse: np.ndarray  # bool [h, w], before refinement
    agreement: float  # IoU of the coarse mask with the solver's; NaN without refinement
    reason: str  # why the photo has no mask, "" if it has one


def made(
    image: np.ndarray,
    coarse: np.ndarray,
    gap: float,
    *,
    refine: str = "bilateral",
    sigmas: Sequence[float] = Sigmas(),
    choice: str = "largest",
    agreement: float = 0.5,
    min_pixels: int = 1,
    min_gap: float = 0.0,
) -> Made:
    """The mask of a photo that was cut in two by an eigenvector.

    Args:
      image: uint8 [h, w, 3], RGB.
      coarse: bool [h, w], the cut's object.
      gap: the third eigenvalue minus the second; if it is at most `min_gap`, no cut stands out.
      refine: "bilateral": by `solve` | "none".
      sigmas: of `solve`. choice, agreement: of `choose`.
      min_pixels: smaller masks are none.
    """
    mask, iou, reason = coarse, np.nan, ""
    if refine == "bilateral":
        soft = solve(image, coarse.astype(np.float64), Sigmas(*sigmas))
        values, iou = choose(soft, coarse, choice, agreement)
        mask = values > 0
    if gap <= min_gap:
        reason = f"no cut: the second and the third eigenvalue differ by {gap:.1g}"
    elif choice == "released" and iou < agreement:
        reason = f"negated, as released: the refined mask is not the coarse one ({iou:.2f})"
    elif mask.all():
        reason = "all of the photo"
    elif mask.sum() < max(1, min_pixels):
        reason = f"mask too small: {mask.sum()} pixels of at least {min_pixels}"
    return Made(mask, coarse, iou, reason)


def of_segments(found: Made, segments: Sequence[np.ndarray]) -> Made:
    """A mask as the union of the segments that have more than half of their pixels in it.

    So its rims are those of segments. The agreement is that of the mask before and after.

    Args:
      segments: bool [h, w], parts of the photo that may overlap and leave gaps.

    >>> left, right = np.array([[1, 1, 0, 0]]) > 0, np.array([[0, 0, 1, 1]]) > 0
    >>> cut = np.array([[1, 1, 1, 0]]) > 0
    >>> of_segments(Made(cut, cut, np.nan, ""), [left, right]).mask
    array([[ True,  True, False, False]])
    """
    if found.reason:
        return found
    mask, reason = np.zeros_like(found.mask), ""
    for one in segments:
        if 2 * (one & found.mask).sum() > one.sum():
            mask |= one
    if not mask.any():
        reason = "no segment: none lies in the cut by more than half"
    elif mask.all():
        reason = "all of the photo"
    return Made(mask, found.coarse, overlap(mask, found.mask), reason)


def doubt(found: Made, second: float, third: float) -> str:
    """Why a mask should be looked at before use, from the mask itself; "" if nothing is odd.

    "" does not mean good: a clean cut of the wrong thing raises no doubt.

    Args:
      second, third: the eigenvalues of the cut.
    """
    if found.reason:
        return ""
    mask, area = found.mask, float(found.mask.mean())
    rim = float(np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]]).mean())
    odd = {
        f"covers {100 * area:.1f} % of the photo": not LEAST_AREA <= area <= MOST_AREA,
        f"takes up {100 * rim:.0f} % of the photo's border": rim > BORDER,
        f"refinement moved it, IoU {found.agreement:.2f}": found.agreement < AGREEMENT,
        "another cut is as good": third - second < GAP * third,
    }
    return "; ".join(text for text, true in odd.items() if true)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """IoU of two masks; 0 if both are empty."""
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 0.0


def filled_box(mask: np.ndarray) -> np.ndarray:
    """The smallest box round a mask, bool [h, w], that is not empty, as a mask."""
    box = np.zeros_like(mask)
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return box


def centre_box(size: tuple[int, ...], area: float) -> np.ndarray:
    """A centred box of the photo's shape that covers a share of it, as a mask."""
    box = np.zeros(size, bool)
    margins = [round(side * (1 - area**0.5) / 2) for side in size]
    box[tuple(slice(m, side - m) for m, side in zip(margins, size, strict=True))] = True
    return box


def rated(mask: np.ndarray | None, coarse: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """How well a mask covers an object, and its box the object's box.

    Args:
      mask: bool [h, w], not empty; None if none was found.
      coarse: bool [h, w], the mask before refinement.
      truth: bool [h, w], the object's own, not empty.

    Returns:
      `iou` and, before refinement, `iou_coarse`; `box`, 1 if the boxes around mask and object
      overlap by more than 1/2, as in CorLoc; `centred`, the IoU of a centred box of the mask's
      area, the value of a blind guess of this size. Without a mask `iou` and `centred` are NaN.
    """
    found = {"iou_coarse": overlap(coarse, truth)}
    if mask is None:
        return found | {"iou": np.nan, "box": 0.0, "centred": np.nan}
    return found | {
        "iou": overlap(mask, truth),
        "box": float(overlap(filled_box(mask), filled_box(truth)) > HIT),
        "centred": overlap(centre_box(truth.shape, float(mask.mean())), truth),
    }
