"""Residual networks with torchvision's parameters and arithmetic, of any width and depth."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import numpy as np
from jax import lax

from rival_jax.models import conversion, settings
from rival_jax.models.convolution import convolution, max_pool
from rival_jax.models.network import (
    Initialiser,
    Tap,
    as_model,
    at_least_float32,
    input_keywords,
    module_of,
)
from rival_jax.types import Array, Model, Variables
from rival_jax.weights import Config

_TORCH_LINEAR = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
_KNOWN = re.compile(r"(wide_)?resnet(\d+(_\d+)?)?(\..*)?")
_PROJECTED = re.compile(r"layer(\d+)\.(\d+)\.downsample\.0\.weight$")


def batch_norm(name: str) -> nn.BatchNorm:
    """A batch norm that uses its running averages."""
    return nn.BatchNorm(use_running_average=True, epsilon=1e-5, name=name)


class Block(nn.Module):
    """Two 3x3 convolutions, or 1x1, 3x3, 1x1 with the stride in the 3x3, and a shortcut."""

    features: int
    stride: int
    bottleneck: bool
    project: bool  # the shortcut, even if its shape equals the output's

    @nn.compact
    def __call__(self, x: Array) -> Array:
        layers = [(self.features, 3, self.stride), (self.features, 3, 1)]
        if self.bottleneck:
            outer = 4 * self.features
            layers = [(self.features, 1, 1), (self.features, 3, self.stride), (outer, 1, 1)]
        y = x
        for i, (features, size, stride) in enumerate(layers, 1):
            y = nn.relu(y) if i > 1 else y
            y = batch_norm(f"bn{i}")(convolution(features, size, stride, f"conv{i}")(y))
        if self.project or self.stride > 1 or x.shape[-1] != y.shape[-1]:
            x = convolution(y.shape[-1], 1, self.stride, "downsample_0")(x)
            x = batch_norm("downsample_1")(x)
        return nn.relu(x + y)


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

    @nn.compact
    def __call__(self, images: Array, tap: Tap) -> Array:
        x = nn.relu(batch_norm("bn1")(convolution(self.width, 7, 2, "conv1")(images)))
        x = tap("stem", max_pool(x))
        for stage, depth in enumerate(self.depths):
            for i in range(depth):
                features, stride = self.width * 2**stage, 2 if stage and not i else 1
                name = f"layer{stage + 1}_{i}"
                x = Block(features, stride, self.bottleneck, self.project_all, name=name)(x)
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


def infer(tensors: Mapping[str, np.ndarray], config: Config) -> dict[str, Any]:
    """The keywords of `build` for a checkpoint, from its shapes; except its name and input.

    Raises:
      ValueError: a tensor that tells the architecture is missing or misshapen, or the configuration
        belongs to a network with the same tensors but another computation.
    """
    if not _KNOWN.fullmatch(config.architecture or "resnet"):
        raise ValueError(
            f"architecture is {config.architecture!r}, which may compute something else than the "
            "residual network of torchvision that its tensors look like; write timm's name of "
            "what it is, or none"
        )
    if config.global_pool not in (None, "avg"):
        raise ValueError(f"global_pool {config.global_pool!r}; a residual network has 'avg'")
    bottleneck = "layer1.0.conv3.weight" in tensors
    projected = {match.groups() for name in tensors if (match := _PROJECTED.match(name))}
    found = {
        "num_classes": conversion.classes(config.num_classes, tensors, "fc.weight"),
        "image_size": config.image_size or (224, 224),
        "depths": depths(tensors),
        "width": conversion.shape_of(tensors, "conv1.weight", 4)[0],
        "bottleneck": bottleneck,
        "project_all": any(
            block != "0" or (stage == "1" and not bottleneck) for stage, block in projected
        ),
    }
    settings.expect(config.model_args, _expected(found))
    return found


def _expected(found: Mapping[str, Any]) -> settings.Expected:
    """timm's keywords, and their values for the network that was read."""
    none, widths = (None, ""), [found["width"] * 2**i for i in range(len(found["depths"]))]
    return {
        "img_size": settings.side(found["image_size"]),
        "in_chans": (3,),
        "num_classes": (found["num_classes"],),
        "global_pool": ("avg",),
        "layers": (list(found["depths"]),),
        "channels": (widths,),
        "stem_width": (found["width"],),
        "base_width": (64,),
        "cardinality": (1,),
        "output_stride": (32,),
        "block_reduce_first": (1,),
        "down_kernel_size": (1,),
        **dict.fromkeys(("avg_down", "replace_stem_pool"), (False,)),
        **dict.fromkeys(("stem_type", "norm_layer", "aa_layer"), none),
        "act_layer": ("relu", *none),
        "block_args": (None, {}),
    }


def depths(names: Iterable[str]) -> tuple[int, ...]:
    """The number of blocks in each stage: "layer2.0.conv1.weight" is of the second's first."""
    blocks = {match.groups() for name in names if (match := re.match(r"layer(\d+)\.(\d+)\.", name))}
    stages = [stage for stage, _ in blocks]
    return tuple(stages.count(stage) for stage in sorted(set(stages), key=int))


def convert(tensors: Mapping[str, np.ndarray], model: Model) -> Variables:
    """A checkpoint's tensors as variables; raises ValueError if they do not fit."""
    return conversion.to_variables(without_counters(tensors), conversion.torch_rules(model.init))


def without_counters(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without batch norm's step counters: inference ignores them, and older files lack them."""
    return {name: t for name, t in tensors.items() if not name.endswith("num_batches_tracked")}


def export(variables: Variables, model: Model) -> dict[str, np.ndarray]:
    """The inverse of `convert`: tensors under torchvision's names, without its counters."""
    return conversion.to_tensors(variables, conversion.torch_rules(model.init))


def config(model: Model) -> Config:
    """What timm needs to build the network, and `infer` besides the tensors; without the input.

    If timm has no such network, the architecture is "resnet", which timm does not know.
    """
    module = module_of(model)
    name, args = "resnet50" if module.bottleneck else "resnet18", {"layers": list(module.depths)}
    if module.width != 64 or module.project_all or len(module.depths) != 4:  # fixed in timm
        name, args = "resnet", {}
    return Config(
        architecture=name, num_classes=model.num_classes, global_pool="avg", model_args=args
    )
