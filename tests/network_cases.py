"""Tiny networks of every family in every wrapping, and what NumPy makes of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from rival_jax import models, weights
from rival_jax.models import clip_resnet, clip_vit, renaming, resnet, vit
from tests import network_weights, numpy_networks
from tests.network_weights import Tensors
from tests.network_wrappings import MEAN, STD, Wrapped


class Case(NamedTuple):
    """A network: its weights under the published names, and what it computes."""

    family: Any
    tensors: Tensors
    image_size: tuple[int, int]
    config: weights.Config
    reference: Callable[..., numpy_networks.Output]  # of tensors and images


def _vit(
    parts: str = "", classes: int = 3, gelu: str = "gelu", eps: float = 1e-6,
    said: dict[str, Any] | None = None, named: str | None = None, **reads: Any,
) -> Case:  # fmt: skip
    """`said` and `named`: what no tensor tells, in timm's words; `reads`: in NumPy's."""
    args: dict[str, Any] = {"num_heads": 3, "act_layer": gelu, "norm_eps": eps, **(said or {})}
    if "registers" in parts:
        args["reg_tokens"] = 3
    config = weights.Config(
        model_args=args, num_classes=classes, image_size=(8, 12), architecture=named
    )
    reference = functools.partial(numpy_networks.vit, heads=3, gelu=gelu, eps=eps, **reads)
    tensors = network_weights.vit(parts, classes=classes)
    return Case(vit, tensors, (8, 12), config, reference)


def _resnet(
    classes: int = 3, size: tuple[int, int] = (24, 40), named: str | None = None,
    reads: dict[str, Any] | None = None, **parts: Any,
) -> Case:  # fmt: skip
    config = weights.Config(num_classes=classes, image_size=size, architecture=named)
    tensors = network_weights.resnet(classes=classes, **parts)
    reference = functools.partial(numpy_networks.resnet, **(reads or {}))
    return Case(resnet, tensors, size, config, reference)


def _clip(family: Any, image_size: tuple[int, int], heads: int) -> Case:
    name = family.__name__.rpartition(".")[2]
    config = weights.Config(model_args={"num_heads": heads}, image_size=image_size)
    reference = functools.partial(getattr(numpy_networks, name), heads=heads)
    return Case(family, getattr(network_weights, name)(), image_size, config, reference)


CASES = {
    "vit": _vit(),
    "distilled": _vit("distilled"),
    "registers": _vit("registers layer_scale"),
    "registers_no_embed_class": _vit("registers no_embed_class", gelu="gelu_tanh"),
    "average": _vit("fc_norm no_qkv_bias", eps=1e-3),
    "pre_logits": _vit("pre_logits"),
    "timm_clip": _vit("norm_pre", gelu="quick_gelu", eps=1e-5),
    "vit_trunk": _vit(classes=0),
    "resnet": _resnet(depths=(2, 1)),
    "bottleneck": _resnet(depths=(1, 2), bottleneck=True),
    "project_all": _resnet(depths=(2, 1), project_all=True),
    "resnet_trunk": _resnet(depths=(1, 1), bottleneck=True, classes=0),
    "clip_vit": _clip(clip_vit, (8, 12), 3),
    "clip_resnet": _clip(clip_resnet, (64, 96), 2),
}
WRAPPED = [(name, "bare") for name in CASES]
WRAPPED += [("vit", kind) for kind in ("data_parallel", "finetuned_vit", "augreg", "augreg_opt")]
WRAPPED += [("vit", "big_vision"), ("vit", "big_vision_stacked"), ("pre_logits", "augreg_opt")]
WRAPPED += [("no_embed_class", "big_vision"), ("vit_trunk", "dino_teacher")]
WRAPPED += [("vit_trunk", "dino_student"), ("resnet_trunk", "simclr")]
WRAPPED += [("vit_trunk", "msn"), ("vit_trunk", "mae"), ("vit", "mae_probe")]
WRAPPED += [("resnet", kind) for kind in ("data_parallel", "madry", "finetuned_resnet")]
WRAPPED += [("bottleneck", "madry"), ("bottleneck", "finetuned_resnet")]
WRAPPED += [("clip_vit", "clip_archive"), ("clip_resnet", "clip_archive")]
# Parts of timm's networks, several in each; sizes are odd where these matter.
VARIANTS = {
    "attention_pool": _vit(
        "no_class registers map layer_scale",
        gelu="gelu_tanh",
        said={"global_pool": "map", "pool_include_prefix": True},
        pool_prefix=True,
    ),
    "split_gate": _vit(
        "no_class rms embed_norm split no_proj_bias no_qkv_bias",
        gelu="silu",
        said={"global_pool": "avg"},
    ),
    "inner_norms": _vit(
        "no_class registers no_embed_class fc_norm inner_norms qk_norm packed", gelu="silu"
    ),
    "no_final_norm": _vit("registers no_embed_class no_norm", said={"final_norm": False}),
    "differential": _vit("no_class fc_norm layer_scale differential"),
    "parallel": _vit("rms norm_pre no_embed_class parallel qk_norm no_qkv_bias"),
    "parallel_differential": _vit("no_class fc_norm parallel differential"),
    "side_by_side": _vit("beside", gelu="gelu_tanh"),
    "norms_follow": _vit(
        "no_class fc_norm no_qkv_bias", named="vit_base_patch16_rpn_224", norms_follow=True
    ),
    "deep_stem": _resnet(
        depths=(1, 2), bottleneck=True, parts="deep average_down se groups", size=(20, 36),
        reads={"groups": 2}, named="seresnext26d_32x4d",
    ),
    "blurred": _resnet(parts="eca", named="ecaresnetblur18", reads={"anti_aliasing": "blur"}),
    "averaged": _resnet(
        depths=(1, 1), width=8, bottleneck=True, parts="down3 thin", named="resnetaa50",
        reads={"anti_aliasing": "avg"},
    ),
    "replaced_pool": _resnet(
        depths=(1, 1), width=32, parts="replace_pool group_norm", named="resnet50_gn"
    ),
}  # fmt: skip
CASES |= VARIANTS
CASES["no_embed_class"] = _vit("no_embed_class")  # as big_vision's, which adds the class token late


def load(tensors: Tensors, config: weights.Config):
    """What `models.load` does with a file's tensors; and the mean and std that they hold."""
    tensors, said = renaming.canonical(tensors)
    family = models._family(tensors)
    model_args = {**said.pop("model_args", {}), **config.model_args}
    config = dataclasses.replace(config, model_args=model_args)
    treatment = {"mean": MEAN, "std": STD, **said}
    model = family.build(name="tiny", **treatment, **family.infer(tensors, config))
    return model, family.convert(tensors, model), said


def of_file(wrapped: Wrapped) -> Tensors:
    """Without what is known of the names."""
    return {name: tensor for name, (tensor, _) in wrapped.items()}
