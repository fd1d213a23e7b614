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


def vit(
    tensors: Tensors, images: np.ndarray, heads: int, eps: float, gelu: str,
    pool_prefix: bool = False, norms_follow: bool = False,
) -> Output:  # fmt: skip
    """timm's vision transformer; which parts it has is seen from the names, but for the last two:
    all tokens are pooled, and the norms of blocks follow attention and MLP."""
    t = _float64(tensors)
    x = _patches(images, t["patch_embed.proj.weight"], t.get("patch_embed.proj.bias", 0))
    x = layer_norm(x, t, "patch_embed.norm", eps)
    tokens = [t[name] for name in ("cls_token", "dist_token", "reg_token") if name in t]
    prefix = np.concatenate([np.zeros((1, 0, x.shape[2])), *tokens], axis=1)
    first, prefix = prefix.shape[1], prefix.repeat(len(images), axis=0)
    if t["pos_embed"].shape[1] == x.shape[1]:  # timm's no_embed_class
        x = np.concatenate([prefix, x + t["pos_embed"]], axis=1)
    else:
        x = np.concatenate([prefix, x], axis=1) + t["pos_embed"]
    x, attention = layer_norm(x, t, "norm_pre", eps), []
    kinds = ("norm1.weight", "in_norm.weight", "attns.0.norm.weight")
    names = [name for kind in kinds for name in _blocks(t, "blocks.{}", kind)]
    for i, block in enumerate(names):
        if f"{block}.attns.0.norm.weight" in t:
            x, weights = _side_by_side(x, t, block, heads, eps, gelu)
            attention.append(weights)
            continue
        if f"{block}.in_proj.weight" in t:
            y, weights = _parallel(x, t, block, heads, eps, gelu, i)
            x = x + y * t.get(f"{block}.ls.gamma", 1)
            attention.append(weights)
            continue
        y = x if norms_follow else layer_norm(x, t, f"{block}.norm1", eps)
        y, weights = _attend(linear(y, t, f"{block}.attn.qkv"), t, f"{block}.attn", heads, eps, i)
        y = linear(layer_norm(y, t, f"{block}.attn.norm", eps), t, f"{block}.attn.proj")
        y = layer_norm(y, t, f"{block}.norm1", eps) if norms_follow else y
        x = x + y * t.get(f"{block}.ls1.gamma", 1)
        y = x if norms_follow else layer_norm(x, t, f"{block}.norm2", eps)
        y = _mlp(y, t, f"{block}.mlp", gelu, eps)
        y = layer_norm(y, t, f"{block}.norm2", eps) if norms_follow else y
        x = x + y * t.get(f"{block}.ls2.gamma", 1)
        attention.append(weights)
    x = layer_norm(x, t, "norm", eps)
    rest = x if pool_prefix else x[:, first:]
    if "attn_pool.latent" in t:
        q = linear(t["attn_pool.latent"], t, "attn_pool.q").repeat(len(x), axis=0)
        pooled, _ = attend(q, *np.split(linear(rest, t, "attn_pool.kv"), 2, axis=-1), heads)
        y = linear(pooled[:, 0], t, "attn_pool.proj")
        features = y + _mlp(layer_norm(y, t, "attn_pool.norm", eps), t, "attn_pool.mlp", gelu, eps)
    elif "fc_norm.weight" in t or "cls_token" not in t:
        features = layer_norm(rest.mean(axis=1), t, "fc_norm", eps)
    else:
        features = x[:, 0]
    if "pre_logits.fc.weight" in t:
        features = np.tanh(linear(features, t, "pre_logits.fc"))
    if "dist_token" in t:
        logits = linear(features, t, "head") / 2 + linear(x[:, 1], t, "head_dist") / 2
        return Output(np.concatenate([features, x[:, 1]], axis=1), logits, attention)
    logits = linear(features, t, "head") if "head.weight" in t else features
    return Output(features, logits, attention)


def _parallel(
    x: np.ndarray, t: Tensors, block: str, heads: int, eps: float, gelu: str, i: int
) -> tuple[np.ndarray, np.ndarray]:
    """Attention and MLP of the same tokens."""
    y = linear(layer_norm(x, t, f"{block}.in_norm", eps), t, f"{block}.in_proj")
    hidden, qkv = np.split(y, [y.shape[-1] - 3 * x.shape[-1]], axis=-1)
    hidden = GELUS[gelu](hidden + t.get(f"{block}.mlp_bias", 0))
    y, weights = _attend(qkv, t, block, heads, eps, i)
    if f"{block}.out_proj.weight" in t:
        return linear(np.concatenate([y, hidden], axis=-1), t, f"{block}.out_proj"), weights
    y = linear(y, t, f"{block}.attn_out_proj") + linear(hidden, t, f"{block}.mlp_out_proj")
    return y, weights


def _side_by_side(
    x: np.ndarray, t: Tensors, block: str, heads: int, eps: float, gelu: str
) -> tuple[np.ndarray, np.ndarray]:
    """Several attentions of the same tokens, then several MLPs."""
    parts, every = [], []
    for name in _blocks(t, f"{block}.attns.{{}}", "norm.weight"):
        qkv = linear(layer_norm(x, t, f"{name}.norm", eps), t, f"{name}.attn.qkv")
        y, weights = attend(*np.split(qkv, 3, axis=-1), heads)
        parts.append(linear(y, t, f"{name}.attn.proj") * t[f"{name}.ls.gamma"])
        every.append(weights)
    x = x + sum(parts)
    for name in _blocks(t, f"{block}.ffns.{{}}", "norm.weight"):
        y = _mlp(layer_norm(x, t, f"{name}.norm", eps), t, f"{name}.mlp", gelu, eps)
        parts.append(y * t[f"{name}.ls.gamma"])
    return x + sum(parts[len(every) :]), np.concatenate(every, axis=1)


def _attend(
    qkv: np.ndarray, t: Tensors, name: str, heads: int, eps: float, i: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of the i-th block; perhaps differential: with half of each head's queries and keys, less
    lambda times that with the other."""
    q, k, v = np.split(qkv, 3, axis=-1)
    q, k = (_of_heads(z, t, f"{name}.{n}_norm", heads, eps) for z, n in ((q, "q"), (k, "k")))
    if f"{name}.lambda_q1" not in t:
        return attend(q, k, v, heads)
    halves = [np.split(z, 2 * heads, axis=-1) for z in (q, k)]
    pairs = [[np.concatenate(z[j::2], axis=-1) for z in halves] for j in range(2)]
    (y1, weights1), (y2, weights2) = (attend(*pair, v, heads) for pair in pairs)
    first = 0.8 - 0.6 * math.exp(-0.3 * i)
    grown = [np.exp(t[f"{name}.lambda_q{j}"] @ t[f"{name}.lambda_k{j}"]) for j in (1, 2)]
    factor = grown[0] - grown[1] + first
    y = _of_heads(y1 - factor * y2, t, f"{name}.sub_norm", heads, 1e-5)
    return y * (1 - first), weights1 - factor * weights2


def _mlp(x: np.ndarray, t: Tensors, name: str, gelu: str, eps: float) -> np.ndarray:
    """Plain, or gated by one half of the first product, or by one of two."""
    if f"{name}.fc1_g.weight" in t:
        y = GELUS[gelu](linear(x, t, f"{name}.fc1_g")) * linear(x, t, f"{name}.fc1_x")
    else:
        y = linear(x, t, f"{name}.fc1")
        gate, *value = np.split(y, y.shape[-1] // t[f"{name}.fc2.weight"].shape[1], axis=-1)
        y = math.prod(value, start=GELUS[gelu](gate))
    return linear(layer_norm(y, t, f"{name}.norm", eps), t, f"{name}.fc2")


def _of_heads(x: np.ndarray, t: Tensors, name: str, heads: int, eps: float) -> np.ndarray:
    parts = np.split(x, heads, axis=-1)
    return np.concatenate([layer_norm(part, t, name, eps) for part in parts], axis=-1)


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


def resnet(
    tensors: Tensors, images: np.ndarray, anti_aliasing: str = "none", groups: int = 1
) -> Output:
    """torchvision's and timm's residual networks, of basic or bottleneck blocks."""
    t = _float64(tensors)
    if "conv1.weight" in t:
        x = convolve(images, t["conv1.weight"], stride=2, pad=3)
    else:
        x = convolve(images, t["conv1.0.weight"], stride=2, pad=1)
        for i in (3, 6):
            x = convolve(relu(batch_norm(x, t, f"conv1.{i - 2}")), t[f"conv1.{i}.weight"], pad=1)
    x = relu(batch_norm(x, t, "bn1"))
    smooth = {"avg": average_pool, "blur": blur}.get(anti_aliasing)
    if "maxpool.0.weight" in t:
        x = relu(batch_norm(convolve(x, t["maxpool.0.weight"], 2, pad=1), t, "maxpool.1"))
    elif anti_aliasing == "avg":
        x = average_pool(x)
    else:
        x = blur(max_pool(x, 1)) if anti_aliasing == "blur" else max_pool(x)
    for block, halves in _stages(t):
        y, convolutions = x, [1, 2, 3] if f"{block}.conv3.weight" in t else [1, 2]
        for i in convolutions:
            weight = t[f"{block}.conv{i}.weight"]
            here = halves and i == len(convolutions) - 1
            stride = 2 if here and not smooth else 1
            of_group = groups if len(convolutions) == 3 and i == 2 else 1
            y = relu(y) if i > 1 else y
            y = convolve(y, weight, stride, weight.shape[-1] // 2, of_group)
            y = batch_norm(y, t, f"{block}.bn{i}")
            y = smooth(relu(y)) if smooth and here else y
        if f"{block}.se.conv.weight" in t:
            means, weight = y.mean(axis=(2, 3)), t[f"{block}.se.conv.weight"][0, 0]
            means = np.pad(means, ((0, 0), (len(weight) // 2,) * 2))
            sums = np.lib.stride_tricks.sliding_window_view(means, len(weight), axis=1) @ weight
            y = y / (1 + np.exp(-sums))[:, :, None, None]
        elif f"{block}.se.fc1.weight" in t:
            weights = {n: w[..., 0, 0] if w.ndim == 4 else w for n, w in t.items() if ".se." in n}
            hidden = relu(linear(y.mean(axis=(2, 3)), weights, f"{block}.se.fc1"))
            sums = linear(hidden, weights, f"{block}.se.fc2")
            y = y / (1 + np.exp(-sums))[:, :, None, None]
        if f"{block}.downsample.2.weight" in t:
            x = average_pool(x, whole=True) if halves else x
            x = batch_norm(
                convolve(x, t[f"{block}.downsample.1.weight"]), t, f"{block}.downsample.2"
            )
        elif f"{block}.downsample.0.weight" in t:
            weight = t[f"{block}.downsample.0.weight"]
            x = convolve(x, weight, 2 if halves else 1, weight.shape[-1] // 2)
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
    return x @ t[f"{name}.weight"].T + t.get(f"{name}.bias", 0)


def layer_norm(x: np.ndarray, t: Tensors, name: str, eps: float) -> np.ndarray:
    """Without a bias there is no mean, either; without both, nothing is done."""
    if f"{name}.weight" not in t:
        return x
    if f"{name}.bias" in t:
        x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    return x * t[f"{name}.weight"] + t.get(f"{name}.bias", 0)


def batch_norm(x: np.ndarray, t: Tensors, name: str) -> np.ndarray:
    """Of [b, c, h, w], by the running statistics; without them, those of 32 groups of channels."""
    if f"{name}.running_mean" not in t:
        groups = x.reshape(len(x), 32, -1)
        groups = groups - groups.mean(axis=2, keepdims=True)
        groups = groups / np.sqrt((groups**2).mean(axis=2, keepdims=True) + 1e-5)
        weight, bias = (t[f"{name}.{part}"][:, None, None] for part in ("weight", "bias"))
        return groups.reshape(x.shape) * weight + bias
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


def convolve(
    x: np.ndarray, weight: np.ndarray, stride: int = 1, pad: int = 0, groups: int = 1
) -> np.ndarray:
    """[b, in, h, w] by [out, in / groups, kh, kw]."""
    if groups > 1:
        parts = zip(np.split(x, groups, axis=1), np.split(weight, groups), strict=True)
        return np.concatenate([convolve(*part, stride, pad) for part in parts], axis=1)
    windows = _windows(np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad))), weight.shape[2:])
    product = np.tensordot(windows[:, :, ::stride, ::stride], weight, ([1, 4, 5], [1, 2, 3]))
    return np.moveaxis(product, -1, 1)


def max_pool(x: np.ndarray, stride: int = 2) -> np.ndarray:
    """3 by 3, with an edge of 1."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    return _windows(padded, (3, 3))[:, :, ::stride, ::stride].max(axis=(4, 5))


def average_pool(x: np.ndarray, whole: bool = False) -> np.ndarray:
    """2 by 2, without overlap; whole: of what there is at the end of odd rows and columns."""
    odd = [(0, 0), (0, 0), *((0, size % 2 if whole else 0) for size in x.shape[2:])]
    padded = np.pad(x, odd, constant_values=np.nan)
    return np.nanmean(_windows(padded, (2, 2))[:, :, ::2, ::2], axis=(4, 5))


def blur(x: np.ndarray) -> np.ndarray:
    """By 1 2 1 along both axes, at every second position; the edges are reflected."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    return (_windows(padded, (3, 3))[:, :, ::2, ::2] * kernel).sum(axis=(4, 5))


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def quick_gelu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-1.702 * x))


def exact_gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def tanh_gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


# By timm's names.
GELUS = {"gelu": exact_gelu, "quick_gelu": quick_gelu, "gelu_tanh": tanh_gelu, "silu": silu}


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
