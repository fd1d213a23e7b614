"""The published networks in plain NumPy, from the textbook, on the original names and layouts.

Nothing of the package is used here. Images are normalised and channels first, [b, 3, h, w];
convolutions are [out, in, h, w], linear layers [out, in]; everything is computed in float64.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Tensors = Mapping[str, np.ndarray]


class Output(NamedTuple):
    """What a network computes."""

    features: np.ndarray  # [b, f]
    logits: np.ndarray  # [b, c]; the features where there is no head
    attention: list[np.ndarray]  # [b, heads, queries, tokens] of every layer that attends


def vit(tensors: Tensors, images: np.ndarray, heads: int, eps: float, gelu: str) -> Output:
    """timm's vision transformer; which parts it has is seen from the names."""
    t = _float64(tensors)
    patches = _patches(images, t["patch_embed.proj.weight"], t.get("patch_embed.proj.bias", 0))
    tokens = [t[name] for name in ("cls_token", "dist_token", "reg_token") if name in t]
    prefix = np.concatenate(tokens, axis=1).repeat(len(images), axis=0)
    if t["pos_embed"].shape[1] == patches.shape[1]:  # timm's no_embed_class
        x = np.concatenate([prefix, patches + t["pos_embed"]], axis=1)
    else:
        x = np.concatenate([prefix, patches], axis=1) + t["pos_embed"]
    if "norm_pre.weight" in t:
        x = layer_norm(x, t, "norm_pre", eps)
    attention = []
    for block in _blocks(t, "blocks.{}", "norm1.weight"):
        y = layer_norm(x, t, f"{block}.norm1", eps)
        qkv = y @ t[f"{block}.attn.qkv.weight"].T + t.get(f"{block}.attn.qkv.bias", 0)
        y, weights = attend(*np.split(qkv, 3, axis=-1), heads)
        x = x + linear(y, t, f"{block}.attn.proj") * t.get(f"{block}.ls1.gamma", 1)
        y = linear(layer_norm(x, t, f"{block}.norm2", eps), t, f"{block}.mlp.fc1")
        y = linear(GELUS[gelu](y), t, f"{block}.mlp.fc2")
        x = x + y * t.get(f"{block}.ls2.gamma", 1)
        attention.append(weights)
    if "fc_norm.weight" in t:
        features = layer_norm(x[:, prefix.shape[1] :].mean(axis=1), t, "fc_norm", eps)
    else:
        features = layer_norm(x, t, "norm", eps)[:, 0]
    if "pre_logits.fc.weight" in t:
        features = np.tanh(linear(features, t, "pre_logits.fc"))
    if "dist_token" in t:
        on_distillation = layer_norm(x, t, "norm", eps)[:, 1]
        logits = linear(features, t, "head") / 2 + linear(on_distillation, t, "head_dist") / 2
        return Output(np.concatenate([features, on_distillation], axis=1), logits, attention)
    logits = linear(features, t, "head") if "head.weight" in t else features
    return Output(features, logits, attention)


def clip_vit(tensors: Tensors, images: np.ndarray, heads: int) -> Output:
    """The vision transformer of OpenAI's CLIP, `visual.*`."""
    t = _visual(tensors)
    patches = _patches(images, t["conv1.weight"], 0)
    first = np.broadcast_to(t["class_embedding"], (len(images), 1, patches.shape[2]))
    x = np.concatenate([first, patches], axis=1) + t["positional_embedding"]
    x, attention = layer_norm(x, t, "ln_pre", 1e-5), []
    for block in _blocks(t, "transformer.resblocks.{}", "ln_1.weight"):
        y = layer_norm(x, t, f"{block}.ln_1", 1e-5)
        qkv = y @ t[f"{block}.attn.in_proj_weight"].T + t[f"{block}.attn.in_proj_bias"]
        y, weights = attend(*np.split(qkv, 3, axis=-1), heads)
        x = x + linear(y, t, f"{block}.attn.out_proj")
        y = linear(layer_norm(x, t, f"{block}.ln_2", 1e-5), t, f"{block}.mlp.c_fc")
        x = x + linear(quick_gelu(y), t, f"{block}.mlp.c_proj")
        attention.append(weights)
    features = layer_norm(x[:, 0], t, "ln_post", 1e-5) @ t["proj"]
    return Output(features, features, attention)


def resnet(tensors: Tensors, images: np.ndarray) -> Output:
    """torchvision's residual network, of basic or bottleneck blocks."""
    t = _float64(tensors)
    x = relu(batch_norm(convolve(images, t["conv1.weight"], stride=2, pad=3), t, "bn1"))
    x = max_pool(x)
    for block, halves in _stages(t):
        y, convolutions = x, [1, 2, 3] if f"{block}.conv3.weight" in t else [1, 2]
        for i in convolutions:
            weight = t[f"{block}.conv{i}.weight"]
            stride = 2 if halves and i == len(convolutions) - 1 else 1
            y = convolve(relu(y) if i > 1 else y, weight, stride, pad=weight.shape[-1] // 2)
            y = batch_norm(y, t, f"{block}.bn{i}")
        if f"{block}.downsample.0.weight" in t:
            x = convolve(x, t[f"{block}.downsample.0.weight"], 2 if halves else 1)
            x = batch_norm(x, t, f"{block}.downsample.1")
        x = relu(x + y)
    features = x.mean(axis=(2, 3))
    return Output(features, linear(features, t, "fc") if "fc.weight" in t else features, [])


def clip_resnet(tensors: Tensors, images: np.ndarray, heads: int) -> Output:
    """The modified residual network of OpenAI's CLIP, `visual.*`."""
    t, x = _visual(tensors), images
    for i, stride in ((1, 2), (2, 1), (3, 1)):
        x = relu(batch_norm(convolve(x, t[f"conv{i}.weight"], stride, pad=1), t, f"bn{i}"))
    x = average_pool(x)
    for block, halves in _stages(t):
        y = relu(batch_norm(convolve(x, t[f"{block}.conv1.weight"]), t, f"{block}.bn1"))
        y = relu(batch_norm(convolve(y, t[f"{block}.conv2.weight"], pad=1), t, f"{block}.bn2"))
        if halves:
            x, y = average_pool(x), average_pool(y)
        y = batch_norm(convolve(y, t[f"{block}.conv3.weight"]), t, f"{block}.bn3")
        if f"{block}.downsample.0.weight" in t:
            x = convolve(x, t[f"{block}.downsample.0.weight"])
            x = batch_norm(x, t, f"{block}.downsample.1")
        x = relu(x + y)
    tokens = x.reshape(*x.shape[:2], -1).swapaxes(1, 2)
    tokens = np.concatenate([tokens.mean(axis=1, keepdims=True), tokens], axis=1)
    tokens = tokens + t["attnpool.positional_embedding"]
    q, k, v = (linear(tokens, t, f"attnpool.{name}_proj") for name in "qkv")
    pooled, weights = attend(q[:, :1], k, v, heads)
    features = linear(pooled[:, 0], t, "attnpool.c_proj")
    return Output(features, features, [weights])


def linear(x: np.ndarray, t: Tensors, name: str) -> np.ndarray:
    return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]


def layer_norm(x: np.ndarray, t: Tensors, name: str, eps: float) -> np.ndarray:
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    return x * t[f"{name}.weight"] + t[f"{name}.bias"]


def batch_norm(x: np.ndarray, t: Tensors, name: str) -> np.ndarray:
    """Of [b, c, h, w], by the running statistics."""
    mean, var, weight, bias = (
        t[f"{name}.{part}"][:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


def attend(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of [b, n, width]: the mixed values, and the weights [b, heads, queries, tokens]."""
    mixed, weights = [], []
    for q1, k1, v1 in zip(*(np.split(x, heads, axis=-1) for x in (q, k, v)), strict=True):
        scores = np.exp(q1 @ k1.swapaxes(1, 2) / math.sqrt(q1.shape[-1]))
        weights.append(scores / scores.sum(axis=-1, keepdims=True))
        mixed.append(weights[-1] @ v1)
    return np.concatenate(mixed, axis=-1), np.stack(weights, axis=1)


def convolve(x: np.ndarray, weight: np.ndarray, stride: int = 1, pad: int = 0) -> np.ndarray:
    """[b, in, h, w] by [out, in, kh, kw]."""
    windows = _windows(np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad))), weight.shape[2:])
    product = np.tensordot(windows[:, :, ::stride, ::stride], weight, ([1, 4, 5], [1, 2, 3]))
    return np.moveaxis(product, -1, 1)


def max_pool(x: np.ndarray) -> np.ndarray:
    """3 by 3, with a stride of 2 and an edge of 1."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    return _windows(padded, (3, 3))[:, :, ::2, ::2].max(axis=(4, 5))


def average_pool(x: np.ndarray) -> np.ndarray:
    """2 by 2, without overlap."""
    return _windows(x, (2, 2))[:, :, ::2, ::2].mean(axis=(4, 5))


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def quick_gelu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-1.702 * x))


def exact_gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def tanh_gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


GELUS = {"gelu": exact_gelu, "quick_gelu": quick_gelu, "gelu_tanh": tanh_gelu}  # timm's names


def _windows(x: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(x, size, axis=(2, 3))


def _patches(images: np.ndarray, weight: np.ndarray, bias: np.ndarray | int) -> np.ndarray:
    """A convolution whose stride is its size: [b, n, width], row by row."""
    x = convolve(images, weight, stride=weight.shape[-1])
    return x.reshape(*x.shape[:2], -1).swapaxes(1, 2) + bias


def _blocks(t: Tensors, pattern: str, member: str) -> list[str]:
    names = map(pattern.format, itertools.count())
    return list(itertools.takewhile(lambda name: f"{name}.{member}" in t, names))


def _stages(t: Tensors) -> list[tuple[str, bool]]:
    """The residual blocks, and whether they halve the grid."""
    stages = [_blocks(t, f"layer{stage}.{{}}", "conv1.weight") for stage in range(1, 5)]
    return [(name, name[5] > "1" and name.endswith(".0")) for stage in stages for name in stage]


def _visual(tensors: Tensors) -> Tensors:
    prefix = "visual."
    return _float64({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})


def _float64(tensors: Tensors) -> Tensors:
    return {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
