"""Tiny networks of PyTorch with random weights of few digits; only imported where torch is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="its networks are of torch, an extra")
pytest.importorskip("timm", reason="its networks are of timm, an extra")

from timm.models import (
    _efficientnet_builder as builder,
)
from timm.models import (
    beit,
    convnext,
    efficientnet,
    mlp_mixer,
    regnet,
    resnet,
    swin_transformer,
    vision_transformer,
)
from torch import nn


@dataclasses.dataclass(frozen=True)
class Tiny:
    """How a network is made, and the size of its images."""

    make: Callable[[], Any]
    image_size: tuple[int, int]


def _timm(kind: Any, size: tuple[int, int], **options: Any) -> Tiny:
    return Tiny(lambda: kind(num_classes=5, **options), size)


def _efficientnet() -> Any:
    blocks = [["ds_r1_k3_s1_e1_c8"], ["ir_r1_k3_s2_e2_c8_se0.25"], ["ir_r1_k5_s2_e2_c12_se0.25"]]
    return efficientnet.EfficientNet(
        builder.decode_arch_def(blocks), num_classes=5, num_features=16, stem_size=8
    )


def _regnet() -> Any:
    config = regnet.RegNetCfg(depth=8, w0=8, wa=8.0, wm=2.0, group_size=4, se_ratio=0.25)
    return regnet.RegNet(config, num_classes=5)


class Awkward(nn.Module):
    """What exports get wrong: a module called twice, tuples, changes in place, views by strides."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.ReLU(inplace=True)
        self.mix = nn.Conv2d(8, 8, 3, padding=1)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.silent = nn.Identity()
        self.unused = nn.Linear(8, 3)
        self.head = nn.Linear(8, 5)
        self.scale = nn.Parameter(torch.ones(8), requires_grad=False)
        self.register_buffer("order", torch.arange(7, -1, -1))

    def forward(self, image: Any) -> Any:
        x = self.act(self.norm(self.stem(image)))
        x = self.mix(self.mix(x)).add_(x)  # after the module, in its place
        b, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        tokens = self.silent(tokens) + self.attention(tokens, tokens, tokens)[0]
        self.unused(tokens)
        last = tokens.as_strided((b, h * w, c), tokens.stride()) * self.scale
        return (self.head(last.mean(1)[:, self.order]), last)


TOKENS = {"embed_dim": 16, "depth": 2, "num_heads": 2}
TINY = {
    "vit": _timm(
        vision_transformer.VisionTransformer, (16, 24), img_size=(16, 24), patch_size=8, **TOKENS
    ),
    "beit": _timm(beit.Beit, (16, 16), img_size=16, patch_size=4, use_rel_pos_bias=True, **TOKENS),
    "mixer": _timm(
        mlp_mixer.MlpMixer, (24, 24), img_size=24, patch_size=8, embed_dim=16, num_blocks=2
    ),
    "swin": _timm(
        swin_transformer.SwinTransformer,
        (32, 48),
        img_size=(32, 48),
        window_size=4,
        embed_dim=8,
        depths=(2, 1),
        num_heads=(1, 2),
    ),
    "convnext": _timm(convnext.ConvNeXt, (64, 96), depths=(1, 1, 1, 1), dims=(8, 8, 12, 16)),
    "resnet": _timm(
        resnet.ResNet,
        (48, 64),
        block=resnet.BasicBlock,
        layers=(1, 1, 1, 1),
        channels=(8, 8, 8, 16),
        stem_type="deep",
        stem_width=4,
    ),
    "efficientnet": Tiny(_efficientnet, (32, 48)),
    "regnet": Tiny(_regnet, (64, 64)),
    "awkward": Tiny(Awkward, (12, 16)),
}


def made(name: str) -> Any:
    """A network in evaluation mode; no tensor of it is trivially 0 or 1."""
    network, rng = TINY[name].make().eval(), np.random.default_rng(0)
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not key.endswith("relative_coords_table"):
            values = (
                rng.normal(size=tuple(tensor.shape))
                / max(1, tensor[0].numel() if tensor.ndim > 1 else 9) ** 0.5
            )
            positive = key.endswith("running_var") or (tensor.ndim == 1 and key.endswith("weight"))
            mantissa, exponent = np.frexp(np.exp(values) if positive else values)
            rounded = np.ldexp(np.round(mantissa * 32) / 32, exponent)
            with torch.no_grad():
                tensor.copy_(torch.tensor(rounded))
    return network
