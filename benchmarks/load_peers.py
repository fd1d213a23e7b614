"""The networks of load_models.py in PyTorch: transformers' (5.x), and here CLIP's residual network.

The weights are the generator's, not read from a file, under names changed to transformers'.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# transformers imports torchvision where it is installed, for images, which nothing here needs, and
# fails if that is of another build than torch.
sys.modules["torchvision"] = None  # type: ignore[assignment]
import transformers  # noqa: E402

State = dict[str, Tensor]
Names = Mapping[str, str | Callable[[re.Match[str]], str]]
_VIT: Names = {
    r"^cls_token": "vit.embeddings.cls_token",
    r"^pos_embed": "vit.embeddings.position_embeddings",
    r"^dist_token": "vit.embeddings.distillation_token",
    r"^patch_embed\.proj": "vit.embeddings.patch_embeddings.projection",
    r"^blocks": "vit.layers",
    r"attn\.proj": "attention.o_proj",
    r"attn\.([qkv])\.": r"attention.\1_proj.",
    r"norm1": "layernorm_before",
    r"norm2": "layernorm_after",
    r"^norm": "vit.layernorm",
    r"^head_dist": "distillation_classifier",
    r"^head": "classifier",
}
_CLIP: Names = {
    r"^visual": "vision_model",
    r"class_embedding": "embeddings.class_embedding",
    r"conv1": "embeddings.patch_embedding",
    r"positional_embedding": "embeddings.position_embedding.weight",
    r"ln_pre": "pre_layrnorm",
    r"ln_post": "post_layernorm",
    r"transformer\.resblocks": "encoder.layers",
    r"attn\.([qkv])\.": r"self_attn.\1_proj.",
    r"\.attn\.out": ".self_attn.out",
    r"ln_([12])": r"layer_norm\1",
    r"c_fc": "fc1",
    r"c_proj": "fc2",
}
_RESNET: Names = {
    r"^conv1": "resnet.embedder.embedder.convolution",
    r"^bn1": "resnet.embedder.embedder.normalization",
    r"^layer(\d)\.": lambda match: f"resnet.encoder.stages.{int(match[1]) - 1}.layers.",
    r"\.conv(\d)": lambda match: f".layer.{int(match[1]) - 1}.convolution",
    r"\.bn(\d)": lambda match: f".layer.{int(match[1]) - 1}.normalization",
    r"downsample\.0": "shortcut.convolution",
    r"downsample\.1": "shortcut.normalization",
    r"^fc": "classifier.1",
}


def logits(family: str, tensors: Mapping[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Of normalised images [b, 3, 224, 224], in float32 on the CPU; CLIP's are its features."""
    state = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    networks = {"vit": _vit, "resnet": _resnet, "clip_vit": _clip_vit, "clip_resnet": ClipResNet}
    with torch.inference_mode():
        out: Any = networks[family](state)(torch.from_numpy(np.ascontiguousarray(images)))
    return getattr(out, "image_embeds" if family == "clip_vit" else "logits", out).numpy()


def _vit(state: State) -> nn.Module:
    facts = _transformer(state, "patch_embed.proj.weight", r"blocks\.(\d+)", "mlp.fc1.weight")
    facts |= {"layer_norm_eps": 1e-6, "num_labels": len(state["head.weight"])}
    renamed = _renamed(_split(state), _VIT)
    if "dist_token" not in state:
        vit = transformers.ViTForImageClassification(transformers.ViTConfig(**facts))
        return _loaded(vit, renamed)
    deit = transformers.DeiTForImageClassificationWithTeacher(transformers.DeiTConfig(**facts))
    other: Names = {r"^vit": "deit", r"^classifier": "cls_classifier"}
    return _loaded(deit, _renamed(renamed, other))


def _clip_vit(state: State) -> nn.Module:
    facts = _transformer(state, "visual.conv1.weight", r"resblocks\.(\d+)", "mlp.c_fc.weight")
    projection = state.pop("visual.proj").T.contiguous()
    config = transformers.CLIPVisionConfig(**facts, projection_dim=len(projection))
    renamed = {**_renamed(_split(state), _CLIP), "visual_projection.weight": projection}
    return _loaded(transformers.CLIPVisionModelWithProjection(config), renamed)


def _resnet(state: State) -> nn.Module:
    config = transformers.ResNetConfig()  # of ResNet-50
    config.num_labels = len(state["fc.weight"])
    return _loaded(transformers.ResNetForImageClassification(config), _renamed(state, _RESNET))


def _transformer(state: State, patches: str, block: str, hidden: str) -> dict[str, Any]:
    blocks = {match[1] for name in state if (match := re.search(block, name))}
    width, _, _, patch = state[patches].shape
    return {
        "hidden_size": width,
        "patch_size": patch,
        "image_size": 224,
        "num_hidden_layers": len(blocks),
        "num_attention_heads": width // 64,
        "intermediate_size": next(len(t) for name, t in state.items() if name.endswith(hidden)),
    }


def _split(state: State) -> State:
    """Queries, keys and values apart: "attn.qkv.weight" to "attn.q.weight", ..."""
    found: State = {}
    for name, tensor in state.items():
        match = re.fullmatch(r"(.*attn\.)(?:qkv\.|in_proj_)(weight|bias)", name)
        if match:
            thirds = zip("qkv", tensor.chunk(3), strict=True)
            found |= {f"{match[1]}{part}.{match[2]}": third for part, third in thirds}
        else:
            found[name] = tensor
    return found


def _renamed(state: State, names: Names) -> State:
    found: State = {}
    for name, tensor in state.items():
        for pattern, other in names.items():
            name = re.sub(pattern, other, name)
        found[name] = tensor
    return found


def _loaded(network: nn.Module, state: State) -> nn.Module:
    network.load_state_dict(state)  # raises unless every name and shape is the network's
    return network.eval()


class ClipResNet:
    """OpenAI's modified ResNet by its state dict, for transformers have none."""

    def __init__(self, state: State):
        self.state = {name.removeprefix("visual."): tensor for name, tensor in state.items()}

    def __call__(self, x: Tensor) -> Tensor:
        for i, stride in ((1, 2), (2, 1), (3, 1)):
            x = F.relu(self._conv_bn(x, f"conv{i}", f"bn{i}", stride))
        x = F.avg_pool2d(x, 2)
        for name in dict.fromkeys(".".join(key.split(".")[:2]) for key in self.state):
            if name.startswith("layer"):
                stride = 2 if name.endswith(".0") and name != "layer1.0" else 1
                x = self._block(x, f"{name}.", stride)
        return self._pool(x)

    def _block(self, x: Tensor, name: str, stride: int) -> Tensor:
        y = F.relu(self._conv_bn(x, f"{name}conv1", f"{name}bn1"))
        y = F.relu(self._conv_bn(y, f"{name}conv2", f"{name}bn2"))
        y = self._conv_bn(F.avg_pool2d(y, stride), f"{name}conv3", f"{name}bn3")
        if f"{name}downsample.0.weight" in self.state:
            x = F.avg_pool2d(x, stride)
            x = self._conv_bn(x, f"{name}downsample.0", f"{name}downsample.1")
        return F.relu(x + y)

    def _conv_bn(self, x: Tensor, conv: str, bn: str, stride: int = 1) -> Tensor:
        weight = self.state[f"{conv}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        parts = ("running_mean", "running_var", "weight", "bias")
        mean, var, scale, bias = (self.state[f"{bn}.{part}"] for part in parts)
        return F.batch_norm(x, mean, var, scale, bias)

    def _pool(self, x: Tensor) -> Tensor:
        s = {k.removeprefix("attnpool."): t for k, t in self.state.items() if "attnpool" in k}
        tokens = x.flatten(2).permute(2, 0, 1)
        tokens = (
            torch.cat([tokens.mean(0, keepdim=True), tokens]) + s["positional_embedding"][:, None]
        )
        width = tokens.shape[2]
        pooled, _ = F.multi_head_attention_forward(
            query=tokens[:1],
            key=tokens,
            value=tokens,
            embed_dim_to_check=width,
            num_heads=width // 64,
            q_proj_weight=s["q_proj.weight"],
            k_proj_weight=s["k_proj.weight"],
            v_proj_weight=s["v_proj.weight"],
            in_proj_weight=None,
            in_proj_bias=torch.cat([s[f"{name}_proj.bias"] for name in "qkv"]),
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0,
            out_proj_weight=s["c_proj.weight"],
            out_proj_bias=s["c_proj.bias"],
            use_separate_proj_weight=True,
            training=False,
            need_weights=False,
        )
        return pooled[0]
