"""CLIP's vision transformer, by OpenAI's parameter names: the image features, not the text's."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rival_jax.models import conversion, settings, vit, vit_config, vit_names
from rival_jax.models.network import input_keywords
from rival_jax.types import Model, Variables
from rival_jax.weights import Config

resized = vit.resized
DEFAULTS = Config(
    mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711), crop_pct=1.0
)
PREFIX = "visual."  # of the published names
UNTOLD = vit_config.UNTOLD
_RENAMED = {
    "patch_embed.weight": "conv1.weight",
    "cls_token": "class_embedding",
    "pos_embed": "positional_embedding",
    "norm_pre": "ln_pre",
    "norm": "ln_post",
    "blocks": "transformer.resblocks",
    "norm1": "ln_1",
    "norm2": "ln_2",
    "qkv.weight": "in_proj_weight",
    "qkv.bias": "in_proj_bias",
    "proj.weight": "out_proj.weight",
    "proj.bias": "out_proj.bias",
    "fc1": "c_fc",
    "fc2": "c_proj",
}
_FIXED = {  # the same in every network of this kind, by `vit.ViT`'s fields
    "num_classes": 0,
    "pool": "token",
    "distilled": False,
    "register_tokens": 0,
    "no_embed_class": False,
    "qkv_bias": True,
    "layer_scale": False,
    "pre_norm": True,
    "representation_size": 0,
}
_FLAT = ("class_embedding", "positional_embedding")


class ClipViT(vit.ViT):
    """`vit.ViT` with CLIP's arithmetic; its logits are the image features."""

    num_classes: int = 0
    gelu: str = "quick"
    layer_norm_eps: float = 1e-5
    pre_norm: bool = True


def build(*, name: str, image_size: tuple[int, int], **keywords: Any) -> Model:
    """CLIP's vision transformer; see `vit.build`."""
    given = input_keywords(keywords)
    return vit.as_vit(ClipViT(image_size=image_size, **keywords), name=name, **given)


def recognises(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether a checkpoint's tensors are those of CLIP's vision transformer."""
    return any(name.startswith("transformer.resblocks.0.") for name in tensors)


def infer(tensors: Mapping[str, np.ndarray], config: Config) -> dict[str, Any]:
    """The keywords of `build` for a checkpoint, except its name and input.

    All from the shapes, except the heads (see `vit_names.heads`) and the GELU: "quick_gelu", like
    OpenAI's, unless the configuration says "gelu", like LAION's models.

    Raises:
      ValueError: a tensor is missing or misshapen, or a setting is not the network's.
    """
    (width,) = conversion.shape_of(tensors, "class_embedding", 1)
    patch = conversion.shape_of(tensors, "conv1.weight", 4)[-1]
    positions, _ = conversion.shape_of(tensors, "positional_embedding", 2)
    hidden, _ = conversion.shape_of(tensors, "transformer.resblocks.0.mlp.c_fc.weight", 2)
    side = math.isqrt(positions - 1)
    blocks = {m[1] for name in tensors if (m := re.match(r"transformer\.resblocks\.(\d+)\.", name))}
    found = {
        "image_size": config.image_size or (side * patch, side * patch),
        "patch_size": patch,
        "width": width,
        "depth": len(blocks),
        "heads": vit_names.heads(config, width),
        "mlp_ratio": hidden / width,
        "gelu": vit_names.activation(config, "quick_gelu"),
        "layer_norm_eps": settings.epsilon(config.model_args, "norm_eps", vit_names.CLIP_EPS),
        "projection": conversion.shape_of(tensors, "proj", 2)[1],
    }
    settings.expect(config.model_args, vit_config.expected({**_FIXED, **found}))
    return found


def convert(tensors: Mapping[str, np.ndarray], model: Model) -> Variables:
    """A checkpoint's tensors as variables; raises ValueError if they do not fit."""
    return conversion.to_variables(tensors, _rules(model))


def export(variables: Variables, model: Model) -> dict[str, np.ndarray]:
    """The inverse of `convert`, under the published names: "visual.conv1.weight"."""
    tensors = conversion.to_tensors(variables, _rules(model))
    return {PREFIX + name: tensor for name, tensor in tensors.items()}


def config(model: Model) -> Config:
    """The part of a configuration that `infer` needs, besides the tensors, to find the network."""
    return dataclasses.replace(vit.config(model), architecture="clip_vit", global_pool=None)


def _rules(model: Model) -> list[conversion.Rule]:
    return conversion.torch_rules(model.init, _RENAMED, _FLAT)
