"""From the names that other programs give to the same networks to timm's, torchvision's, OpenAI's.

What is left out of a file is named here and nowhere else: everything else must fit the network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Tensors = dict[str, np.ndarray]
# CLIP's text tower and what its archives say of themselves.
_TEXT = re.compile(
    r"(transformer|token_embedding|ln_final)\.|"
    r"(positional_embedding|text_projection|logit_scale|logit_bias|attn_mask"
    r"|input_resolution|context_length|vocab_size)$"
)
# RIVAL10's classifiers hold their trunk as a list of torchvision's children, or timm's.
_RESNET_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3"}
_RESNET_CHILDREN |= {"7": "layer4"}
_VIT_CHILDREN = {"0": "patch_embed", "2": "blocks", "3": "norm"}


def canonical(tensors: Mapping[str, np.ndarray]) -> tuple[Tensors, dict[str, Any]]:
    """A checkpoint's tensors under the names that a family knows, and what they say of the input.

    Unwraps DataParallel and Lightning modules, the robustness library's (MadryLab), pl_bolts'
    SimCLR, DINO's teacher, RIVAL10's finetuned classifiers, CLIP archives with their text tower,
    and the Flax names of AugReg and big_vision.

    Returns:
      (tensors, fields of `weights.Config`): "mean" and "std" where the checkpoint holds its own
      normaliser, "model_args" where its shapes tell the number of heads.

    Raises:
      ValueError: copies of one tensor in the file differ.
    """
    found, said = dict(tensors), {}
    heads = {t.shape[-2] for name, t in found.items() if name.endswith("/query/bias")}
    if len(heads) == 1:
        said["model_args"] = {"num_heads": heads.pop()}
    if "module.normalizer.new_mean" in found:
        for key, name in (("mean", "new_mean"), ("std", "new_std")):
            said[key] = tuple(found[f"module.normalizer.{name}"].ravel().tolist())
    for holds, change in _DIALECTS:
        if holds(found):
            found = change(found)
    return found, said


def _all_start(prefix: str) -> Callable[[Tensors], bool]:
    return lambda tensors: bool(tensors) and all(name.startswith(prefix) for name in tensors)


def _some_start(prefix: str) -> Callable[[Tensors], bool]:
    return lambda tensors: any(name.startswith(prefix) for name in tensors)


def _only(prefix: str, *left_out: str) -> Callable[[Tensors], Tensors]:
    """Strips `prefix`, and drops what starts with `left_out`."""
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


def _flax(tensors: Tensors) -> Tensors:
    """AugReg's and big_vision's names; both numberings of the parts of a block.

    Raises:
      ValueError: they are Scenic's, which look alike but compute otherwise.
    """
    if any("output_projection/" in name for name in tensors):
        raise ValueError(
            "a checkpoint of Scenic, whose networks need its config; read it with "
            "rival_jax.interop.scenic.load(path, config)"
        )
    tensors = _unstacked({re.sub(r"^(opt/target|params)/", "", n): t for n, t in tensors.items()})
    renamed: Tensors = {}
    parts: dict[str, dict[str, np.ndarray]] = {}  # queries, keys and values of one layer
    for name, tensor in tensors.items():
        match = re.match(r"(.*)/MultiHeadDotProductAttention_\d+/(\w+)/(kernel|bias)$", name)
        if match and match[2] in ("query", "key", "value"):
            parts.setdefault(f"{_block(match[1])}attn.qkv.{_LEAVES[match[3]]}", {})[match[2]] = (
                _rows(tensor, heads_last=match[3] == "kernel")
            )
        elif match:
            out = tensor.reshape(-1, tensor.shape[-1]).T if match[3] == "kernel" else tensor
            renamed[f"{_block(match[1])}attn.proj.{_LEAVES[match[3]]}"] = out
        else:
            renamed |= _flax_leaf(name, tensor)
    for name, three in parts.items():
        if len(three) == 3:
            renamed[name] = np.concatenate([three[part] for part in ("query", "key", "value")])
    return renamed


_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_FLAX_NAMES = {
    "cls": "cls_token",
    "pos_embedding": "pos_embed",
    "Transformer/posembed_input/pos_embedding": "pos_embed",
}
_FLAX_MODULES = {
    "embedding": "patch_embed.proj",
    "Transformer/encoder_norm": "norm",
    "pre_logits": "pre_logits.fc",
    "head": "head",
}
# The parts of a block, numbered together in AugReg's files and each kind by itself later.
_FLAX_PARTS = {
    "LayerNorm_0": "norm1",
    "LayerNorm_1": "norm2",
    "LayerNorm_2": "norm2",
    "Dense_0": "mlp.fc1",
    "Dense_1": "mlp.fc2",
}


def _flax_leaf(name: str, tensor: np.ndarray) -> Tensors:
    if name in _FLAX_NAMES:
        return {_FLAX_NAMES[name]: tensor}
    path, _, leaf = name.rpartition("/")
    block = re.match(r"(Transformer/encoderblock_\d+)/(?:MlpBlock_\d+/)?(\w+)$", path)
    module = _FLAX_MODULES.get(path)
    if block and block[2] in _FLAX_PARTS:
        module = _block(block[1]) + _FLAX_PARTS[block[2]]
    if module is None or leaf not in _LEAVES:
        return {name: tensor}  # of no place: the conversion will say so
    if leaf == "kernel":
        tensor = tensor.transpose((3, 2, 0, 1) if tensor.ndim == 4 else (1, 0))
    return {f"{module}.{_LEAVES[leaf]}": tensor}


def _block(path: str) -> str:
    return f"blocks.{path.rpartition('_')[2]}."


def _rows(tensor: np.ndarray, *, heads_last: bool) -> np.ndarray:
    """[width, heads, d] -> [heads d, width]; biases [heads, d] -> [heads d]."""
    return tensor.reshape(len(tensor), -1).T if heads_last else tensor.reshape(-1)


def _unstacked(tensors: Tensors) -> Tensors:
    """Blocks that big_vision scans over are one tensor with a leading axis of blocks."""
    single: Tensors = {}
    for name, tensor in tensors.items():
        before, stacked, after = name.partition("Transformer/encoderblock/")
        if not stacked:
            single[name] = tensor
            continue
        for i, part in enumerate(tensor):
            single[f"{before}Transformer/encoderblock_{i}/{after}"] = part
    return single


# In this order: a file may be wrapped more than once.
_DIALECTS: tuple[tuple[Callable[[Tensors], bool], Callable[[Tensors], Tensors]], ...] = (
    (
        _some_start("module.model."),
        _only("module.model.", "module.attacker.", "module.normalizer."),
    ),
    (_all_start("module."), _only("module.")),
    (_some_start("backbone."), _only("backbone.", "head.")),  # DINO's, and its projection
    # SimCLR; its encoder's `fc` is torchvision's of the start, never trained or used.
    (_some_start("encoder."), _only("encoder.", "projection.", "encoder.fc.")),
    (_some_start("feat_net."), _finetuned),
    (_some_start("visual."), _image_tower),
    (lambda tensors: any("Transformer/" in name for name in tensors), _flax),
)
