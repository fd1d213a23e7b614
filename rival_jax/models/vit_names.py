"""What only timm's name of a vision transformer tells: heads, activation, norms, pooled tokens."""

from __future__ import annotations

import re

from rival_jax.models import settings
from rival_jax.weights import Config
from rival_jax.weights.config_keys import shown

EPS, CLIP_EPS = 1e-6, 1e-5  # of the norms: timm's, and of its CLIP towers
ACTIVATIONS = {"gelu": "exact", "gelu_tanh": "tanh", "quick_gelu": "quick", "silu": "silu"}
_KNOWN = re.compile(
    r"(vit|deit3?|flexivit|beit3|aimv2|test_vit\d?|eva_large_patch14)"
    r"(_(?!rope|relpos|pe_|dinov3)[a-z0-9]+)*(\..*)?"
)
_HEADS = {  # (width, heads) by the size in the name, the first that fits the name and the width
    r"aimv2_\w+": ((1024, 8), (1536, 12), (2048, 16), (3072, 24)),
    r"vit_base_patch16_gap_\d+": ((768, 16),),
    r"test_vit\d?": ((64, 2), (96, 3)),
    r"[a-z0-9]+_tiny": ((192, 3),),
    r"[a-z0-9]+_d?p?wee": ((256, 4),),
    r"[a-z0-9]+_xsmall": ((256, 4),),
    r"[a-z0-9]+_d?little": ((320, 5),),
    r"[a-z0-9]+_small": ((384, 6),),
    r"[a-z0-9]+_mediumd?": ((512, 8),),
    r"[a-z0-9]+_betwixt": ((640, 10),),
    r"[a-z0-9]+_base": ((768, 12), (896, 14)),
    r"[a-z0-9]+_so150m": ((896, 14),),
    r"[a-z0-9]+_so150m2": ((832, 13),),
    r"[a-z0-9]+_so400m": ((1152, 16),),
    r"[a-z0-9]+_(large|intern300m)": ((1024, 16),),
    r"[a-z0-9]+_huge": ((1280, 16),),
    r"[a-z0-9]+_giant": ((1408, 16), (1536, 24)),
    r"vit_giantopt": ((1536, 16),),
    r"[a-z0-9]+_gigantic": ((1664, 16),),
}
_TANH = re.compile(
    r"vit_(base_patch32_siglip|large_patch16_siglip(_gap)?_512|(so400m|giantopt)_patch16_siglip)(_|\.|$)"
)
_NO_FINAL_NORM = re.compile(r"_(radio_v\d|intern300m)(_|\.|$)")


def check(name: str | None) -> None:
    """Raises ValueError for an architecture that may compute something else."""
    if not _KNOWN.fullmatch(name or "vit"):
        raise ValueError(
            f"architecture is {name!r}, which may compute something else than the "
            "vision transformer its tensors look like; write timm's name of what it is, or none"
        )


def activation(config: Config, default: str) -> str:
    """Our name of the GELU: from `model_args`, else from timm's name, else `default`.

    Raises:
      ValueError: it is unknown.
    """
    name = config.architecture or ""
    if "_clip_" in name:
        default = "gelu"
    if "quickgelu" in name:
        default = "quick_gelu"
    if _TANH.match(name):
        default = "gelu_tanh"
    layer = config.model_args.get("act_layer") or default
    if layer not in tuple(ACTIVATIONS):  # a tuple, since `layer` may be unhashable
        raise ValueError(f"act_layer {shown(layer)} is not one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[layer]


def epsilon(config: Config, pre_norm: bool, rms: bool) -> float:
    """Of the norms: from `model_args`, else by timm's name and the kind of network."""
    name = config.architecture or ""
    clip = (pre_norm and not rms) or "_clip_" in name or name.startswith(("beit3_", "aimv2_"))
    return settings.epsilon(config.model_args, "norm_eps", CLIP_EPS if clip else EPS)


def final_norm(config: Config) -> bool:
    """Whether there is a norm after the last block. Only a name or setting tells: a file may have
    lost its tensors."""
    named = not _NO_FINAL_NORM.search(config.architecture or "")
    return settings.switch(config.model_args, "final_norm", named)


def norms_follow(config: Config) -> bool:
    """Whether the norms of blocks follow what they precede elsewhere."""
    return re.search(r"_rpn(_|\.|$)", config.architecture or "") is not None


def pool_prefix(config: Config) -> bool:
    """Whether class and register tokens are pooled, too."""
    named = re.fullmatch(r"test_vit3(\..*)?", config.architecture or "") is not None
    return settings.switch(config.model_args, "pool_include_prefix", named)


def registers(config: Config) -> int:
    """The register tokens that a configuration declares: a file may have lost them."""
    named = re.search(r"_reg(\d+)_", config.architecture or "")
    return settings.count(config.model_args, "reg_tokens", int(named[1]) if named else 0)


def heads(config: Config, width: int) -> int:
    """The number of heads: from `model_args`, else from timm's architecture of that name and width.

    Raises:
      ValueError: neither gives it, and no tensor does.
    """
    if "num_heads" in config.model_args:
        return settings.count(config.model_args, "num_heads", 0, least=1)
    for pattern, known in _HEADS.items():
        if re.match(rf"{pattern}(_|\.|$)", config.architecture or "") and width in dict(known):
            return dict(known)[width]
    named = f"architecture {config.architecture!r}" if config.architecture else "nothing"
    raise ValueError(
        f"no tensor tells the number of heads, and {named} says it for width {width}; write "
        '{"model_args": {"num_heads": ...}} into config.json beside the file, or pass '
        "--config.preprocessing.num_heads"
    )
