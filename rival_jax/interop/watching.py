"""Any Flax image classifier as a model: it runs its own code, watched from outside."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import tracers
from flax.linen.dtypes import promote_dtype

from rival_jax.models.network import at_least_float32
from rival_jax.models.vit import ToGrid
from rival_jax.taps import Recorder
from rival_jax.types import Array, Model, Taps, Variables, identity

_HEAD = "output_projection"  # the last layer of Scenic's classifiers
_INPUTS = ("inputs_q", "inputs_k", "inputs_v", "inputs_kv")  # of attention


@dataclasses.dataclass(frozen=True, eq=False)  # a module's fields may not be hashable
class Watched:
    """The `Forward` of a module whose `__call__(images)` returns logits."""

    module: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, variables: Variables, images: Array, added: Taps) -> tuple[Array, Taps]:
        """See `types.Forward`. Raises ValueError unless it returns logits [b, classes]."""
        if images.ndim != 4 or images.shape[-1] != len(self.mean):
            raise ValueError(f"images: got {images.shape}, expected [b, h, w, {len(self.mean)}]")
        tap = Recorder(added)
        images = at_least_float32(tap("image", images))
        normalised = (images - jnp.asarray(self.mean)) / jnp.asarray(self.std)
        with nn.intercept_methods(_Watch(tap)):
            logits: Any = self.module.apply(variables, normalised, **_inference(self.module))
        if getattr(logits, "ndim", None) != 2:
            returned = getattr(logits, "shape", type(logits).__name__)
            kind = type(self.module).__name__
            raise ValueError(f"{kind} returns {returned}, expected logits [b, classes]")
        if "features" not in tap.values:
            logits = tap("features", logits)
        tap.check()
        return at_least_float32(logits), tap.values


@dataclasses.dataclass(frozen=True, eq=False)
class Initialiser:
    """`Model.init` of such a module."""

    module: nn.Module
    image_size: tuple[int, int]

    def __call__(self, key: Array) -> Variables:
        """Fresh variables for one image of `image_size`."""
        image = jnp.zeros((1, *self.image_size, 3))
        return self.module.init(key, image, **_inference(self.module))


def watched(
    module: nn.Module,
    variables: Variables,
    *,
    name: str,
    image_size: tuple[int, int],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Model:
    """A module as a model that runs the module's own code.

    Taps: "block{i}/norm1" [b, n, c], the input, and "block{i}/attention" [b, heads, n, n], the
    probabilities, of every self-attention in calling order; "{path}/attention" of other attention;
    by name, the module's direct parts that return [b, h, w, c]; and "features", the input of the
    layer "output_projection", or the logits if there is none.

    It cannot see attention computed by code other than Flax's, or anything inside `nn.scan`,
    `nn.remat` or another lifted transformation, which values leave only through a module's result.

    Raises:
      ValueError: it does not return logits [b, classes], or has neither attention nor a grid to
        show.
    """
    forward = Watched(module, mean, std)
    names: list[str] = []  # in calling order; jit sorts the keys of a dict

    def look(variables: Variables, images: Array) -> tuple[Array, Taps]:
        logits, taps = forward(variables, images, {})
        names.extend(taps)
        return logits, taps

    blank = jax.ShapeDtypeStruct((1, *image_size, len(mean)), jnp.float32)
    logits, taps = jax.eval_shape(look, variables, blank)
    attention = tuple(tap for tap in names if re.fullmatch(r"block\d+/attention", tap))
    grids = [tap for tap in names if taps[tap].ndim == 4 and "/" not in tap and tap != "image"]
    if not attention and not grids:
        kind = type(module).__name__
        raise ValueError(f"{kind} has no attention and no grid outside of nn.scan and nn.remat")
    cam_tap, to_grid = grids[-1] if grids else "", identity
    if attention:
        cam_tap = attention[-1].replace("attention", "norm1")
        to_grid = _to_grid(module, image_size, taps[cam_tap].shape[1])
    return Model(
        name=name,
        forward=forward,
        init=Initialiser(module, image_size),
        num_classes=logits.shape[1],
        cam_tap=cam_tap,
        attention_taps=attention,
        to_grid=to_grid,
        image_size=image_size,
        mean=mean,
        std=std,
    )


def _inference(module: nn.Module) -> dict[str, Any]:
    """The argument that tells a Scenic module that this is not training."""
    return (
        {"train": False} if "train" in inspect.signature(type(module).__call__).parameters else {}
    )


def _to_grid(module: nn.Module, image_size: tuple[int, int], tokens: int) -> ToGrid:
    """Patches come last; the module's field `patches` gives their number, else they are square."""
    side = math.isqrt(tokens)
    grid = (side, side)
    patches = getattr(module, "patches", None)
    if patches is not None:
        (height, width), (rows, columns) = patches["size"], image_size
        grid = rows // height, columns // width
    return ToGrid(tokens - math.prod(grid), grid)


class _Watch:
    """Sees every method call of every submodule and taps some of them."""

    def __init__(self, tap: Recorder):
        self.tap = tap
        self.blocks = 0
        self.trace = tracers.current_trace()

    def __call__(self, call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
        module = context.module
        if context.method_name != "__call__" or tracers.current_trace() != self.trace:
            return call(*args, **kwargs)
        if isinstance(module, nn.MultiHeadDotProductAttention):
            return self._attention(call, args, kwargs, module)
        if module.path == (_HEAD,):
            args = (self.tap("features", args[0]), *args[1:])
        value = call(*args, **kwargs)
        if len(module.path) == 1 and getattr(value, "ndim", None) == 4:
            value = self.tap(module.name, value)
        return value

    def _attention(self, call: Callable, args: tuple, kwargs: dict, module: Any) -> Any:
        if module.attention_fn is not nn.dot_product_attention:
            return call(*args, **kwargs)  # other code, or a parent class calling this one
        arguments = inspect.signature(type(module).__call__).bind(module, *args, **kwargs).arguments
        del arguments["self"]
        names = [name for name in _INPUTS if arguments.get(name) is not None]
        x = arguments[names[0]]
        label = "/".join(module.path)
        if x.ndim == 3 and all(arguments[name] is x for name in names):
            label, self.blocks = f"block{self.blocks}", self.blocks + 1
            arguments |= dict.fromkeys(names, self.tap(f"{label}/norm1", x))
        # Flax freezes modules, but this instance is a copy for one `apply`.
        object.__setattr__(module, "attention_fn", _shown(self.tap, f"{label}/attention"))
        try:
            return call(**arguments)
        finally:
            object.__setattr__(module, "attention_fn", nn.dot_product_attention)


def _shown(tap: Recorder, name: str) -> Callable:
    """`nn.dot_product_attention` without dropout, its probabilities tapped."""

    def attention(
        query: Array,
        key: Array,
        value: Array,
        mask: Array | None = None,
        dtype: Any = None,
        precision: Any = None,
        force_fp32_for_softmax: bool = False,
    ) -> Array:
        query, key, value = promote_dtype(query, key, value, dtype=dtype)
        weights = nn.dot_product_attention_weights(
            query,
            key,
            mask=mask,
            deterministic=True,
            precision=precision,
            force_fp32_for_softmax=force_fp32_for_softmax,
        )
        weights = tap(name, weights).astype(value.dtype)
        return jnp.einsum("...hqk,...khd->...qhd", weights, value, precision=precision)

    return attention
