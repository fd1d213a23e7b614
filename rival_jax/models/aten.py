"""The operations that an exported network may use: PyTorch's core ATen, by name, in JAX.

Arguments are those of PyTorch in its order. Precision follows the arrays: whatever floating point
type a graph asks for is the one that the network computes in.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rival_jax.models import aten_arrays as arrays
from rival_jax.models import aten_layers as layers
from rival_jax.models import aten_pools as pools

ELEMENTWISE: Mapping[str, Callable[..., Any]] = {
    "add.Tensor": lambda a, b, *, alpha=1: a + (b if alpha == 1 else alpha * b),
    "sub.Tensor": lambda a, b, *, alpha=1: a - (b if alpha == 1 else alpha * b),
    "add.Scalar": lambda a, b, alpha=1: a + alpha * b,
    "sub.Scalar": lambda a, b, alpha=1: a - alpha * b,
    "mul.Scalar": operator.mul,
    "div.Scalar": operator.truediv,
    "rsub.Scalar": lambda a, b, alpha=1: b - alpha * a,
    "mul.Tensor": operator.mul,
    "div.Tensor": operator.truediv,
    "div.Tensor_mode": arrays.divided,
    "neg.default": operator.neg,
    "abs.default": jnp.abs,
    "reciprocal.default": lambda a: 1 / a,
    "remainder.Scalar": jnp.mod,
    "fmod.Scalar": jnp.fmod,
    "pow.Tensor_Scalar": arrays.power,
    "pow.Tensor_Tensor": jnp.power,
    "pow.Scalar": jnp.power,
    "sqrt.default": jnp.sqrt,
    "rsqrt.default": lax.rsqrt,
    "exp.default": jnp.exp,
    "expm1.default": jnp.expm1,
    "log.default": jnp.log,
    "log1p.default": jnp.log1p,
    "sin.default": jnp.sin,
    "cos.default": jnp.cos,
    "tanh.default": jnp.tanh,
    "erf.default": lax.erf,
    "floor.default": jnp.floor,
    "ceil.default": jnp.ceil,
    "round.default": jnp.round,
    "sign.default": jnp.sign,
    "sigmoid.default": jax.nn.sigmoid,
    "relu.default": jax.nn.relu,
    "elu.default": arrays.elu,
    "gelu.default": arrays.gelu,
    "leaky_relu.default": lambda a, slope=0.01: jnp.where(a > 0, a, slope * a),
    "softplus.default": arrays.softplus,
    "hardtanh.default": lambda a, low=-1.0, high=1.0: jnp.clip(a, low, high),
    "clamp.default": arrays.clipped,
    "clamp.Tensor": arrays.clipped,
    "minimum.default": jnp.minimum,
    "maximum.default": jnp.maximum,
    "where.self": jnp.where,
    **{
        f"{name}.{kind}": function
        for name, function in {
            "eq": operator.eq,
            "ne": operator.ne,
            "lt": operator.lt,
            "le": operator.le,
            "gt": operator.gt,
            "ge": operator.ge,
        }.items()
        for kind in ("Scalar", "Tensor")
    },
    "logical_not.default": jnp.logical_not,
    "logical_and.default": jnp.logical_and,
    "logical_or.default": jnp.logical_or,
    "bitwise_not.default": operator.invert,
    "bitwise_and.Tensor": operator.and_,
    "bitwise_or.Tensor": operator.or_,
    "_to_copy.default": arrays.cast,
    "clone.default": lambda a: a,
    "copy.default": lambda a, b: jnp.broadcast_to(b, a.shape).astype(a.dtype),
    "alias.default": lambda a: a,
}
SHAPES: Mapping[str, Callable[..., Any]] = {
    "view.default": jnp.reshape,
    "_unsafe_view.default": jnp.reshape,
    "reshape.default": jnp.reshape,
    "as_strided.default": arrays.strided,
    "unfold.default": arrays.windows,
    "expand.default": arrays.expanded,
    "repeat.default": jnp.tile,
    "permute.default": jnp.transpose,
    "unsqueeze.default": jnp.expand_dims,
    "squeeze.dims": lambda a, dims: jnp.squeeze(a, [d for d in dims if a.shape[d] == 1]),
    "cat.default": arrays.joined,
    "split_with_sizes.default": arrays.split,
    "slice.Tensor": arrays.sliced,
    "slice_scatter.default": arrays.slice_set,
    "select.int": lambda a, dim, index: lax.index_in_dim(a, index, dim, keepdims=False),
    "flip.default": lambda a, dims: jnp.flip(a, dims),
    "constant_pad_nd.default": arrays.padded,
    "full.default": arrays.filled,
    "full_like.default": arrays.filled_like,
    "scalar_tensor.default": lambda value, *, dtype=None: jnp.asarray(value, dtype),
    "arange.start_step": arrays.counted,
    "index.Tensor": arrays.indexed,
    "_unsafe_index.Tensor": arrays.indexed,
    "index_put.default": arrays.index_set,
    "index_select.default": lambda a, dim, index: jnp.take(a, index, axis=dim),
    "gather.default": lambda a, dim, index: jnp.take_along_axis(a, index, axis=dim),
    "embedding.default": lambda table, index, *_: jnp.take(table, index, axis=0),
}
REDUCTIONS: Mapping[str, Callable[..., Any]] = {
    "sum.default": arrays.reduced(jnp.sum),
    "sum.dim_IntList": arrays.reduced(jnp.sum),
    "mean.default": arrays.reduced(jnp.mean),
    "mean.dim": arrays.reduced(jnp.mean),
    "amax.default": arrays.reduced(jnp.max),
    "amin.default": arrays.reduced(jnp.min),
    "any.dim": arrays.reduced(jnp.any),
    "max.dim": arrays.largest,
    "var.correction": arrays.variance,
    "cumsum.default": lambda a, dim, *, dtype=None: jnp.cumsum(a, dim, dtype),
    "linalg_vector_norm.default": arrays.norm,
    "_softmax.default": lambda a, dim, _: jax.nn.softmax(a, axis=dim),
    "_safe_softmax.default": lambda a, dim: jax.nn.softmax(a, axis=dim),
    "_log_softmax.default": lambda a, dim, _: jax.nn.log_softmax(a, axis=dim),
}
PRODUCTS: Mapping[str, Callable[..., Any]] = {
    "mm.default": operator.matmul,
    "bmm.default": operator.matmul,
    "addmm.default": arrays.product_and_sum,
    "baddbmm.default": arrays.product_and_sum,
    "convolution.default": layers.convolution,
    "native_layer_norm.default": layers.layer_norm,
    "native_group_norm.default": layers.group_norm,
    "_native_batch_norm_legit.no_stats": layers.batch_norm_of_batch,
    "_native_batch_norm_legit_no_training.default": layers.batch_norm,
    "max_pool2d_with_indices.default": pools.max_pool,
    "avg_pool2d.default": pools.average_pool,
    "_adaptive_avg_pool2d.default": pools.adaptive_average_pool,
    "upsample_bilinear2d.vec": pools.upsampled,
    "upsample_nearest2d.vec": pools.upsampled_nearest,
    "im2col.default": layers.patches,
    "col2im.default": layers.from_patches,
}
SIZES: Mapping[str, Callable[..., Any]] = {  # whole numbers, such as the size of the batch
    "sym_size.int": lambda a, dim: a.shape[dim],
    **{
        f"sym.{name}": getattr(operator, name)
        for name in ("add", "sub", "mul", "floordiv", "mod", "neg")
    },
    "getitem": operator.getitem,
}
OPERATIONS = {**ELEMENTWISE, **SHAPES, **REDUCTIONS, **PRODUCTS, **SIZES}
SOFTMAX = ("_softmax.default", "_safe_softmax.default")
