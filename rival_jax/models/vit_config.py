"""What the shapes of a checkpoint and its `config.json` say about a vision transformer."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rival_jax.models import conversion
from rival_jax.models.network import module_of
from rival_jax.types import Model
from rival_jax.weights import Config

_log = logging.getLogger(__name__)

_HEADS = {  # timm's size names: (width, heads)
    "tiny": (192, 3),
    "small": (384, 6),
    "medium": (512, 8),
    "base": (768, 12),
    "large": (1024, 16),
    "huge": (1280, 16),
    "giant": (1408, 16),
    "gigantic": (1664, 16),
    "so400m": (1152, 16),
}
EPS, CLIP_EPS = 1e-6, 1e-5  # of the norms: timm's, and of its CLIP towers
_ACTIVATIONS = {"gelu": "exact", "gelu_tanh": "tanh", "quick_gelu": "quick"}


def infer(tensors: Mapping[str, np.ndarray], config: Config) -> dict[str, Any]:
    """The keywords of `build` that fit a checkpoint, but its name and input.

    Everything comes from the tensors' shapes but the number of heads (from `model_args`, else
    timm's architecture name, else width / 64, which is logged), the kind of GELU, and an image
    that is not square.

    Raises:
      ValueError: a tensor that tells the architecture is missing or misshapen, the number of
        positions does not fit the image size, or an unknown setting.
    """
    _, positions, width = conversion.shape_of(tensors, "pos_embed", 3)
    patch_size = conversion.shape_of(tensors, "patch_embed.proj.weight", 4)[-1]
    hidden, _ = conversion.shape_of(tensors, "blocks.0.mlp.fc1.weight", 2)
    blocks = {match[1] for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))}
    distilled = "dist_token" in tensors
    register_tokens = _registers(config)
    if "reg_token" in tensors:
        register_tokens = conversion.shape_of(tensors, "reg_token", 3)[1]
    prefix_tokens = 1 + distilled + register_tokens
    image_size, no_embed_class = _positions(positions, patch_size, prefix_tokens, config.image_size)
    representation_size = 0
    if "pre_logits.fc.weight" in tensors:
        representation_size = conversion.shape_of(tensors, "pre_logits.fc.weight", 2)[0]
    pre_norm = "norm_pre.weight" in tensors
    clip = pre_norm or "_clip_" in (config.architecture or "")
    pool = "avg" if "fc_norm.weight" in tensors else "token"
    quick = "quickgelu" in (config.architecture or "")
    activation = config.model_args.get("act_layer") or ("quick_gelu" if quick else "gelu")
    return {
        "num_classes": conversion.classes(config.num_classes, tensors, "head.weight"),
        "image_size": image_size,
        "patch_size": patch_size,
        "width": width,
        "depth": len(blocks),
        "heads": _heads(config, width),
        "mlp_ratio": hidden / width,
        "pool": config.global_pool or pool,
        "distilled": distilled,
        "register_tokens": register_tokens,
        "no_embed_class": no_embed_class,
        "qkv_bias": "blocks.0.attn.qkv.bias" in tensors,
        "layer_scale": "blocks.0.ls1.gamma" in tensors,
        "gelu": gelu(activation),
        "layer_norm_eps": config.model_args.get("norm_eps", CLIP_EPS if clip else EPS),
        "pre_norm": pre_norm,
        "representation_size": representation_size,
    }


def _registers(config: Config) -> int:
    """The register tokens that a configuration promises: a file may have lost them."""
    named = re.search(r"_reg(\d+)_", config.architecture or "")
    return config.model_args.get("reg_tokens", int(named[1]) if named else 0)


def gelu(layer: str) -> str:
    """Our name of the GELU that timm calls `layer`."""
    if layer not in _ACTIVATIONS:
        raise ValueError(f"act_layer {layer!r} is not one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[layer]


def _positions(
    positions: int, patch_size: int, prefix_tokens: int, image_size: tuple[int, int] | None
) -> tuple[tuple[int, int], bool]:
    """The image size, and whether only the patches have positions."""
    if image_size is None:
        for patches in (positions - prefix_tokens, positions):
            side = math.isqrt(patches)
            if side * side == patches:
                return (side * patch_size, side * patch_size), patches == positions
        raise ValueError(f"pos_embed has {positions} positions, no square; give input_size")
    h, w = image_size
    patches = (h // patch_size) * (w // patch_size)
    if positions not in (patches, patches + prefix_tokens):
        raise ValueError(
            f"pos_embed has {positions} positions, but a {h}x{w} image in patches of {patch_size} "
            f"has {patches} patches and {prefix_tokens} more tokens; set input_size in "
            "config.json to the size the weights were trained at"
        )
    return image_size, positions == patches


def _heads(config: Config, width: int) -> int:
    if "num_heads" in config.model_args:
        return config.model_args["num_heads"]
    size = re.match(r"(?:vit|deit3?)_([a-z0-9]+)_", config.architecture or "")
    known_width, heads = _HEADS.get(size[1] if size else "", (0, 0))
    if known_width == width:
        return heads
    heads = max(1, width // 64)
    _log.warning(
        "architecture %r with width %d does not say its number of heads; taking %d; "
        "if that is wrong set model_args.num_heads in config.json",
        config.architecture,
        width,
        heads,
    )
    return heads


def config(model: Model) -> Config:
    """What timm needs to build the network, and `infer` beside the tensors; without the input.

    The architecture is timm's of the same kind, with every size given. It is "vit", which timm
    does not know, where timm has nothing of the kind.
    """
    module = module_of(model)
    clip_like = module.layer_norm_eps == CLIP_EPS
    args = {
        "img_size": list(module.image_size),
        "patch_size": module.patch_size,
        "embed_dim": module.width,
        "depth": module.depth,
        "num_heads": module.heads,
        "mlp_ratio": module.mlp_ratio,
        "qkv_bias": module.qkv_bias,
        "global_pool": module.pool,
        "act_layer": {gelu: layer for layer, gelu in _ACTIVATIONS.items()}[module.gelu],
    }
    if module.register_tokens:
        args["reg_tokens"] = module.register_tokens
    if module.no_embed_class:
        args["no_embed_class"] = True
    if module.layer_scale:
        args["init_values"] = 1e-5
    if clip_like:
        args["pre_norm"] = module.pre_norm
    elif module.layer_norm_eps != EPS:
        args["norm_eps"] = module.layer_norm_eps
    name = "vit_base_patch16_clip_224" if clip_like else "vit_base_patch16_224"
    if module.distilled:
        name = "deit_base_distilled_patch16_224"
    unknown = module.representation_size or "norm_eps" in args
    if unknown or (module.distilled and clip_like):
        name = "vit"
        args["norm_eps"] = module.layer_norm_eps
    return Config(
        architecture=name,
        num_classes=model.num_classes,
        global_pool=module.pool,
        model_args=args,
    )
