"""What the shapes of a checkpoint and its `config.json` say about a residual network."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rival_jax.models import conversion, settings
from rival_jax.models.network import module_of
from rival_jax.models.resnet_blocks import ANTI_ALIASING
from rival_jax.types import Model
from rival_jax.weights import Config

Widths = tuple[tuple[tuple[int, ...], ...], ...]
"""Of the outputs of every convolution, by stages and blocks."""

_KNOWN = re.compile(
    r"((wide_|test_)?resnet|(eca|se)?res(net|next)(aa|blur|rs|light)?|senet)"
    r"(\d+[cdst]?(_\d+|_gn|_pruned|_\d+x\d+d)?)?(\..*)?"
)
_PROJECTED = re.compile(r"layer(\d+)\.(\d+)\.downsample\.\d\.weight$")
_GATED = re.compile(r"(eca|se)(?=(res)?ne)")  # in timm's names
_SMOOTHED = re.compile(r"res(?:net|next)(aa|blur)")


def infer(tensors: Mapping[str, np.ndarray], config: Config) -> dict[str, Any]:
    """The keywords of `build` for a checkpoint, except its name and input.

    All from the tensors' shapes, except what takes the place of strides against aliasing (from
    `model_args`, else timm's architecture name).

    Raises:
      ValueError: a tensor that tells the architecture is missing or misshapen, or the configuration
        belongs to a network with the same tensors but another computation.
    """
    name = config.architecture or "resnet"
    gate = "se" if "layer1.0.se.fc1.weight" in tensors else ""
    gate = "eca" if "layer1.0.se.conv.weight" in tensors else gate
    named = found[1] if (found := _GATED.match(name)) else "se" if "resnetrs" in name else ""
    if not _KNOWN.fullmatch(name) or named != gate:
        raise ValueError(
            f"architecture is {config.architecture!r}, which may compute something else than the "
            "residual network that its tensors look like; write timm's name of what it is, or none"
        )
    if config.global_pool not in (None, "avg"):
        raise ValueError(f"global_pool {config.global_pool!r}; a residual network has 'avg'")
    found = {
        "num_classes": conversion.classes(config.num_classes, tensors, "fc.weight"),
        "image_size": config.image_size or (224, 224),
        **_trunk(tensors),
        "gate": gate,
        "norm": "group" if _group_norm(tensors, config) else "batch",
        "anti_aliasing": _anti_aliasing(config),
    }
    if gate:
        layer, axis = ("fc1", 0) if gate == "se" else ("conv", 2)
        found["gate_sizes"] = tuple(
            conversion.shape_of(tensors, f"layer{i}.0.se.{layer}.weight", 4 - axis // 2)[axis]
            for i in range(1, len(found["depths"]) + 1)
        )
    settings.expect(config.model_args, _expected(found))
    return found


def _trunk(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The fields of `resnet.ResNet` that shapes tell, but for the gates."""
    bottleneck = "layer1.0.conv3.weight" in tensors
    projected = {match.groups() for name in tensors if (match := _PROJECTED.match(name))}
    deep: tuple[int, ...] = ()
    if "conv1.0.weight" in tensors:
        deep = tuple(conversion.shape_of(tensors, f"conv1.{i}.weight", 4)[0] for i in (0, 3, 6))
        last = "layer1.0.conv3.weight" if bottleneck else "layer1.0.conv2.weight"
        width = conversion.shape_of(tensors, last, 4)[0] // (4 if bottleneck else 1)
    else:
        width = conversion.shape_of(tensors, "conv1.weight", 4)[0]
    numbers = depths(tensors)
    widths = _widths(tensors, numbers)
    average_down = any("downsample.2." in name for name in tensors)
    shortcut = tensors.get("layer2.0.downsample.0.weight")
    return {
        "depths": numbers,
        "width": width,
        "bottleneck": bottleneck,
        "project_all": any(
            block != "0" or (stage == "1" and not bottleneck and not deep)
            for stage, block in projected
        ),
        "deep_stem": deep,
        "replace_stem_pool": "maxpool.0.weight" in tensors,
        "block_widths": ()
        if widths in (None, plain_widths(numbers, width, bottleneck))
        else widths,
        "groups": _groups(tensors) if bottleneck else 1,
        "average_down": average_down,
        "down_size": 3 if shortcut is not None and shortcut.shape[2:] == (3, 3) else 1,
    }


def plain_widths(depths: tuple[int, ...], width: int, bottleneck: bool) -> Widths:
    """Those of He et al. 2016: doubled in each stage, and four times that after a bottleneck."""
    stages = []
    for stage, depth in enumerate(depths):
        inner = width * 2**stage
        stages.append(((inner, inner, 4 * inner) if bottleneck else (inner, inner),) * depth)
    return tuple(stages)


def _widths(tensors: Mapping[str, np.ndarray], depths: tuple[int, ...]) -> Widths | None:
    """As the tensors have them; None unless convolutions and norms agree, for an error to tell."""
    stages = []
    for stage, depth in enumerate(depths, 1):
        blocks = []
        for block in (f"layer{stage}.{i}" for i in range(depth)):
            third = (f"{block}.conv3.weight", f"{block}.bn3.weight")
            count = 3 if any(name in tensors for name in third) else 2
            names = [
                (f"{block}.conv{i}.weight", f"{block}.bn{i}.weight") for i in (1, 2, 3)[:count]
            ]
            if any(name not in tensors for pair in names for name in pair):
                return None
            sizes = [tuple(tensors[name].shape[:1]) for pair in names for name in pair]
            if sizes[::2] != sizes[1::2] or any(len(size) != 1 for size in sizes):
                return None
            blocks.append(tuple(size for (size,) in sizes[::2]))
        stages.append(tuple(blocks))
    return tuple(stages)


def _groups(tensors: Mapping[str, np.ndarray]) -> int:
    """Of the first 3x3 convolution: how often its kernel's inputs fit into what it is given."""
    before, _, _, _ = conversion.shape_of(tensors, "layer1.0.conv1.weight", 4)
    _, of_group, _, _ = conversion.shape_of(tensors, "layer1.0.conv2.weight", 4)
    return before // of_group if of_group and before % of_group == 0 else 1


def _group_norm(tensors: Mapping[str, np.ndarray], config: Config) -> bool:
    """Only if it is said: its tensors are those of batch norms that lost their statistics."""
    named = re.search(r"_gn(\.|$)", config.architecture or "")
    said = config.model_args.get("norm_layer", "groupnorm" if named else None)
    return said == "groupnorm" and not any(name.endswith("running_mean") for name in tensors)


def _anti_aliasing(config: Config) -> str:
    """From `model_args`, else from timm's architecture name."""
    named = _SMOOTHED.search(config.architecture or "")
    layer = config.model_args.get("aa_layer") or (named[1] if named else "none")
    found = {"aa": "avg"}.get(layer, layer) if isinstance(layer, str) else layer
    if found not in ("none", *ANTI_ALIASING):
        raise ValueError(f"model_args.aa_layer is {layer!r}: expected avg or blur")
    return found


def _expected(found: Mapping[str, Any]) -> settings.Expected:
    """timm's keywords, and their values for the network that was read."""
    none, deep = (None, ""), found["deep_stem"]
    depths, width, groups = found["depths"], found["width"], found["groups"]
    widths = found["block_widths"] or plain_widths(depths, width, found["bottleneck"])
    outer = 4 if found["bottleneck"] else 1
    first, inner = widths[0][0][0], widths[0][0][1]
    stem_type = "deep" if deep[:1] == deep[1:2] else "deep_tiered"
    return {
        "img_size": settings.side(found["image_size"]),
        "in_chans": (3,),
        "num_classes": (found["num_classes"],),
        "global_pool": ("avg",),
        "layers": (list(depths),),
        "channels": ([blocks[0][-1] // outer for blocks in widths],),
        "stem_width": (deep[1] if deep else width,),
        "base_width": (64 * inner // (width * groups),),
        "cardinality": (groups,),
        "output_stride": (32,),
        "block_reduce_first": (inner // first,),
        "down_kernel_size": (found["down_size"],),
        "avg_down": (found["average_down"],),
        "replace_stem_pool": (found["replace_stem_pool"],),
        "stem_type": (stem_type,) if deep else none,
        "norm_layer": ("groupnorm",) if found["norm"] == "group" else none,
        "aa_layer": (found["anti_aliasing"], *(none if found["anti_aliasing"] == "none" else ())),
        "act_layer": ("relu", *none),
        "depths": (list(depths),),  # this and what follows: transformers' keywords
        "hidden_sizes": ([blocks[-1][-1] for blocks in widths],),
        "embedding_size": (width,),
        "layer_type": ("bottleneck" if found["bottleneck"] else "basic",),
        **dict.fromkeys(("downsample_in_first_stage", "downsample_in_bottleneck"), (False,)),
        "block_args": ({"attn_layer": found["gate"]},) if found["gate"] else (None, {}),
    }


def depths(names: Iterable[str]) -> tuple[int, ...]:
    """The number of blocks in each stage: "layer2.0.conv1.weight" is of the second's first."""
    blocks = {match.groups() for name in names if (match := re.match(r"layer(\d+)\.(\d+)\.", name))}
    stages = [stage for stage, _ in blocks]
    return tuple(stages.count(stage) for stage in sorted(set(stages), key=int))


def config(model: Model) -> Config:
    """What timm needs to build the network, and `infer` besides the tensors; without the input.

    If timm has no such network, the architecture is "resnet", which timm does not know.
    """
    module = module_of(model)
    name = "resnet50" if module.bottleneck else "resnet18"
    args: dict[str, Any] = {"layers": list(module.depths)}
    fixed = {"num_classes", "depths", "bottleneck", "parent", "name"}
    if len(module.depths) != 4 or any(  # all else is given by timm's name
        getattr(module, field.name) != field.default
        for field in dataclasses.fields(module)
        if field.name not in fixed
    ):
        name, args = {"se": "seresnet", "eca": "ecaresnet"}.get(module.gate, "resnet"), {}
    if module.anti_aliasing != "none":
        args["aa_layer"] = module.anti_aliasing
    if module.norm == "group":
        args["norm_layer"] = "groupnorm"
    return Config(
        architecture=name, num_classes=model.num_classes, global_pool="avg", model_args=args
    )
