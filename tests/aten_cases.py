"""Calls of every operation of `models.aten`, over shapes, types and edge arguments.

`tests/exported_networks.py` computes them with torch; a case is its arguments and keywords. `Drawn`
stands for an array, the same for the same place in its case.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from rival_jax.models.aten import OPERATIONS


@dataclasses.dataclass(frozen=True)
class Drawn:
    """An array of a kind: "normal", "positive", "index" (below 3), "truth"."""

    shape: tuple[int, ...]
    kind: str = "normal"


@dataclasses.dataclass(frozen=True)
class Type:
    """A type of numbers."""

    name: str


@dataclasses.dataclass(frozen=True)
class Case:
    """One call."""

    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def arrays(self) -> list[np.ndarray]:
        """The arrays of its arguments, in order."""
        return [_draw(said, place) for place, said in enumerate(_drawn(self.args))]


def normal(*shape: int) -> Drawn:
    return Drawn(shape)


def positive(*shape: int) -> Drawn:
    return Drawn(shape, "positive")


def index(*shape: int) -> Drawn:
    return Drawn(shape, "index")


def truth(*shape: int) -> Drawn:
    return Drawn(shape, "truth")


def case(op: str, *args: Any, **kwargs: Any) -> Case:
    return Case(op, args, kwargs)


def filled(said: Any, arrays: list[Any]) -> Any:
    """Arguments with arrays in their places; takes them out of the list."""
    if isinstance(said, Drawn):
        return arrays.pop(0)
    if isinstance(said, list | tuple):
        return type(said)(filled(part, arrays) for part in said)
    return said


def _drawn(said: Any) -> list[Drawn]:
    if isinstance(said, list | tuple):
        return [found for part in said for found in _drawn(part)]
    return [said] if isinstance(said, Drawn) else []


def _draw(said: Drawn, place: int) -> np.ndarray:
    rng = np.random.default_rng([place, *said.shape])
    if said.kind == "index":
        return rng.integers(0, 3, said.shape).astype(np.int32)
    values = np.round(rng.normal(size=said.shape) * 256) / 256
    if said.kind == "truth":
        return values > 0
    return (np.abs(values) + 0.125 if said.kind == "positive" else values).astype(np.float32)


X, Y = normal(2, 3, 4), normal(2, 3, 4)
IMAGE = normal(2, 4, 7, 6)
_PLAIN = (
    *("neg", "abs", "exp", "expm1", "sin", "cos", "tanh", "erf", "floor", "ceil", "round", "sign"),
    *("sigmoid", "relu", "gelu", "leaky_relu", "elu", "softplus", "hardtanh", "clone", "alias"),
)
_POSITIVE = ("sqrt", "rsqrt", "log", "log1p", "reciprocal")
_COMPARED = ("eq", "ne", "lt", "le", "gt", "ge")
_CONVOLUTIONS = (
    # x, weight, stride, padding, dilation, transposed, output padding, groups
    (IMAGE, normal(6, 4, 3, 3), [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
    (IMAGE, normal(6, 2, 3, 2), [2, 1], [1, 2], [2, 1], False, [0, 0], 2),
    (IMAGE, normal(4, 1, 3, 3), [1, 1], [1, 1], [1, 1], False, [0, 0], 4),
    (IMAGE, normal(4, 5, 3, 2), [2, 3], [1, 0], [1, 2], True, [1, 2], 1),
    (IMAGE, normal(4, 3, 2, 2), [2, 2], [0, 0], [1, 1], True, [0, 0], 2),
    (IMAGE, normal(6, 2, 3, 2), [2], [1], [2], False, [0], 2),
    (IMAGE, normal(4, 1, 3, 2), [2, 3], [1, 2], [2, 1], False, [0, 0], 4),
    (IMAGE, normal(4, 1, 5, 5), [2, 2], [2, 2], [1, 1], False, [0, 0], 4),
    (IMAGE, normal(5, 4, 7, 3), [7, 3], [0, 0], [1, 1], False, [0, 0], 1),
    (IMAGE, normal(5, 4, 1, 2), [1, 2], [0, 0], [1, 2], False, [0, 0], 1),
    (normal(2, 4, 9), normal(6, 2, 3), [2], [1], [1], False, [0], 2),
    (normal(1, 2, 4, 5, 4), normal(3, 2, 2, 2, 2), [1] * 3, [0] * 3, [1] * 3, False, [0] * 3, 1),
)
CASES: list[Case] = [
    *(case(f"{op}.default", X) for op in _PLAIN),
    *(case(f"{op}.default", positive(2, 3)) for op in _POSITIVE),
    *(case(f"{op}.Scalar", index(3, 4), 1) for op in _COMPARED),
    *(case(f"{op}.Tensor", index(3, 4), index(1, 4)) for op in _COMPARED),
    case("add.Tensor", X, normal(3, 1), alpha=2.5),
    case("add.Tensor", X, 1.5),
    case("add.Tensor", index(2, 3), 2),
    case("add.Tensor", normal(), normal(3)),
    case("sub.Tensor", X, Y),
    case("sub.Tensor", X, Y, alpha=3),
    case("add.Scalar", X, 2, 1.5),
    case("sub.Scalar", X, 2, 1.5),
    case("mul.Scalar", X, 0.5),
    case("div.Scalar", X, 3),
    case("rsub.Scalar", X, 1.0),
    case("rsub.Scalar", X, 2, 0.5),
    case("mul.Tensor", X, normal(4)),
    case("mul.Tensor", IMAGE, normal(4, 1, 1)),
    case("mul.Tensor", IMAGE, normal(7, 1)),
    case("mul.Tensor", normal(2, 4, 1, 1), normal(1, 1, 7, 6)),
    case("mul.Tensor", index(2, 2), 0.5),
    case("div.Tensor", X, positive(2, 1, 4)),
    case("div.Tensor", index(5), 2),
    case("div.Tensor_mode", index(7), 2, rounding_mode="floor"),
    case("div.Tensor_mode", X, 0.25, rounding_mode="floor"),
    case("div.Tensor_mode", X, 0.25, rounding_mode="trunc"),
    case("remainder.Scalar", X, 0.5),
    case("fmod.Scalar", X, 0.5),
    case("fmod.Scalar", index(6), 2),
    case("pow.Tensor_Scalar", X, 2),
    case("pow.Tensor_Scalar", X, 3.0),
    case("pow.Tensor_Scalar", positive(4), 0.5),
    case("pow.Tensor_Scalar", positive(4), -2),
    case("pow.Tensor_Tensor", positive(3, 2), normal(2)),
    case("pow.Scalar", 2.0, X),
    case("elu.default", X, 1.5, 2.0, 0.5),
    case("gelu.default", X, approximate="tanh"),
    case("leaky_relu.default", X, 0.2),
    case("softplus.default", X, 3.0, 1.0),
    case("hardtanh.default", X, 0.0, 6.0),
    case("clamp.default", X, 0),
    case("clamp.default", X, None, 0.5),
    case("clamp.default", X, -0.5, 0.5),
    case("clamp.Tensor", X, normal(4), None),
    case("minimum.default", X, Y),
    case("maximum.default", X, Y),
    case("where.self", truth(6), IMAGE, normal()),
    case("where.self", truth(2, 1, 4), X, normal()),
    case("logical_not.default", index(5)),
    case("logical_and.default", truth(4), truth(4)),
    case("logical_or.default", truth(4), index(4)),
    case("bitwise_not.default", truth(5)),
    case("bitwise_and.Tensor", truth(4), truth(4)),
    case("bitwise_or.Tensor", truth(4), truth(4)),
    case("_to_copy.default", X, dtype=Type("int32")),
    case("_to_copy.default", truth(3), dtype=Type("float32")),
    case("_to_copy.default", index(3), dtype=Type("bool")),
    case("view.default", X, [2, -1]),
    case("view.default", X, [24]),
    case("_unsafe_view.default", X, [6, 4]),
    case("reshape.default", X, [1, 8, 3]),
    case("as_strided.default", X, [2, 5], [12, 1]),
    case("as_strided.default", X, [3, 3, 2], [1, 4, 2], 5),
    case("as_strided.default", X, [4, 1, 3], [0, 7, 2], 1),
    case("unfold.default", IMAGE, 2, 3, 2),
    case("unfold.default", X, -1, 2, 1),
    case("expand.default", normal(3, 1), [2, -1, 4]),
    case("expand.default", normal(), [2, 3]),
    case("repeat.default", normal(3, 2), [2, 1, 3]),
    case("permute.default", X, [2, 0, 1]),
    case("permute.default", X, [0, -1, 1]),
    case("permute.default", IMAGE, [0, 2, 3, 1]),
    case("permute.default", IMAGE, [0, 3, 1, 2]),
    case("unsqueeze.default", X, -1),
    case("unsqueeze.default", X, 0),
    case("squeeze.dims", normal(1, 3, 1), [0, 1, 2]),
    case("squeeze.dims", normal(1, 3, 1), [-1]),
    case("cat.default", [X, normal(2, 1, 4)], 1),
    case("cat.default", [normal(0), X, Y], -1),
    case("cat.default", [IMAGE, normal(2, 1, 7, 6)], 1),
    case("split_with_sizes.default", X, [1, 3], -1),
    case("split_with_sizes.default", X, [2, 0, 1], 1),
    case("slice.Tensor", X),
    case("slice.Tensor", X, 1, 1, 2**63 - 1),
    case("slice.Tensor", X, -1, -3, -1),
    case("slice.Tensor", X, 2, 0, 9, 2),
    case("slice.Tensor", X, 1, 5, 7),
    case("slice_scatter.default", X, normal(2, 3, 2), 2, 1, 2**63 - 1, 2),
    case("select.int", X, 1, -1),
    case("select.int", X, -1, 0),
    case("flip.default", X, [0, 2]),
    case("constant_pad_nd.default", X, [1, 2], 0.5),
    case("constant_pad_nd.default", X, [0, -1, 2, 1]),
    case("constant_pad_nd.default", X, [1, 0], -math.inf),
    case("full.default", [2, 3], 1.5),
    case("full.default", [2], 1, dtype=Type("int32")),
    case("full.default", [], True, dtype=Type("bool")),
    case("full_like.default", X, 2),
    case("full_like.default", X, 1, dtype=Type("int32")),
    case("scalar_tensor.default", 2.5),
    case("scalar_tensor.default", 3, dtype=Type("int32")),
    case("arange.start_step", 1, 9, 3, dtype=Type("int32")),
    case("arange.start_step", 0, 1.0, 0.25),
    case("arange.start_step", 5, 0, -2, dtype=Type("float32")),
    case("index.Tensor", normal(3, 3, 4), [index(2, 1), index(2)]),
    case("index.Tensor", normal(2, 3, 3), [None, index(4), index(4)]),
    case("index.Tensor", normal(3, 2, 3), [index(2), None, index(2)]),
    case("_unsafe_index.Tensor", normal(2, 3, 3), [None, None, index(5)]),
    case("index_put.default", normal(3, 4), [index(1)], normal(1, 4)),
    case("index_put.default", normal(3, 4), [index(6)], normal(6, 4), True),
    case("index_select.default", X, 1, index(5)),
    case("gather.default", X, 1, index(2, 2, 4)),
    case("embedding.default", normal(3, 4), index(2, 5)),
    case("sum.default", X),
    case("sum.dim_IntList", X, [0, -1]),
    case("sum.dim_IntList", truth(3, 4), [1], True),
    case("sum.dim_IntList", X, None, True),
    case("sum.dim_IntList", IMAGE, [3, 2]),
    case("mean.default", X),
    case("mean.dim", X, [-1, 1], True),
    case("mean.dim", IMAGE, [-1, -2]),
    case("mean.dim", IMAGE, [2, 3], True),
    case("mean.dim", index(3, 4), [0], dtype=Type("float32")),
    case("amax.default", X, [1]),
    case("amax.default", IMAGE, [1], True),
    case("amax.default", IMAGE, [1, 2]),
    case("amin.default", X, [0, 2], True),
    case("any.dim", truth(3, 4), 1),
    case("max.dim", X, 1),
    case("max.dim", X, -1, True),
    case("var.correction", X, [1, 2], correction=0, keepdim=True),
    case("var.correction", X, [-1]),
    case("var.correction", X, correction=2),
    case("cumsum.default", X, 1),
    case("cumsum.default", truth(3, 4), 0),
    case("cumsum.default", index(3, 4), 1, dtype=Type("float32")),
    case("copy.default", X, normal(4)),
    case("copy.default", X, index(4)),
    case("linalg_vector_norm.default", X, 2, [-1], True),
    case("linalg_vector_norm.default", X, 1, [0, 1]),
    case("linalg_vector_norm.default", X),
    case("_softmax.default", X, -1, False),
    case("_softmax.default", X, 1, False),
    case("_safe_softmax.default", X, -1),
    case("_log_softmax.default", X, 0, False),
    case("mm.default", normal(2, 3), normal(3, 4)),
    case("bmm.default", normal(2, 3, 4), normal(2, 4, 5)),
    case("addmm.default", normal(4), normal(2, 3), normal(3, 4)),
    case("addmm.default", normal(2, 4), normal(2, 3), normal(3, 4), beta=0.5, alpha=2),
    case("baddbmm.default", normal(2, 3, 5), normal(2, 3, 4), normal(2, 4, 5), beta=2, alpha=0.5),
    *(case("convolution.default", x, w, None, *rest) for x, w, *rest in _CONVOLUTIONS),
    case("convolution.default", IMAGE, normal(6, 4, 1, 1), normal(6), *_CONVOLUTIONS[0][2:]),
    case("native_layer_norm.default", X, [4], normal(4), normal(4), 1e-5),
    case("native_layer_norm.default", X, [3, 4], None, None, 1e-3),
    case("native_group_norm.default", IMAGE, normal(4), normal(4), 2, 4, 42, 2, 1e-5),
    case("native_group_norm.default", normal(2, 4, 5), None, None, 2, 4, 5, 1, 1e-3),
    case("_native_batch_norm_legit.no_stats", IMAGE, normal(4), normal(4), True, 0.1, 1e-5),
    case("_native_batch_norm_legit.no_stats", normal(3, 4), None, None, True, 0.0, 1e-3),
    case(
        "_native_batch_norm_legit_no_training.default",
        *(IMAGE, normal(4), normal(4), normal(4), positive(4), 0.1, 1e-5),
    ),
    case(
        "_native_batch_norm_legit_no_training.default",
        *(normal(3, 4), None, None, normal(4), positive(4), 0.1, 1e-3),
    ),
    case("max_pool2d_with_indices.default", IMAGE, [3, 3], [2, 2], [1, 1]),
    case("max_pool2d_with_indices.default", IMAGE, [2, 3]),
    case("max_pool2d_with_indices.default", IMAGE, [3, 2], [2, 2], [0, 1], [2, 1], True),
    case("max_pool2d_with_indices.default", IMAGE, [2], [2], [0], [1], True),
    case("avg_pool2d.default", IMAGE, [3, 2]),
    case("avg_pool2d.default", IMAGE, [3, 3], [2, 2], [1, 1]),
    case("avg_pool2d.default", IMAGE, [3, 3], [2, 2], [1, 1], True),
    case("avg_pool2d.default", IMAGE, [2, 2], [2, 2], [0, 0], True, False),
    case("avg_pool2d.default", IMAGE, [3, 3], [1, 1], [1, 1], False, False),
    case("avg_pool2d.default", IMAGE, [2, 2], [2, 2], [0, 0], False, True, 3),
    case("_adaptive_avg_pool2d.default", IMAGE, [1, 1]),
    case("_adaptive_avg_pool2d.default", IMAGE, [3, 4]),
    case("upsample_bilinear2d.vec", IMAGE, [10, 3], False, None),
    case("upsample_bilinear2d.vec", IMAGE, [10, 9], True, None),
    case("upsample_bilinear2d.vec", IMAGE, None, False, [1.7, 2.0]),
    case("upsample_nearest2d.vec", IMAGE, [5, 16], None),
    case("upsample_nearest2d.vec", IMAGE, None, [1.7, 2.0]),
    case("im2col.default", IMAGE, [3, 2], [1, 1], [1, 0], [2, 2]),
    case("im2col.default", IMAGE, [2, 2], [2, 1], [0, 0], [1, 1]),
    case("col2im.default", normal(2, 12, 21), [7, 6], [2, 2], [1, 1], [0, 1], [2, 1]),
    case("col2im.default", normal(2, 18, 12), [7, 6], [3, 3], [1, 1], [1, 1], [2, 2]),
]
UNTESTED = {name for name in OPERATIONS if name.startswith("sym") or name == "getitem"}
