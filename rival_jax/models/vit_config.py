"""What the shapes of a checkpoint and its `config.json` say about a vision transformer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rival_jax.models import conversion, settings
from rival_jax.models.network import module_of
from rival_jax.types import Model
from rival_jax.weights import Config
from rival_jax.weights.config_keys import shown

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
_KNOWN = re.compile(r"(vit|deit3?|flexivit)(_(?!rope|relpos|siglip)[a-z0-9]+)*(\..*)?")
UNTOLD = {"num_heads": "heads", "act_layer": "gelu", "norm_eps": "layer_norm_eps"}
"""Facts that no tensor tells: keys of `model_args` -> keywords of `build`."""


def infer(tensors: Mapping[str, np.ndarray], config: Config) -> dict[str, Any]:
    """The keywords of `build` for a checkpoint, except its name and input.

    All from the tensors' shapes, except the number of heads (from `model_args`, else timm's
    architecture name), the kind of GELU, and an image that is not square.

    Raises:
      ValueError: a tensor that tells the architecture is missing or misshapen, the number of
        positions does not fit the image size, the number of heads is unknown, or a setting is not
        the network's.
    """
    _, positions, width = conversion.shape_of(tensors, "pos_embed", 3)
    patch_size = conversion.shape_of(tensors, "patch_embed.proj.weight", 4)[-1]
    hidden, _ = conversion.shape_of(tensors, "blocks.0.mlp.fc1.weight", 2)
    blocks = {match[1] for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))}
    if not _KNOWN.fullmatch(config.architecture or "vit"):
        raise ValueError(
            f"architecture is {config.architecture!r}, which may compute something else than the "
            "vision transformer its tensors look like; write timm's name of what it is, or none"
        )
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
    gelu = activation(config, "gelu")
    pool = "avg" if "fc_norm.weight" in tensors else "token"
    found = {
        "num_classes": conversion.classes(config.num_classes, tensors, "head.weight"),
        "image_size": image_size,
        "patch_size": patch_size,
        "width": width,
        "depth": len(blocks),
        "heads": heads(config, width),
        "mlp_ratio": hidden / width,
        "pool": config.global_pool or config.model_args.get("global_pool", pool),
        "distilled": distilled,
        "register_tokens": register_tokens,
        "no_embed_class": no_embed_class,
        "qkv_bias": "blocks.0.attn.qkv.bias" in tensors,
        "layer_scale": "blocks.0.ls1.gamma" in tensors,
        "gelu": gelu,
        "layer_norm_eps": settings.epsilon(
            config.model_args, "norm_eps", CLIP_EPS if clip else EPS
        ),
        "pre_norm": pre_norm,
        "representation_size": representation_size,
    }
    settings.expect(config.model_args, expected(found, hidden))
    return found


def expected(found: Mapping[str, Any], hidden: int) -> settings.Expected:
    """timm's keywords, and their values for the network that was read."""
    width, ratio = found["width"], found["mlp_ratio"]
    none = (None, "")
    return {
        "img_size": settings.side(found["image_size"]),
        "patch_size": settings.side((found["patch_size"],) * 2),
        "in_chans": (3,),
        "embed_dim": (width,),
        "depth": (found["depth"],),
        "mlp_ratio": (ratio, lambda said: isinstance(said, float) and int(said * width) == hidden),
        "intermediate_size": (hidden,),
        "num_classes": (found["num_classes"],),
        "global_pool": (found["pool"],),
        "fc_norm": (found["pool"] == "avg", None),
        "qkv_bias": (found["qkv_bias"],),
        "pre_norm": (found["pre_norm"],),
        "no_embed_class": (found["no_embed_class"],),
        "reg_tokens": (found["register_tokens"],),
        "distilled": (found["distilled"],),
        "representation_size": (
            found["representation_size"],
            lambda said: not said and not found["representation_size"],
        ),
        "init_values": (
            1e-5 if found["layer_scale"] else None,
            lambda said: bool(said) == found["layer_scale"],
        ),
        "class_token": (True,),
        "final_norm": (True,),
        "proj_bias": (True,),
        "pos_embed": ("learn",),
        **dict.fromkeys(("qk_norm", "scale_attn_norm", "scale_mlp_norm"), (False,)),
        "pool_include_prefix": (False,),
        **dict.fromkeys(("embed_layer", "embed_norm_layer", "norm_layer", "block_fn"), none),
        **dict.fromkeys(("mlp_layer", "attn_layer"), none),
    }


def _registers(config: Config) -> int:
    """The register tokens that a configuration declares: a file may have lost them."""
    named = re.search(r"_reg(\d+)_", config.architecture or "")
    return settings.count(config.model_args, "reg_tokens", int(named[1]) if named else 0)


def activation(config: Config, default: str) -> str:
    """Our name of the GELU: from `model_args`, else from a CLIP's name, else `default`.

    Raises:
      ValueError: it is unknown.
    """
    name = config.architecture or ""
    if "_clip_" in name:
        default = "gelu"
    if "quickgelu" in name:
        default = "quick_gelu"
    layer = config.model_args.get("act_layer") or default
    if layer not in tuple(_ACTIVATIONS):  # a tuple, since `layer` may be unhashable
        raise ValueError(f"act_layer {shown(layer)} is not one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[layer]


def _positions(
    positions: int, patch_size: int, prefix_tokens: int, image_size: tuple[int, int] | None
) -> tuple[tuple[int, int], bool]:
    """The image size, and whether only patches have positions."""
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


def heads(config: Config, width: int) -> int:
    """The number of heads: from `model_args`, else from timm's architecture of that name and width.

    Raises:
      ValueError: neither gives it, and no tensor does.
    """
    if "num_heads" in config.model_args:
        return settings.count(config.model_args, "num_heads", 0, least=1)
    size = re.match(r"(?:vit|deit3?|flexivit)_([a-z0-9]+)(_|\.|$)", config.architecture or "")
    known_width, known = _HEADS.get(size[1] if size else "", (0, 0))
    if known_width == width:
        return known
    named = f"architecture {config.architecture!r}" if config.architecture else "nothing"
    raise ValueError(
        f"no tensor tells the number of heads, and {named} says it for width {width}; write "
        '{"model_args": {"num_heads": ...}} into config.json beside the file, or pass '
        "--config.preprocessing.num_heads"
    )


def config(model: Model) -> Config:
    """What timm needs to build the network, and `infer` besides the tensors; without the input.

    The architecture is timm's of the same kind, with every size given, or "vit", which timm does
    not know, if timm has nothing of the kind.
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
