"""Vision transformers with timm's parameters and arithmetic: ViT, AugReg, DeiT, registers."""

from __future__ import annotations

import dataclasses
import logging
import math
import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rival_jax.models import conversion
from rival_jax.models.network import Initialiser, Network, Tap, at_least_float32, module_of
from rival_jax.types import Array, Model, Variables
from rival_jax.weights import Config

_log = logging.getLogger(__name__)

_SMALL = nn.initializers.truncated_normal(0.02)
_TORCH_CONV = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
_HEADS = {  # timm's size names: (width, heads)
    "tiny": (192, 3),
    "small": (384, 6),
    "medium": (512, 8),
    "base": (768, 12),
    "large": (1024, 16),
    "huge": (1280, 16),
    "giant": (1408, 16),
    "gigantic": (1664, 16),
    "so400m": (1152, 16),
}
_ACTIVATIONS = {"gelu": "exact", "gelu_tanh": "tanh"}
_RENAMED = {
    "patch_embed": "patch_embed.proj",
    "pre_logits": "pre_logits.fc",
    "ls1": "ls1.gamma",
    "ls2": "ls2.gamma",
}


class PatchEmbed(nn.Module):
    """Square patches, row by row, times a matrix: [b, h, w, 3] -> [b, n, width]."""

    width: int
    patch_size: int

    @nn.compact
    def __call__(self, images: Array) -> Array:
        b, h, w, c = images.shape
        p = self.patch_size
        kernel = self.param("kernel", _TORCH_CONV, (p, p, c, self.width))
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        # A strided convolution written as a product: its gradients are products too, which XLA
        # does several times faster on a CPU than a transposed convolution.
        patches = images.reshape(b, h // p, p, w // p, p, c).transpose(0, 1, 3, 2, 4, 5)
        return patches.reshape(b, -1, p * p * c) @ kernel.reshape(-1, self.width) + bias


class Attention(nn.Module):
    """Multi-head self-attention, (batch, heads, tokens, width), that shows its probabilities."""

    heads: int
    qkv_bias: bool

    @nn.compact
    def __call__(self, x: Array, tap: Tap, name: str) -> Array:
        b, n, width = x.shape
        qkv = nn.Dense(3 * width, use_bias=self.qkv_bias, kernel_init=_SMALL, name="qkv")(x)
        q, k, v = qkv.reshape(b, n, 3, self.heads, -1).transpose(2, 0, 3, 1, 4)
        scores = q * q.shape[-1] ** -0.5 @ k.swapaxes(-2, -1)
        attention = jax.nn.softmax(at_least_float32(scores)).astype(v.dtype)
        attention = tap(name, attention)
        x = (attention @ v).swapaxes(1, 2).reshape(b, n, width)
        return nn.Dense(width, kernel_init=_SMALL, name="proj")(x)


class Mlp(nn.Module):
    """Two dense layers with a GELU between them."""

    hidden: int
    gelu: str

    @nn.compact
    def __call__(self, x: Array) -> Array:
        hidden = nn.Dense(self.hidden, kernel_init=_SMALL, name="fc1")(x)
        hidden = nn.gelu(hidden, approximate=self.gelu == "tanh")
        return nn.Dense(x.shape[-1], kernel_init=_SMALL, name="fc2")(hidden)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), each optionally scaled per channel."""

    heads: int
    hidden: int
    qkv_bias: bool
    layer_scale: bool
    gelu: str
    layer_norm_eps: float

    @nn.compact
    def __call__(self, x: Array, tap: Tap, name: str) -> Array:
        y = tap(f"{name}/norm1", nn.LayerNorm(self.layer_norm_eps, name="norm1")(x))
        y = Attention(self.heads, self.qkv_bias, name="attn")(y, tap, f"{name}/attention")
        x = x + self._scaled("ls1", y)
        y = nn.LayerNorm(self.layer_norm_eps, name="norm2")(x)
        y = Mlp(self.hidden, self.gelu, name="mlp")(y)
        return x + self._scaled("ls2", y)

    def _scaled(self, name: str, y: Array) -> Array:
        if not self.layer_scale:
            return y
        return y * self.param(name, nn.initializers.constant(1e-5), (y.shape[-1],))


class ViT(nn.Module):
    """A vision transformer; the fields are its architecture.

    Taps: "block{i}/norm1" [b, n, width], "block{i}/attention" [b, heads, n, n] after the softmax,
    "norm" [b, n, width], the tokens after the final norm (`pool="avg"`: after the last block,
    since there the norm comes after the average), and "features" [b, f], the input of the head.
    A distilled network has two heads, on the class and the distillation token: its features are
    both tokens side by side (f = 2 width) and its logits the mean of the two heads'.
    """

    num_classes: int  # 0: no head, the logits are the features
    image_size: tuple[int, int]  # height, width: multiples of the patch size
    patch_size: int = 16
    width: int = 192
    depth: int = 12
    heads: int = 3
    mlp_ratio: float = 4.0
    pool: str = "token"  # | "avg": mean of the patch tokens
    distilled: bool = False
    register_tokens: int = 0  # extra tokens after the class token
    no_embed_class: bool = False  # positions are added to the patch tokens only
    qkv_bias: bool = True
    layer_scale: bool = False
    gelu: str = "exact"  # | "tanh"
    layer_norm_eps: float = 1e-6
    representation_size: int = 0  # width of a dense tanh layer before the head, 0: none

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def prefix_tokens(self) -> int:
        """Tokens before the patches: class, distillation, registers."""
        return 1 + self.distilled + self.register_tokens

    @nn.compact
    def __call__(self, images: Array, tap: Tap) -> Array:
        if images.shape[1:3] != self.image_size:
            h, w = self.image_size
            raise ValueError(f"images: got {images.shape}, expected [b, {h}, {w}, 3]")
        x = self._embed(images)
        for i in range(self.depth):
            block = Block(
                self.heads,
                round(self.width * self.mlp_ratio),
                self.qkv_bias,
                self.layer_scale,
                self.gelu,
                self.layer_norm_eps,
                name=f"blocks_{i}",
            )
            x = block(x, tap, f"block{i}")
        return self._head(x, tap)

    def _embed(self, images: Array) -> Array:
        patches = PatchEmbed(self.width, self.patch_size, name="patch_embed")(images)
        lengths = {"cls_token": 1, "dist_token": self.distilled, "reg_token": self.register_tokens}
        prefix = [self._tokens(name, n) for name, n in lengths.items() if n]
        rows, columns = self.grid
        positions = rows * columns + (0 if self.no_embed_class else self.prefix_tokens)
        positions = self._tokens("pos_embed", positions)
        prefix = jnp.tile(jnp.concatenate(prefix, axis=1), (len(patches), 1, 1))
        if self.no_embed_class:
            return jnp.concatenate([prefix, patches + positions], axis=1)
        return jnp.concatenate([prefix, patches], axis=1) + positions

    def _tokens(self, name: str, length: int) -> Array:
        return self.param(name, _SMALL, (1, int(length), self.width))

    def _head(self, x: Array, tap: Tap) -> Array:
        precision = x.dtype
        norm = nn.LayerNorm(self.layer_norm_eps, name="fc_norm" if self.pool == "avg" else "norm")
        if self.pool == "avg":
            features = norm(tap("norm", x)[:, self.prefix_tokens :].mean(axis=1))
        else:
            x = tap("norm", norm(x))
            features = x[:, :2].reshape(len(x), -1) if self.distilled else x[:, 0]
        if self.representation_size:
            features = nn.Dense(self.representation_size, kernel_init=_SMALL, name="pre_logits")(
                features
            )
            features = jnp.tanh(features)
        features = tap("features", at_least_float32(features))
        if not self.num_classes:
            return features
        head = nn.Dense(self.num_classes, kernel_init=_SMALL, name="head")
        if not self.distilled:
            return head(features.astype(precision))
        on_class, on_distillation = jnp.split(features.astype(precision), 2, axis=1)
        head_dist = nn.Dense(self.num_classes, kernel_init=_SMALL, name="head_dist")
        return (head(on_class) + head_dist(on_distillation)) / 2


@dataclasses.dataclass(frozen=True)
class ToGrid:
    """Tokens [b, n, c] to the grid of patches [b, rows, columns, c], without the prefix tokens."""

    prefix_tokens: int
    grid: tuple[int, int]

    def __call__(self, tokens: Array) -> Array:
        """Raises ValueError unless there is one token for each patch and prefix."""
        rows, columns = self.grid
        expected = self.prefix_tokens + rows * columns
        if tokens.ndim != 3 or tokens.shape[1] != expected:
            raise ValueError(f"tokens: got {tokens.shape}, expected [b, {expected}, c]")
        return tokens[:, self.prefix_tokens :].reshape(len(tokens), rows, columns, -1)


def build(
    *,
    name: str,
    image_size: tuple[int, int],
    mean: tuple[float, ...] = (0.0, 0.0, 0.0),
    std: tuple[float, ...] = (1.0, 1.0, 1.0),
    interpolation: str = "bilinear",
    crop_pct: float = 1.0,
    **architecture: Any,
) -> Model:
    """A vision transformer.

    Args:
      name: what tables call it.
      image_size: height and width in pixels.
      mean, std: of each channel; the network normalises its own input.
      interpolation, crop_pct: how photos are resized for it, see `types.Geometry`.
      **architecture: the fields of `ViT`; `num_classes` has no default.

    Raises:
      ValueError: the parts do not fit each other.
    """
    module = ViT(image_size=image_size, **architecture)
    _check(module)
    return Model(
        name=name,
        forward=Network(module, mean, std),
        init=Initialiser(module, image_size),
        num_classes=module.num_classes,
        cam_tap=f"block{module.depth - 1}/norm1",
        attention_taps=tuple(f"block{i}/attention" for i in range(module.depth)),
        to_grid=ToGrid(module.prefix_tokens, module.grid),
        image_size=image_size,
        mean=mean,
        std=std,
        interpolation=interpolation,
        crop_pct=crop_pct,
    )


def _check(module: ViT) -> None:
    height, width = module.image_size
    if height % module.patch_size or width % module.patch_size:
        raise ValueError(f"image size {height}x{width} is no multiple of patch {module.patch_size}")
    if module.width % module.heads:
        raise ValueError(f"width {module.width} is no multiple of {module.heads} heads")
    for field, known in (("pool", ("token", "avg")), ("gelu", ("exact", "tanh"))):
        if getattr(module, field) not in known:
            raise ValueError(f"{field}={getattr(module, field)!r}; expected one of {known}")
    if module.distilled and (module.pool == "avg" or module.representation_size):
        raise ValueError("a distilled network has neither pool='avg' nor a representation layer")


def recognises(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether a checkpoint's tensors are those of a vision transformer with timm's names."""
    return {"patch_embed.proj.weight", "pos_embed", "blocks.0.norm1.weight"} <= tensors.keys()


def infer(tensors: Mapping[str, np.ndarray], config: Config) -> dict[str, Any]:
    """The keywords of `build`, except `name`, that fit a checkpoint.

    Everything comes from the tensors' shapes but the number of heads (from `model_args`, else
    timm's architecture name, else width / 64, which is logged), the kind of GELU, and an image
    that is not square.

    Raises:
      ValueError: the number of positions does not fit the image size, or an unknown setting.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    width, patch_size = shapes["pos_embed"][-1], shapes["patch_embed.proj.weight"][-1]
    blocks = {match[1] for name in shapes if (match := re.match(r"blocks\.(\d+)\.", name))}
    distilled = "dist_token" in shapes
    register_tokens = shapes["reg_token"][1] if "reg_token" in shapes else 0
    prefix_tokens = 1 + distilled + register_tokens
    image_size, no_embed_class = _positions(
        shapes["pos_embed"][1], patch_size, prefix_tokens, config.image_size
    )
    pool = "avg" if "fc_norm.weight" in shapes else "token"
    activation = config.model_args.get("act_layer") or "gelu"
    if activation not in _ACTIVATIONS:
        raise ValueError(f"act_layer {activation!r} is not one of {', '.join(_ACTIVATIONS)}")
    return {
        "num_classes": conversion.classes(config.num_classes, tensors.get("head.weight")),
        "image_size": image_size,
        "patch_size": patch_size,
        "width": width,
        "depth": len(blocks),
        "heads": _heads(config, width),
        "mlp_ratio": shapes["blocks.0.mlp.fc1.weight"][0] / width,
        "pool": config.global_pool or pool,
        "distilled": distilled,
        "register_tokens": register_tokens,
        "no_embed_class": no_embed_class,
        "qkv_bias": "blocks.0.attn.qkv.bias" in shapes,
        "layer_scale": "blocks.0.ls1.gamma" in shapes,
        "gelu": _ACTIVATIONS[activation],
        "layer_norm_eps": config.model_args.get("norm_eps", 1e-6),
        "representation_size": shapes.get("pre_logits.fc.weight", (0,))[0],
        "mean": config.mean,
        "std": config.std,
        "interpolation": config.interpolation,
        "crop_pct": config.crop_pct,
    }


def _positions(
    positions: int, patch_size: int, prefix_tokens: int, image_size: tuple[int, int] | None
) -> tuple[tuple[int, int], bool]:
    """The image size, and whether only the patches have positions."""
    if image_size is None:
        for patches in (positions - prefix_tokens, positions):
            side = math.isqrt(patches)
            if side * side == patches:
                return (side * patch_size, side * patch_size), patches == positions
        raise ValueError(f"pos_embed has {positions} positions, no square; give input_size")
    h, w = image_size
    patches = (h // patch_size) * (w // patch_size)
    if positions not in (patches, patches + prefix_tokens):
        raise ValueError(
            f"pos_embed has {positions} positions, but a {h}x{w} image in patches of {patch_size} "
            f"has {patches} patches and {prefix_tokens} more tokens; set input_size in "
            "config.json to the size the weights were trained at"
        )
    return image_size, positions == patches


def _heads(config: Config, width: int) -> int:
    if "num_heads" in config.model_args:
        return config.model_args["num_heads"]
    size = re.match(r"(?:vit|deit3?)_([a-z0-9]+)_", config.architecture or "")
    known_width, heads = _HEADS.get(size[1] if size else "", (0, 0))
    if known_width == width:
        return heads
    heads = max(1, width // 64)
    _log.warning(
        "architecture %r with width %d does not say its number of heads; taking %d; "
        "if that is wrong set model_args.num_heads in config.json",
        config.architecture,
        width,
        heads,
    )
    return heads


def convert(tensors: Mapping[str, np.ndarray], model: Model) -> Variables:
    """A checkpoint's tensors as variables; raises ValueError if they do not fit."""
    return conversion.to_variables(tensors, conversion.torch_rules(model.init, _RENAMED))


def export(variables: Variables, model: Model) -> dict[str, np.ndarray]:
    """The inverse of `convert`: tensors under timm's names."""
    return conversion.to_tensors(variables, conversion.torch_rules(model.init, _RENAMED))


def config(model: Model) -> Config:
    """The configuration from which, with the tensors, `infer` finds the network again."""
    module = module_of(model)
    return Config(
        architecture="vit",
        num_classes=model.num_classes,
        global_pool=module.pool,
        model_args={
            "num_heads": module.heads,
            "act_layer": {gelu: layer for layer, gelu in _ACTIVATIONS.items()}[module.gelu],
            "norm_eps": module.layer_norm_eps,
        },
        image_size=model.image_size,
        mean=model.mean,
        std=model.std,
        interpolation=model.interpolation,
        crop_pct=model.crop_pct,
    )
