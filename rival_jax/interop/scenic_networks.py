"""Which network a Scenic tree holds, and which of our networks exist in Scenic."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from rival_jax import models
from rival_jax.interop import scenic_names as names
from rival_jax.interop.scenic_vit import POOLS, PooledViT
from rival_jax.models import clip_resnet, clip_vit, resnet, vit
from rival_jax.models.network import INPUT, module_of
from rival_jax.types import Model

Leaves = Mapping[str, np.ndarray]
"""A tree's leaves by path, "Transformer/encoder_norm/scale"; batch norm's statistics too."""

INSTEAD = "interop.scenic.wrap_scenic_model analyses such a module where Scenic is installed"
_TEXT = re.compile(r"text/|logit_scale$")
_ATTENTION = "Transformer/encoderblock_0/MultiHeadDotProductAttention_0"
_SIZES = ("parent", "name", "image_size", "patch_size", "width", "depth", "heads")
_FREE = {  # fields of our transformers that Scenic's have too
    clip_vit.ClipViT: (*_SIZES, "projection"),
    vit.ViT: (*_SIZES, "representation_size", "num_classes", "mlp_ratio"),
    PooledViT: (*_SIZES, "representation_size", "num_classes", "mlp_ratio", "classifier"),
}
_GELU = {vit: "gelu_tanh", clip_vit: "quick_gelu"}


@dataclasses.dataclass(frozen=True)
class Network:
    """A network as described by a tree's leaves."""

    family: ModuleType  # of rival_jax.models
    table: names.Table
    leaves: Leaves  # without CLIP's text tower
    sizes: Mapping[str, Any]  # by their names in Scenic's configuration
    classes: int = 0
    heads: int = 1
    stride: int = 1  # pixels between two positions
    positions: int = 0  # number of learned positions; 0: none, any image size will do


def recognised(leaves: Leaves) -> Network:
    """The network of these leaves.

    Raises:
      ValueError: it is not a known network.
      KeyError: a leaf that sizes are read from is missing.
    """
    if any(path.startswith("Transformer/") for path in leaves):
        return _vit(leaves)
    if "stem_conv/kernel" in leaves:
        return _resnet(leaves)
    tower = {path: leaf for path, leaf in leaves.items() if not _TEXT.match(path)}
    if "visual/class_embedding" in tower:
        return _clip_vit(tower)
    if any(path.startswith("visual/layer1/") for path in tower):
        return _clip_resnet(tower)
    some = ", ".join(sorted(leaves)[:5])
    raise ValueError(f"{some} ... belong to no ViT, ResNet or CLIP of Scenic's; {INSTEAD}")


def _vit(leaves: Leaves) -> Network:
    if "MAPHead_0/probe" in leaves:
        raise ValueError(f"classifier='map' is not ours; {INSTEAD}")
    if "Transformer/posembed_input/pos_embedding" not in leaves:
        raise ValueError(f"only positional_embedding='learned_1d' is ours; {INSTEAD}")
    height, patch, _, width = leaves["embedding/kernel"].shape
    if height != patch:
        raise ValueError(f"patches of {height}x{patch}; ours are square; {INSTEAD}")
    heads = leaves[f"{_ATTENTION}/query/kernel"].shape[1]
    classes = _columns("output_projection/kernel", leaves)
    sizes = {
        "hidden_size": width,
        "patches.size": (patch, patch),
        "num_heads": heads,
        "mlp_dim": leaves["Transformer/encoderblock_0/MlpBlock_0/Dense_0/kernel"].shape[1],
        "num_layers": _count(r"Transformer/encoderblock_(\d+)/", leaves),
        "representation_size": _columns("pre_logits/kernel", leaves),
        "num_classes": classes,
    }
    if "cls" in leaves:
        sizes["classifier"] = "token"
    positions = leaves["Transformer/posembed_input/pos_embedding"].shape[1] - ("cls" in leaves)
    return Network(vit, names.VIT, leaves, sizes, classes, heads, patch, positions)


def _resnet(leaves: Leaves) -> Network:
    number = _count(r"ResidualBlock_(\d+)/", leaves)
    widths = [leaves[f"ResidualBlock_{i}/conv2/kernel"].shape[-1] for i in range(number)]
    depths = [len(list(group)) for _, group in itertools.groupby(widths)]
    bottleneck = "ResidualBlock_0/conv1/kernel" in leaves
    classes = _columns("output_projection/kernel", leaves)
    layers = 2 + (3 if bottleneck else 2) * number
    sizes = {
        "num_filters": leaves["stem_conv/kernel"].shape[-1],
        "num_layers": 9 if layers == 10 else layers,  # Scenic calls four small blocks 9
        "num_outputs": classes,
    }
    return Network(resnet, names.resnet(depths, bottleneck), leaves, sizes, classes)


def _clip_vit(leaves: Leaves) -> Network:
    patch, _, _, width = leaves["visual/conv1/kernel"].shape
    _, heads, head_width = leaves["visual/transformer/resblocks.0/attn/query/kernel"].shape
    sizes = {
        "embed_dim": leaves["visual/proj/kernel"].shape[1],
        "vision_features": width,
        "vision_num_layers": _count(r"visual/transformer/resblocks\.(\d+)/", leaves),
        "vision_head_dim": head_width,
        "vision_patch_size": patch,
    }
    positions = len(leaves["visual/positional_embedding"]) - 1
    return Network(clip_vit, names.CLIP_VIT, leaves, sizes, 0, heads, patch, positions)


def _clip_resnet(leaves: Leaves) -> Network:
    _, heads, head_width = leaves["visual/attnpool/attn/query/kernel"].shape
    depths = [_count(rf"visual/layer{stage}/(\d+)/", leaves) for stage in range(1, 5)]
    sizes = {
        "embed_dim": leaves["visual/attnpool/attn/out/kernel"].shape[-1],
        "vision_features": leaves["visual/conv3/kernel"].shape[-1],
        "vision_num_layers": tuple(depths),
        "vision_head_dim": head_width,
    }
    positions = len(leaves["visual/attnpool/positional_embedding"]) - 1
    stride = clip_resnet.STRIDE
    return Network(clip_resnet, names.CLIP_RESNET, leaves, sizes, 0, heads, stride, positions)


def _count(pattern: str, leaves: Leaves) -> int:
    return len({match[1] for path in leaves if (match := re.match(pattern, path))})


def _columns(path: str, leaves: Leaves) -> int:
    return leaves[path].shape[1] if path in leaves else 0


def equivalent(model: Model) -> tuple[ModuleType, names.Table, int]:
    """The family of one of our models, and its table and number of heads in Scenic.

    Raises:
      ValueError: Scenic has no network with this arithmetic.
    """
    module = module_of(model)
    if isinstance(module, resnet.ResNet):
        if module.project_all == module.bottleneck:
            raise ValueError(
                f"{model.name!r}: Scenic has bottleneck={module.bottleneck} only with "
                f"project_all={not module.bottleneck}"
            )
        free = ("num_classes", "depths", "width", "bottleneck", "project_all")
        _usual(model, module, free, {})
        return resnet, names.resnet(module.depths, module.bottleneck), 1
    if isinstance(module, clip_resnet.ClipResNet):
        return clip_resnet, names.CLIP_RESNET, module.heads
    if type(module) not in _FREE:
        raise ValueError(f"{model.name!r} is a {type(module).__name__}, which Scenic has not")
    fixed = {} if isinstance(module, clip_vit.ClipViT) else {"gelu": "tanh"}
    _usual(model, module, _FREE[type(module)], fixed)
    if fixed:
        return vit, names.VIT, module.heads
    return clip_vit, names.CLIP_VIT, module.heads


def _usual(model: Model, module: Any, free: Collection[str], fixed: Mapping[str, Any]) -> None:
    """Raises ValueError for fields, but for `free` ones, that differ from `fixed` or defaults."""
    strange = [
        f"{field.name}={getattr(module, field.name)!r}"
        for field in dataclasses.fields(module)
        if field.name not in {*free, "parent", "name"}
        and getattr(module, field.name) != fixed.get(field.name, field.default)
    ]
    if strange:
        kind = "residual network" if isinstance(module, resnet.ResNet) else "transformer"
        raise ValueError(f"{model.name!r}: Scenic has no {kind} with {', '.join(strange)}")


def built(
    network: Network,
    tensors: Mapping[str, np.ndarray],
    name: str,
    treatment: Mapping[str, Any],
    classifier: str | None,
) -> Model:
    """The model for a tree.

    Args:
      network: what the tree holds.
      tensors: its leaves under the names of `network.family`.
      name: what tables call the model.
      treatment: the input's, keywords of `weights.Config`.
      classifier: a vision transformer's, from the configuration.

    Raises:
      ValueError: the image size does not fit, or the pooling is not one of ours.
    """
    model_args = {"num_heads": network.heads, "act_layer": _GELU.get(network.family)}
    said = models.weights.Config(
        num_classes=network.classes,
        model_args=model_args,
        **{**treatment, "image_size": _image_size(network, treatment.get("image_size"))},
    )
    keywords = network.family.infer(tensors, said)
    given = {key: getattr(said, key) for key in INPUT}
    if network.family is not vit or "cls_token" in tensors:
        return network.family.build(name=name, **given, **keywords)
    if classifier not in POOLS:
        raise ValueError(
            f"the weights have no class token, so config.model.classifier, {classifier!r}, has to "
            f"be one of {', '.join(POOLS)}"
        )
    module = PooledViT(classifier=classifier, **{**keywords, "no_embed_class": False})
    return vit.as_vit(module, name=name, **given)


def _image_size(network: Network, said: tuple[int, int] | None) -> tuple[int, int] | None:
    """The given size if it fits the number of positions, or else a square that fits."""
    if not network.positions:
        return said
    stride, side = network.stride, math.isqrt(network.positions)
    if said is None and side * side == network.positions:
        return side * stride, side * stride
    height, width = said or (0, 0)
    if (height // stride) * (width // stride) != network.positions:
        size = f"an image of {height}x{width} has not" if said else "no square has"
        raise ValueError(
            f"the weights have {network.positions} positions {stride} pixels apart, which {size}; "
            "give the image_size= that they were trained at"
        )
    return said
