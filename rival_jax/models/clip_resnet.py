"""CLIP's modified residual network: a stem of three convolutions, blur pools, attention pooling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rival_jax.models import clip_vit, conversion, settings
from rival_jax.models.convolution import convolution
from rival_jax.models.network import (
    INPUT,
    Tap,
    as_model,
    at_least_float32,
    input_keywords,
    module_of,
)
from rival_jax.models.positions import resample
from rival_jax.models.resnet import without_counters
from rival_jax.models.resnet_blocks import batch_norm
from rival_jax.models.resnet_config import depths
from rival_jax.models.transformer import SMALL
from rival_jax.types import Array, Model, Variables
from rival_jax.weights import Config

DEFAULTS = clip_vit.DEFAULTS
OUTER = 4  # a block's output over its inner width
STRIDE = 32  # of the whole trunk
HEAD_WIDTH = 64  # of the pooling, in every published model
UNTOLD = {"num_heads": "heads"}


def _halved(x: Array) -> Array:
    return nn.avg_pool(x, (2, 2), strides=(2, 2))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1; the grid is halved by averaging, before the last and in the shortcut."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = x
        for i, size in enumerate((1, 3), 1):
            y = nn.relu(batch_norm(f"bn{i}")(convolution(self.features, size, 1, f"conv{i}")(y)))
        if self.stride > 1:
            x, y = _halved(x), _halved(y)
        y = batch_norm("bn3")(convolution(OUTER * self.features, 1, 1, "conv3")(y))
        if self.stride > 1 or x.shape[-1] != y.shape[-1]:
            x = batch_norm("downsample_1")(convolution(y.shape[-1], 1, 1, "downsample_0")(x))
        return nn.relu(x + y)


class AttentionPool(nn.Module):
    """The mean token attends to itself and to every position: [b, h, w, c] -> [b, features]."""

    heads: int
    features: int
    grid: tuple[int, ...]  # rows and columns

    @nn.compact
    def __call__(self, x: Array, tap: Tap) -> Array:
        b, _, _, width = x.shape
        tokens = math.prod(self.grid) + 1
        positions = self.param("positional_embedding", SMALL, (tokens, width))
        x = x.reshape(b, -1, width)
        x = jnp.concatenate([x.mean(axis=1, keepdims=True), x], axis=1) + positions
        split = lambda y: y.reshape(b, -1, self.heads, width // self.heads).swapaxes(1, 2)  # noqa: E731
        q, k, v = (
            split(nn.Dense(width, kernel_init=SMALL, name=f"{name}_proj")(y))
            for name, y in (("q", x[:, :1]), ("k", x), ("v", x))
        )
        scores = (q * q.shape[-1] ** -0.5) @ k.swapaxes(-2, -1)
        attention = jax.nn.softmax(at_least_float32(scores)).astype(v.dtype)
        pooled = (tap("attnpool/attention", attention) @ v).swapaxes(1, 2).reshape(b, width)
        return nn.Dense(self.features, kernel_init=SMALL, name="c_proj")(pooled)


class ClipResNet(nn.Module):
    """The network; the fields are its architecture.

    Taps: "stem", "layer1" .. "layer4" [b, h, w, c], "attnpool/attention" [b, heads, 1, n] of the
    mean token, and "features" [b, f], which are also the logits.
    """

    image_size: tuple[int, int]
    depths: tuple[int, ...]
    width: int
    heads: int  # of the pooling
    features: int

    @nn.compact
    def __call__(self, images: Array, tap: Tap) -> Array:
        if images.shape[1:3] != self.image_size:
            h, w = self.image_size
            raise ValueError(f"images: got {images.shape}, expected [b, {h}, {w}, 3]")
        x, half = images, self.width // 2
        for i, (features, stride) in enumerate(((half, 2), (half, 1), (self.width, 1)), 1):
            x = nn.relu(batch_norm(f"bn{i}")(convolution(features, 3, stride, f"conv{i}")(x)))
        x = tap("stem", _halved(x))
        for stage, depth in enumerate(self.depths):
            for i in range(depth):
                stride = 2 if stage and not i else 1
                block = Bottleneck(self.width * 2**stage, stride, name=f"layer{stage + 1}_{i}")
                x = block(x)
            x = tap(f"layer{stage + 1}", x)
        pool = AttentionPool(self.heads, self.features, x.shape[1:3], name="attnpool")
        return tap("features", at_least_float32(pool(x, tap)))


def build(*, name: str, image_size: tuple[int, int], **keywords: Any) -> Model:
    """CLIP's residual network.

    Args:
      name: what tables call it.
      image_size: height and width in pixels, multiples of 32.
      **keywords: the fields of `ClipResNet`; and `mean` and `std` of each channel (the
        network normalises its own input), `interpolation` and `crop_pct`, see `types.Model`.

    Raises:
      ValueError: the image size does not fit.
    """
    if any(side % STRIDE for side in image_size):
        raise ValueError(f"image size {image_size} is no multiple of {STRIDE}")
    given = input_keywords(keywords)
    module = ClipResNet(image_size=image_size, **keywords)
    cam_tap = f"layer{len(module.depths)}"
    return as_model(module, name, image_size, num_classes=0, cam_tap=cam_tap, **given)


def resized(
    model: Model, variables: Variables, image_size: tuple[int, int], method: str
) -> tuple[Model, Variables]:
    """The network for images of another size; `method` as in `positions.resample`."""
    architecture = {
        field: getattr(module_of(model), field)
        for field in ("depths", "width", "heads", "features")
    }
    treatment = {key: getattr(model, key) for key in INPUT}
    new = build(name=model.name, image_size=image_size, **architecture, **treatment)
    pool = variables["params"]["attnpool"]
    old, grid = ([side // STRIDE for side in size] for size in (model.image_size, image_size))
    positions = resample(pool["positional_embedding"], tuple(old), tuple(grid), method)
    pool = {**pool, "positional_embedding": positions}
    return new, {**variables, "params": {**variables["params"], "attnpool": pool}}


def recognises(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether a checkpoint's tensors are those of CLIP's residual network."""
    return any(name.startswith("attnpool.") for name in tensors)


def infer(tensors: Mapping[str, np.ndarray], config: Config) -> dict[str, Any]:
    """The keywords of `build` for a checkpoint, except its name and input.

    All from the shapes, except the pooling's heads, 64 wide unless `model_args.num_heads` says
    otherwise.

    Raises:
      ValueError: a tensor is missing or misshapen, or a setting is not the network's.
    """
    args = config.model_args
    positions, pooled = conversion.shape_of(tensors, "attnpool.positional_embedding", 2)
    side = math.isqrt(positions - 1) * STRIDE
    found = {
        "image_size": config.image_size or (side, side),
        "depths": depths(tensors),
        "width": conversion.shape_of(tensors, "conv3.weight", 4)[0],
        "heads": settings.count(args, "num_heads", max(1, pooled // HEAD_WIDTH), least=1),
        "features": conversion.shape_of(tensors, "attnpool.c_proj.weight", 2)[0],
    }
    if pooled % found["heads"]:
        raise ValueError(f"attnpool: width {pooled} is no multiple of {found['heads']} heads")
    settings.expect(
        args,
        {
            "img_size": settings.side(found["image_size"]),
            "in_chans": (3,),
            "layers": (list(found["depths"]),),
            "act_layer": ("relu", None),
            "output_stride": (STRIDE,),
        },
    )
    return found


def convert(tensors: Mapping[str, np.ndarray], model: Model) -> Variables:
    """A checkpoint's tensors as variables; raises ValueError if they do not fit."""
    tensors = without_counters(tensors)
    return conversion.to_variables(tensors, conversion.torch_rules(model.init))


def export(variables: Variables, model: Model) -> dict[str, np.ndarray]:
    """The inverse of `convert`, under the published names and without batch norm's counters."""
    tensors = conversion.to_tensors(variables, conversion.torch_rules(model.init))
    return {clip_vit.PREFIX + name: tensor for name, tensor in tensors.items()}


def config(model: Model) -> Config:
    """The part of a configuration that `infer` needs, besides the tensors, to find the network."""
    model_args = {"num_heads": module_of(model).heads}
    return Config(architecture="clip_resnet", num_classes=0, model_args=model_args)
