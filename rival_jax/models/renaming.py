"""From other programs' names for the same networks to timm's, torchvision's and OpenAI's.

Only tensors named here may be left out of a file: everything else must fit the network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rival_jax.models import flax_names, transformers_names

Tensors = dict[str, np.ndarray]
# CLIP's text tower and its archives' own facts.
_TEXT = re.compile(
    r"(transformer|token_embedding|ln_final)\.|"
    r"(positional_embedding|text_projection|logit_scale|logit_bias|attn_mask"
    r"|input_resolution|context_length|vocab_size)$"
)
# RIVAL10's classifiers store their trunk as a list of torchvision's or timm's children.
_RESNET_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3"}
_RESNET_CHILDREN |= {"7": "layer4"}
_VIT_CHILDREN = {"0": "patch_embed", "2": "blocks", "3": "norm"}
_NORMALISER = "module.normalizer."  # MadryLab's
_ARCHIVE = {"input_resolution", "context_length", "vocab_size"}  # only in OpenAI's archives
_PROBE_EPS = 1e-6  # of MAE's norm before the head
_QUERY_BIAS = re.compile(r"/query/bias$")


def canonical(tensors: Mapping[str, np.ndarray]) -> tuple[Tensors, dict[str, Any]]:
    """A checkpoint's tensors under the names that a family knows, and their facts on the input.

    Unwraps DataParallel and Lightning modules, the robustness library's (MadryLab), pl_bolts'
    SimCLR, DINO's teacher, MSN, MAE with its decoder or a linear probe, RIVAL10's finetuned
    classifiers, CLIP archives with their text tower, the Flax names of AugReg and big_vision, and
    transformers' names of ViT, DeiT and ResNet.

    Returns:
      (tensors, fields of `weights.Config`): "mean" and "std" if the checkpoint has its own
      normaliser, "model_args" if the file tells the number of heads.

    Raises:
      ValueError: copies of a tensor in the file differ, or a tensor that is needed for others is
        missing or misshapen.
    """
    found, said = dict(tensors), {}
    heads = {t.shape[-2] for name, t in found.items() if _QUERY_BIAS.search(name) and t.ndim > 1}
    if len(heads) == 1:
        said["model_args"] = {"num_heads": heads.pop()}
    if found.keys() >= _ARCHIVE and "visual.class_embedding" in found:
        width = found["visual.class_embedding"].size  # 64 a head, as OpenAI's own reader has it
        said["model_args"] = {"num_heads": max(1, width // 64)}
    if any(name.startswith(_NORMALISER) for name in found):
        said |= {key: _channels(found, f"{_NORMALISER}new_{key}") for key in ("mean", "std")}
    for holds, change in _DIALECTS:
        if holds(found):
            found = change(found)
    return found, said


def _channels(tensors: Tensors, name: str) -> tuple[float, ...]:
    if name not in tensors:
        raise ValueError(f"missing from the file: {name}, half of its normaliser")
    if tensors[name].size != 3:
        raise ValueError(f"{name}: got shape {tensors[name].shape}, expected 3 values")
    return tuple(tensors[name].ravel().tolist())


def _all_start(prefix: str) -> Callable[[Tensors], bool]:
    return lambda tensors: bool(tensors) and all(name.startswith(prefix) for name in tensors)


def _some_start(prefix: str) -> Callable[[Tensors], bool]:
    return lambda tensors: any(name.startswith(prefix) for name in tensors)


def _only(prefix: str, *left_out: str) -> Callable[[Tensors], Tensors]:
    """Strips `prefix`, and drops names that start with `left_out`."""
    return lambda tensors: {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if not name.startswith(left_out)
    }


def _image_tower(tensors: Tensors) -> Tensors:
    """CLIP's image tower, in the precision of its norms: archives store products in float16."""
    tower = {
        name.removeprefix("visual."): tensor
        for name, tensor in tensors.items()
        if not _TEXT.match(name)
    }
    return {name: t.astype(np.float32) if t.dtype == np.float16 else t for name, t in tower.items()}


def _finetuned(tensors: Tensors) -> Tensors:
    """RIVAL10's finetuned classifiers: `classifier` is the head, `feat_net` the trunk."""
    is_vit = "patch_embed.proj.weight" in tensors
    children, head = (_VIT_CHILDREN, "head") if is_vit else (_RESNET_CHILDREN, "fc")
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        if first == "feat_net":
            child, _, rest = rest.partition(".")
            name = f"{children.get(child, f'feat_net.{child}')}.{rest}"
        elif first == "classifier":
            name = f"{head}.{rest}"
        if name in renamed and not np.array_equal(renamed[name], tensor, equal_nan=True):
            raise ValueError(f"the file holds {name} twice, with different values")
        renamed[name] = tensor
    return renamed


def _probed(tensors: Tensors) -> Tensors:
    """MAE's linear probe: the norm over a batch before the head, folded into it."""
    names = ("head.1.weight", "head.1.bias", "head.0.running_mean", "head.0.running_var")
    if missing := [name for name in names if name not in tensors]:
        raise ValueError(f"missing from the file: {missing[0]}, of its linear probe")
    weight, bias, mean, variance = (tensors[name].astype(np.float64) for name in names)
    classes, width = (*weight.shape, 0, 0)[:2]
    shapes = ((classes, width), (classes,), (width,), (width,))
    for name, shape in zip(names, shapes, strict=True):
        if tensors[name].shape != shape:
            raise ValueError(
                f"{name}: got shape {tensors[name].shape}, expected {shape} beside head.1.weight "
                f"of {weight.shape}"
            )
    weight = weight / np.sqrt(variance + _PROBE_EPS)
    folded = {"head.weight": weight, "head.bias": bias - weight @ mean}
    known = {*names, "head.0.num_batches_tracked"}
    rest = {name: tensor for name, tensor in tensors.items() if name not in known}
    return rest | {name: value.astype(np.float32) for name, value in folded.items()}


# In this order: a file may be wrapped more than once.
_DIALECTS: tuple[tuple[Callable[[Tensors], bool], Callable[[Tensors], Tensors]], ...] = (
    (transformers_names.are_in, transformers_names.renamed),
    (
        _some_start("module.model."),
        _only("module.model.", "module.attacker.", "module.normalizer."),
    ),
    (_all_start("module."), _only("module.")),
    (_some_start("backbone."), _only("backbone.", "head.")),  # DINO's, and its projection
    (_some_start("fc.fc1."), _only("", "fc.", "pred.")),  # MSN's projection
    (_some_start("decoder_embed."), _only("", "decoder_", "mask_token")),  # MAE's
    (_some_start("head.0."), _probed),
    # SimCLR; its encoder's `fc` is torchvision's of the start, never trained or used.
    (_some_start("encoder."), _only("encoder.", "projection.", "encoder.fc.")),
    (_some_start("feat_net."), _finetuned),
    (_some_start("visual."), _image_tower),
    (lambda tensors: any("Transformer/" in name for name in tensors), flax_names.renamed),
)
