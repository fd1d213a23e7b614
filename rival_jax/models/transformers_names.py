"""transformers' names for classifiers of the native families: ViT, DeiT and ResNet.

Its other networks compute something that these do not (DINOv2's and CLIP's heads read the mean of
all patches), and are exported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rival_jax.weights import config_keys

Tensors = dict[str, np.ndarray]
_RENAMED = (  # in this order: what stands for what
    (r"^(vit|deit)\.embeddings\.cls_token$", "cls_token"),
    (r"^(vit|deit)\.embeddings\.position_embeddings$", "pos_embed"),
    (r"^(vit|deit)\.embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^(vit|deit)\.encoder\.layer\.", "blocks."),
    (r"^(vit|deit)\.layernorm\.", "norm."),
    (r"^(blocks\.\d+)\.layernorm_before\.", r"\1.norm1."),
    (r"^(blocks\.\d+)\.layernorm_after\.", r"\1.norm2."),
    (r"^(blocks\.\d+)\.attention\.output\.dense\.", r"\1.attn.proj."),
    (r"^(blocks\.\d+)\.attention\.attention\.", r"\1.attn."),
    (r"^(blocks\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"^(cls_)?classifier\.(?!1\.)", "head."),
    (r"^distillation_classifier\.", "head_dist."),
    (r"^resnet\.embedder\.embedder\.", "."),
    (r"^classifier\.1\.", "fc."),
)
_PART = re.compile(r"(blocks\.\d+\.attn)\.(query|key|value)\.(\w+)$")
_STAGE = re.compile(r"resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.(?:layer\.(\d+)|shortcut)")
_TOLD = ("vit.layernorm.weight", "deit.layernorm.weight", "resnet.embedder.embedder.")
_CLASSIFIERS = {  # and their model_type
    "ViTForImageClassification": "vit",
    "DeiTForImageClassification": "deit",
    "DeiTForImageClassificationWithTeacher": "deit",
    "ResNetForImageClassification": "resnet",
}
_HEADS = ("classifier.weight", "cls_classifier.weight", "classifier.1.weight")


def are_in(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether a file is of one of these classifiers."""
    return any(name in tensors for name in _HEADS) and any(n.startswith(_TOLD) for n in tensors)


def check(said: Mapping[str, Any]) -> None:
    """Raises ValueError for a configuration of another network, whatever its tensors' names."""
    both = (said.get("architectures"), said.get("model_type"))
    if both not in [([name], kind) for name, kind in _CLASSIFIERS.items()]:
        raise ValueError(
            f"architectures and model_type are {config_keys.shown(both)}: it may compute something "
            f"else than {', '.join(_CLASSIFIERS)}"
        )


def renamed(tensors: Tensors) -> Tensors:
    """Under timm's names: queries, keys and values are one product.

    Raises:
      ValueError: one of the three is missing, or of another shape.
    """
    found: Tensors = {}
    second = "distillation_classifier.weight" in tensors
    thirds: dict[str, Tensors] = {}
    for name, tensor in tensors.items():
        new = _STAGE.sub(_of_stage, name)
        for pattern, replacement in _RENAMED:
            new = re.sub(pattern, replacement, new)
        if new.endswith(".embeddings.distillation_token"):  # without a head it is one token more
            new = "dist_token" if second else "reg_token"
        new = _of_residual(new)
        if part := _PART.match(new):
            thirds.setdefault(f"{part[1]}.qkv.{part[3]}", {})[part[2]] = tensor
        else:
            found[new] = tensor
    for name, parts in thirds.items():
        shapes = {key: parts[key].shape for key in ("query", "key", "value") if key in parts}
        if len(shapes) < 3 or len(set(shapes.values())) > 1:
            raise ValueError(f"{name} is made of query, key and value of one shape; got {shapes}")
        found[name] = np.concatenate([parts[key] for key in shapes])
    return found


def _of_stage(match: re.Match[str]) -> str:
    """ "layer2.0.1": the second convolution of a block, "layer2.0.downsample": its shortcut."""
    place = f"layer{int(match[1]) + 1}.{match[2]}"
    return f"{place}.{int(match[3]) + 1}" if match[3] else f"{place}.downsample"


def _of_residual(name: str) -> str:
    """A convolution and its norm, which transformers has together."""
    name = re.sub(r"(\.downsample)\.convolution\.", r"\1.0.", name)
    name = re.sub(r"(\.downsample)\.normalization\.", r"\1.1.", name)
    name = re.sub(r"\.(\d)\.convolution\.", r".conv\1.", name)
    name = re.sub(r"\.(\d)\.normalization\.", r".bn\1.", name)
    return re.sub(r"^\.normalization\.", "bn1.", re.sub(r"^\.convolution\.", "conv1.", name))
