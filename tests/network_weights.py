"""Random weights of the published networks, under the published names and of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Tensors = dict[str, np.ndarray]


class Draw:
    """Random tensors by name, such that no scale, shift or statistic is trivial."""

    def __init__(self, seed: int = 0, prefix: str = ""):
        self._rng, self._prefix = np.random.default_rng(seed), prefix
        self.tensors: Tensors = {}

    def normal(self, name: str, *shape: int, scale: float = 0.3, centre: float = 0.0) -> None:
        values = self._rng.normal(centre, scale, shape)
        self.tensors[self._prefix + name] = values.astype(np.float32)

    def weight(self, name: str, *shape: int) -> None:
        """Of variance 1 / fan-in, and a number of float16: CLIP's archives round it to that."""
        self.normal(name, *shape, scale=1 / math.sqrt(math.prod(shape[1:])))
        name = self._prefix + name
        self.tensors[name] = self.tensors[name].astype(np.float16).astype(np.float32)

    def linear(self, name: str, inner: int, outer: int) -> None:
        self.weight(f"{name}.weight", outer, inner)
        self.normal(f"{name}.bias", outer)

    def norm(self, name: str, size: int) -> None:
        self.normal(f"{name}.weight", size, centre=1.0)
        self.normal(f"{name}.bias", size)

    def batch_norm(self, name: str, size: int) -> None:
        self.norm(name, size)
        self.normal(f"{name}.running_mean", size)
        variance = self._rng.uniform(0.5, 2, size)
        self.tensors[f"{self._prefix}{name}.running_var"] = variance.astype(np.float32)
        self.tensors[f"{self._prefix}{name}.num_batches_tracked"] = np.array(7)


def vit(
    parts: str = "", *, width: int = 12, depth: int = 2, hidden: int = 20, patch: int = 4,
    patches: int = 6, classes: int = 3,
) -> Tensors:  # fmt: skip
    """timm's; `parts` in words: distilled registers no_embed_class layer_scale fc_norm pre_logits
    norm_pre no_qkv_bias no_class map no_norm rms embed_norm qk_norm inner_norms packed split
    no_proj_bias parallel differential beside. No classes: no head."""
    has, draw = parts.split(), Draw()

    def norm(name: str, size: int) -> None:
        draw.normal(f"{name}.weight", size, centre=1.0)
        if "rms" not in has:
            draw.normal(f"{name}.bias", size)

    def linear(name: str, inner: int, outer: int) -> None:
        draw.weight(f"{name}.weight", outer, inner)
        if "no_proj_bias" not in has:
            draw.normal(f"{name}.bias", outer)

    draw.weight("patch_embed.proj.weight", width, 3, patch, patch)
    if "norm_pre" not in has:
        draw.normal("patch_embed.proj.bias", width)
    prefix = {
        "cls_token": "no_class" not in has,
        "dist_token": "distilled" in has,
        "reg_token": 3 * ("registers" in has),
    }
    for name, tokens in prefix.items():
        if tokens:
            draw.normal(name, 1, int(tokens), width, scale=1.0)
    patches += 0 if "no_embed_class" in has else sum(prefix.values())
    draw.normal("pos_embed", 1, patches, width)
    for name in ("norm_pre", "embed_norm"):
        if name in has:
            norm({"embed_norm": "patch_embed.norm"}.get(name, name), width)

    def within_attention(name: str) -> None:
        if "qk_norm" in has:
            norm(f"{name}.q_norm", width // 3)
            norm(f"{name}.k_norm", width // 3)
        if "differential" in has:
            for vector in ("q1", "k1", "q2", "k2"):
                draw.normal(f"{name}.lambda_{vector}", width // 6)
            draw.normal(f"{name}.sub_norm.weight", width // 3, centre=1.0)

    for block in (f"blocks.{i}" for i in range(depth)):
        if "parallel" in has:
            norm(f"{block}.in_norm", width)
            draw.weight(f"{block}.in_proj.weight", hidden + 3 * width, width)
            if "no_qkv_bias" in has:
                draw.normal(f"{block}.mlp_bias", hidden)
            else:
                draw.normal(f"{block}.in_proj.bias", hidden + 3 * width)
            within_attention(block)
            if "differential" in has:
                linear(f"{block}.out_proj", width + hidden, width)
            else:
                linear(f"{block}.attn_out_proj", width, width)
                linear(f"{block}.mlp_out_proj", hidden, width)
            continue
        for i in range(2) if "beside" in has else ():
            attention, mlp = f"{block}.attns.{i}", f"{block}.ffns.{i}"
            sizes = {f"{attention}.attn.qkv": (width, 3 * width)}
            sizes |= {f"{attention}.attn.proj": (width, width)}
            sizes |= {f"{mlp}.mlp.fc1": (width, hidden), f"{mlp}.mlp.fc2": (hidden, width)}
            for name, (inner, outer) in sizes.items():
                linear(name, inner, outer)
            for name in (attention, mlp):
                norm(f"{name}.norm", width)
                draw.normal(f"{name}.ls.gamma", width, scale=1.0)
        if "beside" in has:
            continue
        norm(f"{block}.norm1", width)
        draw.weight(f"{block}.attn.qkv.weight", 3 * width, width)
        if "no_qkv_bias" not in has:
            draw.normal(f"{block}.attn.qkv.bias", 3 * width)
        within_attention(f"{block}.attn")
        if "inner_norms" in has:
            norm(f"{block}.attn.norm", width)
            norm(f"{block}.mlp.norm", hidden)
        linear(f"{block}.attn.proj", width, width)
        norm(f"{block}.norm2", width)
        for name in ("fc1_g", "fc1_x") if "split" in has else ("fc1",):
            linear(f"{block}.mlp.{name}", width, 2 * hidden if "packed" in has else hidden)
        linear(f"{block}.mlp.fc2", hidden, width)
        for scale in ("ls1", "ls2") if "layer_scale" in has else ():
            draw.normal(f"{block}.{scale}.gamma", width, scale=1.0)
    if "no_norm" not in has:
        norm("fc_norm" if "fc_norm" in has else "norm", width)
    if "pre_logits" in has:
        draw.linear("pre_logits.fc", width, 5)
    if "map" in has:
        draw.normal("attn_pool.latent", 1, 1, width, scale=1.0)
        norm("attn_pool.norm", width)
        sizes = {"q": (width, width), "kv": (width, 2 * width), "proj": (width, width)}
        sizes |= {"mlp.fc1": (width, hidden), "mlp.fc2": (hidden, width)}
        for name, (inner, outer) in sizes.items():
            draw.linear(f"attn_pool.{name}", inner, outer)
    for head in ("head", "head_dist") if "distilled" in has else ("head",):
        if classes:
            draw.linear(head, 5 if "pre_logits" in has else width, classes)
    return draw.tensors


def clip_vit(
    *, width: int = 12, depth: int = 2, hidden: int = 20, patch: int = 4, patches: int = 6,
    features: int = 7,
) -> Tensors:  # fmt: skip
    """OpenAI's."""
    draw = Draw(prefix="visual.")
    draw.normal("class_embedding", width)
    draw.normal("positional_embedding", 1 + patches, width)
    draw.weight("proj", width, features)
    draw.weight("conv1.weight", width, 3, patch, patch)
    draw.norm("ln_pre", width)
    for block in (f"transformer.resblocks.{i}" for i in range(depth)):
        draw.weight(f"{block}.attn.in_proj_weight", 3 * width, width)
        draw.normal(f"{block}.attn.in_proj_bias", 3 * width)
        draw.linear(f"{block}.attn.out_proj", width, width)
        draw.norm(f"{block}.ln_1", width)
        draw.linear(f"{block}.mlp.c_fc", width, hidden)
        draw.linear(f"{block}.mlp.c_proj", hidden, width)
        draw.norm(f"{block}.ln_2", width)
    draw.norm("ln_post", width)
    return draw.tensors


def resnet(
    depths: tuple[int, ...] = (2, 1), *, width: int = 4, bottleneck: bool = False,
    project_all: bool = False, classes: int = 3, parts: str = "",
) -> Tensors:  # fmt: skip
    """torchvision's, with timm's `parts` in words: deep replace_pool average_down down3 se eca
    groups thin group_norm. No classes: no head."""
    draw, has = Draw(), parts.split()
    if "deep" in has:
        for i, (inner, outer) in enumerate(((3, 3), (3, 5), (5, width))):
            draw.weight(f"conv1.{3 * i}.weight", outer, inner, 3, 3)
            draw.batch_norm("bn1" if i == 2 else f"conv1.{3 * i + 1}", outer)
    else:
        draw.weight("conv1.weight", width, 3, 7, 7)
        draw.batch_norm("bn1", width)
    if "replace_pool" in has:
        draw.weight("maxpool.0.weight", width, width, 3, 3)
        draw.batch_norm("maxpool.1", width)
    inner = _residual(draw, depths, width, bottleneck, project_all, has)
    if classes:
        draw.linear("fc", inner, classes)
    if "group_norm" in has:
        statistics = ("running_mean", "running_var", "num_batches_tracked")
        return {name: t for name, t in draw.tensors.items() if not name.endswith(statistics)}
    return draw.tensors


def clip_resnet(
    depths: tuple[int, ...] = (1, 2, 1, 1), *, width: int = 4, features: int = 7, patches: int = 6
) -> Tensors:
    """OpenAI's."""
    draw, inner = Draw(prefix="visual."), 3
    for i, size in enumerate((width // 2, width // 2, width), 1):
        draw.weight(f"conv{i}.weight", size, inner, 3, 3)
        draw.batch_norm(f"bn{i}", size)
        inner = size
    inner = _residual(draw, depths, width, bottleneck=True, project_all=False)
    draw.normal("attnpool.positional_embedding", 1 + patches, inner)
    for name in ("k", "q", "v"):
        draw.linear(f"attnpool.{name}_proj", inner, inner)
    draw.linear("attnpool.c_proj", inner, features)
    return draw.tensors


def _residual(
    draw: Draw,
    depths: tuple[int, ...],
    width: int,
    bottleneck: bool,
    project_all: bool,
    has: Sequence[str] = (),
) -> int:
    """The stages; the width of the last."""
    inner = width
    for stage, depth in enumerate(depths):
        size = width * 2**stage
        outer = 4 * size if bottleneck else size
        middle = size // 2 if "thin" in has else size
        layers = [(middle, 1), (middle, 3), (outer, 1)] if bottleneck else [(middle, 3), (size, 3)]
        for i in range(depth):
            block, before = f"layer{stage + 1}.{i}", inner
            for j, (after, kernel) in enumerate(layers, 1):
                groups = 2 if "groups" in has and j == 2 else 1
                draw.weight(f"{block}.conv{j}.weight", after, before // groups, kernel, kernel)
                draw.batch_norm(f"{block}.bn{j}", after)
                before = after
            if "se" in has:
                for name, (one, other) in {"fc1": (outer, 9), "fc2": (9, outer)}.items():
                    draw.weight(f"{block}.se.{name}.weight", other, one, 1, 1)
                    draw.normal(f"{block}.se.{name}.bias", other)
            if "eca" in has:
                draw.weight(f"{block}.se.conv.weight", 1, 1, 3)
            if project_all or inner != outer:
                first = 1 if "average_down" in has else 0
                kernel = 3 if "down3" in has and stage else 1
                name = f"{block}.downsample"
                draw.weight(f"{name}.{first}.weight", outer, inner, kernel, kernel)
                draw.batch_norm(f"{name}.{first + 1}", outer)
            inner = outer
    return inner
