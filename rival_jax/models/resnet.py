"""Residual networks with torchvision's and timm's parameters and arithmetic, of any size."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np
from jax import lax

from rival_jax.models import conversion
from rival_jax.models.network import (
    Initialiser,
    Tap,
    as_model,
    at_least_float32,
    input_keywords,
    module_of,
)
from rival_jax.models.resnet_blocks import Block, stem
from rival_jax.models.resnet_config import config, infer, plain_widths
from rival_jax.types import Array, Model, Variables

__all__ = [
    "ResNet",
    "build",
    "config",
    "convert",
    "export",
    "infer",
    "recognises",
    "resized",
]

_TORCH_LINEAR = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class ResNet(nn.Module):
    """A residual network in inference mode; the fields are its architecture.

    Takes images of any size. Taps: "stem" (after the max pool), "layer1" .. "layer4"
    [b, h, w, c], each after the last ReLU, and "features" [b, f], their spatial mean.
    """

    num_classes: int  # 0: no head, the logits are the features
    depths: tuple[int, ...] = (2, 2, 2, 2)
    width: int = 64
    bottleneck: bool = False
    project_all: bool = False  # a projection in every shortcut: Scenic's ResNet-18 and -34
    deep_stem: tuple[int, ...] = ()  # widths of three 3x3 convolutions, in place of one 7x7
    replace_stem_pool: bool = False  # by a convolution
    block_widths: tuple[tuple[tuple[int, ...], ...], ...] = ()  # of stages and blocks, if unusual
    groups: int = 1  # of the 3x3 convolutions of bottlenecks: ResNeXt
    gate: str = ""  # | "se" | "eca"
    gate_sizes: tuple[int, ...] = ()  # of each stage, see `Block`
    anti_aliasing: str = "none"  # | "avg" | "blur"
    average_down: bool = False
    down_size: int = 1
    norm: str = "batch"  # | "group"

    @nn.compact
    def __call__(self, images: Array, tap: Tap) -> Array:
        x = stem(
            images,
            self.width,
            self.deep_stem,
            self.replace_stem_pool,
            self.anti_aliasing,
            self.norm,
        )
        x = tap("stem", x)
        widths = self.block_widths or plain_widths(self.depths, self.width, self.bottleneck)
        for stage, blocks in enumerate(widths):
            for i, of_block in enumerate(blocks):
                x = Block(
                    of_block,
                    2 if stage and not i else 1,
                    self.project_all,
                    self.groups,
                    self.gate,
                    self.gate_sizes[stage] if self.gate else 0,
                    self.anti_aliasing,
                    self.average_down,
                    self.down_size,
                    self.norm,
                    name=f"layer{stage + 1}_{i}",
                )(x)
            x = tap(f"layer{stage + 1}", x)
        # Fused into the mean, the last block is wrong, even NaN, in bfloat16 on CPUs (jaxlib
        # 0.12.0); unfused it costs the same.
        x = lax.optimization_barrier(x)
        features = tap("features", at_least_float32(x).mean(axis=(1, 2)))
        if not self.num_classes:
            return features
        head = nn.Dense(self.num_classes, kernel_init=_TORCH_LINEAR, name="fc")
        return head(features.astype(x.dtype))


def build(*, name: str, image_size: tuple[int, int] = (224, 224), **keywords: Any) -> Model:
    """A residual network.

    Args:
      name: what tables call it.
      image_size: height and width in pixels that it was made for; others work too.
      **keywords: the fields of `ResNet` (`num_classes` has no default); and `mean` and
        `std` of each channel (the network normalises its own input), `interpolation` and
        `crop_pct`, see `types.Model`.
    """
    given = input_keywords(keywords)
    module = ResNet(**keywords)
    return as_model(
        module,
        name,
        image_size,
        num_classes=module.num_classes,
        cam_tap=f"layer{len(module.depths)}",
        **given,
    )


def resized(
    model: Model, variables: Variables, image_size: tuple[int, int], method: str
) -> tuple[Model, Variables]:
    """The network for images of another size: itself."""
    init = Initialiser(module_of(model), image_size)
    return dataclasses.replace(model, init=init, image_size=image_size), variables


def recognises(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether a checkpoint's tensors are those of a residual network with torchvision's names."""
    pooled_by_attention = any(name.startswith("attnpool.") for name in tensors)
    return not pooled_by_attention and any(name.startswith("layer1.0.conv") for name in tensors)


def convert(tensors: Mapping[str, np.ndarray], model: Model) -> Variables:
    """A checkpoint's tensors as variables; raises ValueError if they do not fit."""
    return conversion.to_variables(without_counters(tensors), conversion.torch_rules(model.init))


def without_counters(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without batch norm's step counters: inference ignores them, and older files lack them."""
    return {name: t for name, t in tensors.items() if not name.endswith("num_batches_tracked")}


def export(variables: Variables, model: Model) -> dict[str, np.ndarray]:
    """The inverse of `convert`: tensors under torchvision's names, without its counters."""
    return conversion.to_tensors(variables, conversion.torch_rules(model.init))
