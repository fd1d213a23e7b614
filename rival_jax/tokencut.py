"""TokenCut: an image's object without any label, by a normalised cut of its ViT tokens."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rival_jax.types import Batch, Model, Variables

Mask = TypeVar("Mask", Array, np.ndarray)
FEATURES = ("query", "key", "value")  # in the order of a block's projection
GRAPHS = ("binary", "weighted")
NO_EDGE = 1e-5  # weight between dissimilar tokens: keeps the graph connected


class Cut(NamedTuple):
    """Every image's tokens in two parts; the object is on the seed's side."""

    bipartition: Bool[Array, "b h w"]  # True on the side of the seed
    component: Bool[Array, "b h w"]  # its 4-connected part with the seed: the object
    seed: Int[Array, " b"]  # the token that stands out most, row-major
    eigenvector: Float[Array, "b n"]  # the second one, of unit D-norm, positive at the seed
    eigenvalues: Float[Array, "b 2"]  # the second and third smallest; if equal, no cut stands out


def normalised_cut(
    features: Float[Array, "b n c"],
    grid: tuple[int, int],
    *,
    tau: float = 0.2,
    graph: str = "binary",
) -> Cut:
    """Bipartition of every image's tokens by the second eigenvector of (D - W) v = lambda D v.

    W joins tokens whose cosine similarity is above `tau`, and all others with weight 1e-5; D is the
    diagonal of its row sums. v is cut at its mean, and the side of the seed, the token of largest
    |v|, is taken: the eigenvector's sign does not matter. Ties for the seed go to the first token.
    An image whose tokens are all alike has no cut: its eigenvalues are equal. NaN among the
    features of an image makes its eigenvalues NaN.

    The eigenproblem is solved in the precision of `features`. Eigenvectors in float32 are accurate
    to about 1e-6 divided by the gap between the eigenvalues, which is tiny for an image with
    several groups of tokens without an edge between them: pass float64 (`jax.enable_x64`), as the
    published code does, if devices have it.

    Args:
      features: of tokens, e.g. keys of a DINO ViT's last block, all heads side by side. Their norm
        does not matter; a zero vector is dissimilar to all.
      grid: rows and columns of tokens, row-major.
      tau: least cosine of an edge, in [0, 1).
      graph: "binary": edges weigh 1 | "weighted": edges weigh their cosine.

    Raises:
      ValueError: for features that do not fit the grid or have fewer than 3 tokens, an unknown
        graph, or `tau` out of range.

    Source: Wang et al., TokenCut, CVPR 2022, sections 3.2 and 3.3.

    >>> object_ = jnp.zeros((1, 4, 4), bool).at[:, 1:3, 1:3].set(True)
    >>> features = jnp.where(object_[..., None], jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]))
    >>> cut = normalised_cut(features.reshape(1, 16, 2), (4, 4))
    >>> int(cut.seed[0]), bool((cut.component == object_).all())
    (5, True)
    """
    rows, columns = grid
    if features.ndim != 3 or features.shape[1] != rows * columns or rows * columns < 3:
        raise ValueError(f"features: got {features.shape}, expected [b, {rows} x {columns}, c]")
    if graph not in GRAPHS:
        raise ValueError(f"graph {graph!r}, expected one of {', '.join(GRAPHS)}")
    if not 0 <= tau < 1:
        raise ValueError(f"tau {tau}, expected at least 0 and below 1")
    values, vectors = _second_eigenvector(_weights(features, tau, graph))
    seed = jnp.abs(vectors).argmax(1)
    vectors = vectors * jnp.sign(jnp.take_along_axis(vectors, seed[:, None], axis=1))
    bipartition = (vectors > vectors.mean(1, keepdims=True)).reshape(-1, rows, columns)
    return Cut(bipartition, component(bipartition, seed), seed, vectors, values)


def usual_block(model: Model) -> int:
    """The block whose features to cut by: -1, the last, of a network without classes.

    Such a network shows objects in its last block's keys. A classifier's last block is about the
    class instead; one after the middle separates object and background better: IoU 0.52 at block 7
    of AugReg's ViT-Tiny, 0.20 at its last, 11 (30 photos, tau 0.2, not refined).
    """
    return 3 * len(model.attention_taps) // 5 if model.num_classes else -1


def token_features(to_grid: Callable[[Array], Array], feature: str, value: Array) -> Array:
    """Tokens of one kind, heads side by side: a tap [b, prefix + h * w, 3 c] -> [b, h, w, c]."""
    return jnp.split(to_grid(value), 3, axis=-1)[FEATURES.index(feature)]


def image_cuts(
    model: Model,
    tap: str,
    feature: str,
    tau: float,
    graph: str,
    precision: str,
    variables: Variables,
    batch: Batch,
) -> dict[str, Array]:
    """Every image's object in its tokens; for other arguments see `normalised_cut`.

    Args:
      tap: holds queries, keys and values.
      feature: one of `FEATURES`.
      precision: "float64" (under `jax.enable_x64`) or "float32".

    Returns:
      `component`, `seed` and `eigenvalues` of `Cut`.
    """
    _, taps = model.forward(variables, jnp.asarray(batch["image"]), {})
    found = token_features(model.to_grid, feature, taps[tap]).astype(precision)
    b, rows, columns, width = found.shape
    tokens = found.reshape(b, rows * columns, width)
    cut = normalised_cut(tokens, (rows, columns), tau=tau, graph=graph)
    return {"component": cut.component, "seed": cut.seed, "eigenvalues": cut.eigenvalues}


def _weights(features: Array, tau: float, graph: str) -> Array:
    """[b, n, n] weights of the edges."""
    length = jnp.linalg.norm(features, axis=-1, keepdims=True)
    unit = features / jnp.maximum(length, 1e-12)
    cosine = jnp.einsum("bnc,bmc->bnm", unit, unit, precision="highest")
    edge = jnp.ones_like(cosine) if graph == "binary" else cosine
    return jnp.where(cosine <= tau, NO_EDGE, jnp.where(jnp.isnan(cosine), cosine, edge))


def _second_eigenvector(weights: Array) -> tuple[Array, Array]:
    """Second and third smallest eigenvalue [b, 2], and the eigenvector of the second [b, n]."""
    degrees = weights.sum(2)
    root = jnp.sqrt(degrees)
    scaled = weights / root[:, :, None] / root[:, None, :]
    # The first eigenvector is known: D^1/2 1, with eigenvalue 1 of the scaled weights. Moved to the
    # other end of the spectrum, it cannot mix with the second, whose eigenvalue may be close to 1.
    trivial = root / jnp.sqrt(degrees.sum(1, keepdims=True))
    scaled = scaled - 2 * trivial[:, :, None] * trivial[:, None, :]
    values, vectors = jnp.linalg.eigh(scaled)
    return 1 - values[:, -1:-3:-1], vectors[:, :, -1] / root


def component(region: Bool[Array, "b h w"], seed: Int[Array, " b"]) -> Bool[Array, "b h w"]:
    """The part of each region that is connected to its seed: 4 neighbours, no corners.

    Args:
      region: True where the part may reach.
      seed: row-major position; one outside the region has an empty part.
    """
    size = region.shape[1] * region.shape[2]
    start = jax.nn.one_hot(seed, size, dtype=bool).reshape(region.shape) & region

    def grown(state: tuple[Array, Array]) -> tuple[Array, Array]:
        reached, _ = state
        wide = jnp.pad(reached, ((0, 0), (1, 1), (1, 1)))
        rows = wide[:, :-2, 1:-1] | wide[:, 2:, 1:-1]
        columns = wide[:, 1:-1, :-2] | wide[:, 1:-1, 2:]
        further = (reached | rows | columns) & region
        return further, (further != reached).any()

    return jax.lax.while_loop(lambda state: state[1], grown, (start, start.any()))[0]


def upscale(mask: Mask, size: tuple[int, int]) -> Mask:
    """Token masks [*, rows, columns] as pixels [*, *size], in NumPy or jax.

    A pixel i has the value at floor(i * tokens / pixels) in each direction.

    >>> upscale(jnp.array([[True, False]]), (1, 5)).tolist()
    [[True, True, True, False, False]]
    """
    rows, columns = (np.arange(n) * k // n for n, k in zip(size, mask.shape[-2:], strict=True))
    return mask[..., rows[:, None], columns]


def token_size(size: tuple[int, int], patch: int, most: int = 0) -> tuple[int, int]:
    """Rows and columns of patches nearest to an image's size; at least 1, halves round to even.

    Args:
      size: height and width in pixels.
      patch: side of a patch in pixels.
      most: tokens at most, 0 for any number; a larger image is scaled down in proportion.

    >>> token_size((170, 231), 16), token_size((40, 8), 16), token_size((3000, 4000), 16, 1600)
    ((11, 14), (2, 1), (35, 45))
    """
    sides = [side / patch for side in size]
    shrink = min(1.0, math.sqrt(most / math.prod(sides))) if most else 1.0
    rows, columns = (max(1, round(shrink * side)) for side in sides)
    while most and rows * columns > most:
        rows, columns = (rows - 1, columns) if rows > columns else (rows, columns - 1)
    return rows, columns
