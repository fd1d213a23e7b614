"""The wrappings that published weights come in, made from the plain names.

A wrapping gives, for every name in the file, its tensor and the name that an error calls it by:
timm's, torchvision's or OpenAI's (these without "visual."). None: the file holds it, no network
needs it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np

from tests.network_weights import Draw, Tensors

Wrapped = dict[str, tuple[np.ndarray, str | None]]
MEAN, STD = (0.1, 0.4, 0.3), (0.5, 0.2, 0.4)  # of the input, in wrappings that hold them


def bare(tensors: Tensors) -> Wrapped:
    """As published."""
    return {name: (tensor, name.removeprefix("visual.")) for name, tensor in tensors.items()}


def data_parallel(tensors: Tensors) -> Wrapped:
    """torch.nn.DataParallel."""
    return {f"module.{name}": (tensor, name) for name, tensor in tensors.items()}


def madry(tensors: Tensors) -> Wrapped:
    """The robustness library: the network, its normaliser, and both again in the attacker."""
    mean, std = (np.array(x, np.float32)[:, None, None] for x in (MEAN, STD))
    found: Wrapped = {
        "module.normalizer.new_mean": (mean, "module.normalizer.new_mean"),
        "module.normalizer.new_std": (std, "module.normalizer.new_std"),
        "module.attacker.normalize.new_mean": (mean, None),
        "module.attacker.normalize.new_std": (std, None),
    }
    for name, tensor in tensors.items():
        found[f"module.model.{name}"] = tensor, name
        found[f"module.attacker.model.{name}"] = tensor.copy(), None
    return found


def simclr(tensors: Tensors) -> Wrapped:
    """pl_bolts: a trunk with torchvision's untrained head, and the layers up to the loss."""
    draw = Draw()
    draw.linear("encoder.fc", 32, 10)
    draw.linear("projection.model.0", 8, 8)
    draw.batch_norm("projection.model.1", 8)
    draw.weight("projection.model.3.weight", 4, 8)
    found: Wrapped = {f"encoder.{name}": (tensor, name) for name, tensor in tensors.items()}
    return found | {name: (tensor, None) for name, tensor in draw.tensors.items()}


def dino_teacher(tensors: Tensors) -> Wrapped:
    """A trunk, and the layers between it and the loss."""
    draw = Draw()
    draw.linear("head.mlp.0", 12, 8)
    draw.weight("head.last_layer.weight_g", 9, 1)
    draw.weight("head.last_layer.weight_v", 9, 8)
    found: Wrapped = {f"backbone.{name}": (tensor, name) for name, tensor in tensors.items()}
    return found | {name: (tensor, None) for name, tensor in draw.tensors.items()}


def dino_student(tensors: Tensors) -> Wrapped:
    """The same, trained on several devices."""
    return {f"module.{name}": value for name, value in dino_teacher(tensors).items()}


def msn(tensors: Tensors) -> Wrapped:
    """A trunk, and the layers between it and the prototypes."""
    draw = Draw()
    draw.linear("fc.fc1", 12, 8)
    draw.batch_norm("fc.bn1", 8)
    draw.linear("fc.fc2", 8, 8)
    draw.linear("fc.fc3", 8, 5)
    every = {**bare(tensors), **{name: (tensor, None) for name, tensor in draw.tensors.items()}}
    return {f"module.{name}": value for name, value in every.items()}


def mae(tensors: Tensors) -> Wrapped:
    """An encoder with its decoder."""
    draw = Draw()
    draw.normal("mask_token", 1, 1, 8)
    draw.linear("decoder_embed", 12, 8)
    draw.normal("decoder_pos_embed", 1, 7, 8)
    draw.linear("decoder_blocks.0.attn.qkv", 8, 24)
    draw.norm("decoder_norm", 8)
    draw.linear("decoder_pred", 8, 48)
    return bare(tensors) | {name: (tensor, None) for name, tensor in draw.tensors.items()}


def mae_probe(tensors: Tensors) -> Wrapped:
    """A linear probe: the head reads features after the norm of a batch, without scale."""
    draw = Draw()
    draw.batch_norm("head.0", tensors["head.weight"].shape[1])
    found = bare({name: t for name, t in tensors.items() if not name.startswith("head.")})
    mean, variance = (draw.tensors[f"head.0.running_{name}"] for name in ("mean", "var"))
    weight, bias = tensors["head.weight"], tensors["head.bias"]
    found["head.1.weight"] = weight * np.sqrt(variance + 1e-6), "head.1.weight"
    found["head.1.bias"] = bias + weight @ mean, "head.1.bias"
    found["head.0.running_mean"] = mean, "head.0.running_mean"
    found["head.0.running_var"] = variance, "head.0.running_var"
    found["head.0.num_batches_tracked"] = draw.tensors["head.0.num_batches_tracked"], None
    return found


def finetuned_resnet(tensors: Tensors) -> Wrapped:
    """RIVAL10's classifiers: torchvision's children numbered 0 to 7, and a head."""
    children = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    found: Wrapped = {}
    for name, tensor in tensors.items():
        child, _, rest = name.partition(".")
        first = "classifier" if child == "fc" else f"feat_net.{children.index(child)}"
        found[f"{first}.{rest}"] = tensor, name
    return found


def finetuned_vit(tensors: Tensors) -> Wrapped:
    """RIVAL10's classifiers: timm's names, and every module again under another name."""
    children = {"patch_embed": "feat_net.0", "blocks": "feat_net.2", "norm": "feat_net.3"}
    found = bare(tensors)
    for name, tensor in tensors.items():
        child, _, rest = name.partition(".")
        again = {**children, "head": "classifier"}.get(child)
        if again:
            found[f"{again}.{rest}"] = tensor, name
    return found


def clip_archive(tensors: Tensors) -> Wrapped:
    """OpenAI's: products in float16, the text tower, and three numbers about the network."""
    draw = Draw()
    draw.linear("transformer.resblocks.0.mlp.c_fc", 6, 8)
    draw.norm("transformer.resblocks.0.ln_1", 6)
    draw.normal("token_embedding.weight", 11, 6)
    draw.normal("positional_embedding", 5, 6)
    draw.norm("ln_final", 6)
    draw.weight("text_projection", 6, 7)
    draw.normal("logit_scale")
    numbers = ("input_resolution", "context_length", "vocab_size")
    text = {**draw.tensors, **{name: np.array(8) for name in numbers}}
    found = bare({name: _half(name, tensor) for name, tensor in tensors.items()})
    return found | {name: (_half(name, tensor), None) for name, tensor in text.items()}


def _half(name: str, tensor: np.ndarray) -> np.ndarray:
    """Weights of products in float16; norms, embeddings and biases of convolutions are not."""
    products = r".*(conv\d\.weight|downsample\.0\.weight|proj(_weight|\.weight)?|c_fc\.weight)$"
    return tensor.astype(np.float16) if re.match(products, name) else tensor


_AUGREG = ("LayerNorm_0", "MultiHeadDotProductAttention_1", "LayerNorm_2", "MlpBlock_3")
_BIG_VISION = ("LayerNorm_0", "MultiHeadDotProductAttention_0", "LayerNorm_1", "MlpBlock_0")


def augreg(tensors: Tensors, prefix: str = "", heads: int = 3) -> Wrapped:
    """The .npz files of "How to train your ViT?"; older ones begin names with "opt/target/"."""
    found = _flax(tensors, _AUGREG, "Transformer/posembed_input/pos_embedding", heads)
    return {prefix + name: value for name, value in found.items()}


def augreg_opt(tensors: Tensors) -> Wrapped:
    return augreg(tensors, "opt/target/")


def big_vision(tensors: Tensors, heads: int = 3) -> Wrapped:
    """The .npz files of big_vision."""
    found = _flax(tensors, _BIG_VISION, "pos_embedding", heads)
    return {f"params/{name}": value for name, value in found.items()}


def big_vision_stacked(tensors: Tensors) -> Wrapped:
    """The same of a network that scans over its blocks: each kind of tensor of them in one."""
    found: Wrapped = {}
    stacks: dict[str, list[np.ndarray]] = {}
    for name, (tensor, known) in big_vision(tensors).items():
        stacked = re.sub(r"encoderblock_\d+", "encoderblock", name)
        if stacked == name:
            found[name] = tensor, known
        else:
            stacks.setdefault(stacked, []).append(tensor)
            found.setdefault(stacked, (tensor, known))
    return found | {name: (np.stack(stack), found[name][1]) for name, stack in stacks.items()}


def _flax(tensors: Tensors, parts: tuple[str, ...], positions: str, heads: int) -> Wrapped:
    norm1, attention, norm2, mlp = parts
    block = {"norm1": norm1, "norm2": norm2, "attn.proj": f"{attention}/out"}
    block |= {"attn.qkv": attention, "mlp.fc1": f"{mlp}/Dense_0", "mlp.fc2": f"{mlp}/Dense_1"}
    modules = {"patch_embed.proj": "embedding", "norm": "Transformer/encoder_norm", "head": "head"}
    modules |= {"pre_logits.fc": "pre_logits"}
    found: Wrapped = {}
    for name, tensor in tensors.items():
        if name in ("cls_token", "pos_embed"):
            found["cls" if name == "cls_token" else positions] = tensor, name
            continue
        module, _, leaf = name.rpartition(".")
        inside = re.match(r"blocks\.(\d+)\.(.+)", module)
        path = f"Transformer/encoderblock_{inside[1]}/{block[inside[2]]}" if inside else ""
        path = path or modules[module]
        if module.endswith("attn.qkv"):
            for part, third in zip(("query", "key", "value"), np.split(tensor, 3), strict=True):
                third = third.T.reshape(*third.shape[1:], heads, -1)
                found[f"{path}/{part}/{'kernel' if third.ndim == 3 else 'bias'}"] = third, name
        elif leaf == "weight" and tensor.ndim > 1:
            kernel = tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T
            if module.endswith("attn.proj"):
                kernel = kernel.reshape(heads, -1, len(tensor))
            found[f"{path}/kernel"] = kernel, name
        else:
            found[f"{path}/{'scale' if leaf == 'weight' else 'bias'}"] = tensor, name
    return found


WRAPPINGS: Mapping[str, Callable[[Tensors], Wrapped]] = {
    function.__name__: function
    for function in (
        bare, data_parallel, madry, simclr, dino_teacher, dino_student, msn, mae, mae_probe,
        finetuned_resnet, finetuned_vit, clip_archive, augreg, augreg_opt, big_vision,
        big_vision_stacked,
    )
}  # fmt: skip
