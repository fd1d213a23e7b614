"""From AugReg's and big_vision's names and layouts of a vision transformer to timm's."""

from __future__ import annotations

import re

import numpy as np

Tensors = dict[str, np.ndarray]

_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_WHOLE = {
    "cls": "cls_token",
    "pos_embedding": "pos_embed",
    "Transformer/posembed_input/pos_embedding": "pos_embed",
}
_MODULES = {
    "embedding": "patch_embed.proj",
    "Transformer/encoder_norm": "norm",
    "pre_logits": "pre_logits.fc",
    "head": "head",
}
# A block's parts; AugReg's files number them together, later files number each kind by itself.
_IN_BLOCK = {
    "LayerNorm_0": "norm1",
    "LayerNorm_1": "norm2",
    "LayerNorm_2": "norm2",
    "Dense_0": "mlp.fc1",
    "Dense_1": "mlp.fc2",
    "query": "attn.qkv",
    "key": "attn.qkv",
    "value": "attn.qkv",
    "out": "attn.proj",
}
_THREE = ("query", "key", "value")
_AXES = {  # number of axes as stored; 1 if not listed
    "attn.qkv.weight": 3,
    "attn.qkv.bias": 2,
    "attn.proj.weight": 3,
    "patch_embed.proj.weight": 4,
    "mlp.fc1.weight": 2,
    "mlp.fc2.weight": 2,
    "pre_logits.fc.weight": 2,
    "head.weight": 2,
}


def renamed(tensors: Tensors) -> Tensors:
    """A checkpoint's tensors under timm's names; unknown ones keep their own.

    Raises:
      ValueError: a tensor is misshapen, one of queries, keys and values is missing, or the file is
        Scenic's, which looks alike but computes something else.
    """
    if any("output_projection/" in name for name in tensors):
        raise ValueError(
            "a checkpoint of Scenic, whose networks need its config; read it with "
            "rival_jax.interop.scenic.load(path, config)"
        )
    tensors = {re.sub(r"^(opt/target|params)/", "", n): tensor for n, tensor in tensors.items()}
    found: Tensors = {}
    three: dict[str, Tensors] = {}  # queries, keys and values of one layer
    for path, tensor in _unstacked(tensors).items():
        name, part = _name(path)
        if part in _THREE:
            three.setdefault(name, {})[part] = tensor
        else:
            found[name] = _turned(name, tensor)
    return found | {name: _joined(name, parts) for name, parts in three.items()}


def _name(path: str) -> tuple[str, str]:
    """timm's name, and the last module of `path`."""
    if path in _WHOLE:
        return _WHOLE[path], ""
    module, _, leaf = path.rpartition("/")
    part = module.rpartition("/")[2]
    block = re.match(r"Transformer/encoderblock_(\d+)/", module)
    known = _IN_BLOCK.get(part) if block else _MODULES.get(module)
    if known is None or leaf not in _LEAVES:
        return path, ""
    return f"{f'blocks.{block[1]}.' if block else ''}{known}.{_LEAVES[leaf]}", part


def _checked(name: str, tensor: np.ndarray, stacked: int = 0) -> np.ndarray:
    axes = _AXES.get(re.sub(r"^blocks\.\d+\.", "", name), 1) + stacked
    if tensor.ndim != axes:
        raise ValueError(f"{name}: got shape {tensor.shape}, expected {axes} axes in the file")
    return tensor


def _turned(name: str, tensor: np.ndarray) -> np.ndarray:
    """A kernel [.., in, out] as [out, in, ..]; other tensors as they are."""
    if re.sub(r"^blocks\.\d+\.", "", name) not in _AXES:
        return tensor
    _checked(name, tensor)
    if name.endswith("attn.proj.weight"):
        tensor = tensor.reshape(-1, tensor.shape[-1])
    return tensor.transpose((3, 2, 0, 1) if tensor.ndim == 4 else (1, 0))


def _joined(name: str, parts: Tensors) -> np.ndarray:
    """Queries, keys and values in one: [width, heads, d] -> [3 heads d, width]."""
    if len(parts) < 3:
        raise ValueError(f"a part of {name} is missing: the file has only {', '.join(parts)}")
    shapes = [_checked(name, parts[part]).shape for part in _THREE]
    if len(set(shapes)) > 1:
        raise ValueError(f"{name}: its parts {', '.join(_THREE)} have different shapes, {shapes}")
    if name.endswith("bias"):
        return np.concatenate([parts[part].ravel() for part in _THREE])
    return np.concatenate([parts[part].reshape(len(parts[part]), -1).T for part in _THREE])


def _unstacked(tensors: Tensors) -> Tensors:
    """Splits big_vision's scanned blocks, which are one tensor with a leading axis of blocks."""
    single: Tensors = {}
    for path, tensor in tensors.items():
        before, stacked, after = path.partition("encoderblock/")
        if not stacked:
            single[path] = tensor
            continue
        name, module = _name(f"{before}encoderblock_0/{after}")
        if not module:
            single[path] = tensor  # unknown
            continue
        for i, one in enumerate(_checked(name, tensor, stacked=1)):
            single[f"{before}encoderblock_{i}/{after}"] = one
    return single
