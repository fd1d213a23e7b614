"""What the shapes of a checkpoint and its `config.json` say about a vision transformer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rival_jax.models import conversion, settings, vit_names
from rival_jax.models.network import module_of
from rival_jax.models.vit_names import ACTIVATIONS, CLIP_EPS, EPS
from rival_jax.types import Model
from rival_jax.weights import Config

_USUAL = {
    "class_token": True,
    "fc_norm": None,
    "final_norm": True,
    "pool_prefix": False,
    "norm": "layer",
    "embed_norm": False,
    "qk_norm": False,
    "inner_norms": (False, False),
    "gated": "",
    "proj_bias": True,
    "differential": False,
    "side_by_side": 1,
}
UNTOLD = {"num_heads": "heads", "act_layer": "gelu", "norm_eps": "layer_norm_eps"}
"""Facts that no tensor tells: keys of `model_args` -> keywords of `build`."""


def infer(tensors: Mapping[str, np.ndarray], config: Config) -> dict[str, Any]:
    """The keywords of `build` for a checkpoint, except its name and input.

    All from the tensors' shapes, except an image that is not square, and what `vit_names` reads
    from timm's architecture name.

    Raises:
      ValueError: a tensor that tells the architecture is missing or misshapen, the number of
        positions does not fit the image size, the number of heads is unknown, or a setting is not
        the network's.
    """
    vit_names.check(config.architecture)
    _, positions, width = conversion.shape_of(tensors, "pos_embed", 3)
    patch_size = conversion.shape_of(tensors, "patch_embed.proj.weight", 4)[-1]
    said, pool = config.model_args, _pool(tensors, config)
    register_tokens = vit_names.registers(config)
    if "reg_token" in tensors:
        register_tokens = conversion.shape_of(tensors, "reg_token", 3)[1]
    class_token = pool == "token" or "cls_token" in tensors
    prefix_tokens = class_token + ("dist_token" in tensors) + register_tokens
    image_size, no_embed_class = _positions(positions, patch_size, prefix_tokens, config.image_size)
    representation_size = 0
    if "pre_logits.fc.weight" in tensors:
        representation_size = conversion.shape_of(tensors, "pre_logits.fc.weight", 2)[0]
    blocks = _blocks(tensors)
    pre_norm = "norm_pre.weight" in tensors
    found = {
        "num_classes": conversion.classes(config.num_classes, tensors, "head.weight"),
        "image_size": image_size,
        "patch_size": patch_size,
        "width": width,
        "heads": vit_names.heads(config, width),
        "mlp_ratio": blocks.pop("hidden") / width,
        **blocks,
        "pool": pool,
        "class_token": class_token,
        "distilled": "dist_token" in tensors,
        "register_tokens": register_tokens,
        "no_embed_class": no_embed_class,
        "gelu": vit_names.activation(config, "silu" if blocks["gated"] else "gelu"),
        "layer_norm_eps": vit_names.epsilon(config, pre_norm, blocks["norm"] == "rms"),
        "pre_norm": pre_norm,
        "representation_size": representation_size,
        "fc_norm": _fc_norm(tensors, pool, class_token),
        "final_norm": vit_names.final_norm(config),
        "pool_prefix": vit_names.pool_prefix(config),
        "embed_norm": "patch_embed.norm.weight" in tensors,
        "norms_follow": vit_names.norms_follow(config),
    }
    settings.expect(said, expected(found))
    return found


def _pool(tensors: Mapping[str, np.ndarray], config: Config) -> str:
    named = "avg" if "fc_norm.weight" in tensors else "token"
    named = "map" if "attn_pool.latent" in tensors else named
    return config.global_pool or config.model_args.get("global_pool", named)


def _fc_norm(tensors: Mapping[str, np.ndarray], pool: str, class_token: bool) -> bool | None:
    """False: the average of tokens that were normalised; None: as usual."""
    precedes = pool == "avg" and not class_token and "norm.weight" in tensors
    return False if precedes else None


def _blocks(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The fields of `vit.ViT` on its blocks, and the "hidden" units."""

    def some(pattern: str) -> bool:  # in any block: a file may have lost one of them
        return any(re.search(pattern, tensor) for tensor in tensors)

    gated = "split" if some(r"^blocks\..*\.fc1_g\.weight$") else ""
    parallel = some(r"^blocks\..*\.in_proj\.weight$")
    beside = {m[1] for name in tensors if (m := re.match(r"blocks\.0\.attns\.(\d+)\.", name))}
    mlp = "blocks.0.ffns.0.mlp" if beside else "blocks.0.mlp"
    first = f"{mlp}.fc1_g.weight" if gated else f"{mlp}.fc1.weight"
    first = "blocks.0.in_proj.weight" if parallel else first
    hidden, _ = conversion.shape_of(tensors, first, 2)
    if parallel:
        hidden -= 3 * conversion.shape_of(tensors, first, 2)[1]
    last = tensors.get(f"{mlp}.fc2.weight")
    if not gated and last is not None and last.shape[1:] == (hidden // 2,):
        gated, hidden = "packed", hidden // 2
    return {
        "depth": len(
            {match[1] for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))}
        ),
        "hidden": hidden,
        "gated": gated,
        "qkv_bias": some(r"^blocks\.0\.(in_proj|attn\.qkv|attns\.0\.attn\.qkv)\.bias$"),
        "layer_scale": some(r"^blocks\.0\.(ls1?|attns\.0\.ls)\.gamma$"),
        "side_by_side": max(1, len(beside)),
        "parallel": parallel,
        "differential": some(r"\.lambda_q1$"),
        "norm": "layer" if some(r"norm\w*\.bias$") else "rms",
        "qk_norm": some(r"\.q_norm\.weight$"),
        "inner_norms": (some(r"\.attn\.norm\.weight$"), some(r"\.mlp\.norm\.weight$")),
        "proj_bias": some(r"^blocks\..*(attn\.proj|mlp\.fc\w+|out_proj)\.bias$"),
    }


def expected(found: Mapping[str, Any]) -> settings.Expected:
    """timm's keywords, and their values for the network that was read; `found` may lack fields of
    `vit.ViT` that have their usual values."""
    found = {**_USUAL, **found}
    width, ratio = found["width"], found["mlp_ratio"] * (2 if found["gated"] == "packed" else 1)
    hidden = round(width * ratio)
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
        "fc_norm": (found["pool"] == "avg" and found["fc_norm"] is None, None),
        "qkv_bias": (found["qkv_bias"],),
        "pre_norm": (found["pre_norm"],),
        "no_embed_class": (found["no_embed_class"], *_either(found)),
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
        "class_token": (found["class_token"],),
        "final_norm": (found["final_norm"],),
        "proj_bias": (found["proj_bias"],),
        "pos_embed": ("learn",),
        "qk_norm": (found["qk_norm"],),
        "scale_attn_norm": (found["inner_norms"][0],),
        "scale_mlp_norm": (found["inner_norms"][1],),
        "pool_include_prefix": (found["pool_prefix"],),
        "norm_layer": ("rmsnorm",) if found["norm"] == "rms" else none,
        "embed_norm_layer": ("rmsnorm",) if found["embed_norm"] else none,
        "attn_layer": ("diff",) if found["differential"] else none,
        **dict.fromkeys(("embed_layer", "block_fn"), none),
        "mlp_layer": none if not found["gated"] else (found["gated"],),
    }


def _either(found: Mapping[str, Any]) -> tuple[bool, ...]:
    """Without other tokens, whether these have positions is no difference."""
    alone = not (found["class_token"] or found["distilled"] or found["register_tokens"])
    return (not found["no_embed_class"],) if alone else ()


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
        "mlp_ratio": module.mlp_ratio * (2 if module.gated == "packed" else 1),
        "qkv_bias": module.qkv_bias,
        "global_pool": module.pool,
        "act_layer": {gelu: layer for layer, gelu in ACTIVATIONS.items()}[module.gelu],
    }
    keys = ("class_token", "final_norm", "qk_norm", "proj_bias")
    args |= {key: getattr(module, key) for key in keys if getattr(module, key) != _USUAL[key]}
    norms = zip(("scale_attn_norm", "scale_mlp_norm"), module.inner_norms, strict=True)
    args |= {key: True for key, there in norms if there}
    if module.norm == "rms":
        args["norm_layer"] = "rmsnorm"
    if module.differential and not module.parallel:
        args["attn_layer"] = "diff"
    if module.pool_prefix:
        args["pool_include_prefix"] = True
    if module.pool == "avg" and module.final_norm and not module.norm_follows:
        args["fc_norm"] = False
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
    if module.norms_follow:
        name, args["init_values"] = "vit_base_patch16_rpn_224", None
    if module.side_by_side > 1:
        name, args["init_values"] = "vit_small_patch16_18x2_224", args.get("init_values")
    if module.distilled:
        name = "deit_base_distilled_patch16_224"
    unknown = (
        module.representation_size
        or "norm_eps" in args
        or module.gated
        or module.embed_norm
        or module.parallel
        or module.side_by_side > 2
    )
    if (unknown and not module.norms_follow) or (module.distilled and clip_like):
        name = "vit"
        args["norm_eps"] = module.layer_norm_eps
    return Config(
        architecture=name,
        num_classes=model.num_classes,
        global_pool=module.pool,
        model_args=args,
    )
