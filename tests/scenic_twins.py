"""Networks with the fields, parameter names and arithmetic of Scenic's, written for the tests."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

SMALL_VIT = {"num_classes": 5, "hidden_size": 12, "num_layers": 2, "num_heads": 3, "mlp_dim": 20}
SMALL_VIT |= {"patches": {"size": (4, 4)}}
SMALL_CLIP = {"embed_dim": 6, "vocab_size": 7, "text_features": 8, "text_num_layers": 1}
SMALL_CLIP |= {"text_num_heads": 2}


def drawn(shapes: Any, seed: int = 0) -> Any:
    """Every leaf at random, so that no bias, scale or running statistic is trivially 0 or 1."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        values = rng.normal(size=leaf.shape) / math.sqrt(max(1, math.prod(leaf.shape[:-1])))
        positive = path[-1].key in ("var", "scale")
        return np.asarray(np.exp(values / 2) if positive else values, np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def variables_of(module: nn.Module, image_size: tuple[int, int], seed: int = 0, **others) -> Any:
    images = jnp.zeros((1, *image_size, 3))
    shapes = jax.eval_shape(lambda key: module.init(key, images, **others), jax.random.key(0))
    return drawn(shapes, seed)


class MlpBlock(nn.Module):
    mlp_dim: int

    @nn.compact
    def __call__(self, x):
        hidden = nn.gelu(nn.Dense(self.mlp_dim)(x))
        return nn.Dense(x.shape[-1])(hidden)


class Encoder1DBlock(nn.Module):
    mlp_dim: int
    num_heads: int

    @nn.compact
    def __call__(self, x):
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(self.num_heads)(y, y)
        return x + MlpBlock(self.mlp_dim)(nn.LayerNorm()(x))


class AddPositionEmbs(nn.Module):
    @nn.compact
    def __call__(self, x):
        shape = (1, *x.shape[1:])
        return x + self.param("pos_embedding", nn.initializers.normal(0.02), shape)


class Encoder(nn.Module):
    num_layers: int
    mlp_dim: int
    num_heads: int
    positional_embedding: str

    @nn.compact
    def __call__(self, x):
        if self.positional_embedding == "learned_1d":
            x = AddPositionEmbs(name="posembed_input")(x)
        for i in range(self.num_layers):
            x = Encoder1DBlock(self.mlp_dim, self.num_heads, name=f"encoderblock_{i}")(x)
        return nn.LayerNorm(name="encoder_norm")(x)


class MAPHead(nn.Module):
    mlp_dim: int
    num_heads: int

    @nn.compact
    def __call__(self, x):
        probe = self.param("probe", nn.initializers.normal(1.0), (1, 1, x.shape[-1]))
        probe = jnp.tile(probe, (len(x), 1, 1))
        x = nn.MultiHeadDotProductAttention(self.num_heads)(probe, x)
        return (x + MlpBlock(self.mlp_dim)(nn.LayerNorm()(x)))[:, 0]


class ViT(nn.Module):
    num_classes: int
    mlp_dim: int
    num_layers: int
    num_heads: int
    patches: Any
    hidden_size: int
    positional_embedding: str = "learned_1d"
    representation_size: int | None = None
    classifier: str = "gap"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        size = tuple(self.patches["size"])
        x = nn.Conv(self.hidden_size, size, size, "VALID", name="embedding")(x)
        x = x.reshape(len(x), -1, self.hidden_size)
        if self.classifier == "token":
            cls = self.param("cls", nn.initializers.zeros, (1, 1, self.hidden_size))
            x = jnp.concatenate([jnp.tile(cls, (len(x), 1, 1)), x], axis=1)
        fields = (self.num_layers, self.mlp_dim, self.num_heads, self.positional_embedding)
        x = Encoder(*fields, name="Transformer")(x)
        if self.classifier == "token":
            x = x[:, 0]
        elif self.classifier == "map":
            x = MAPHead(self.mlp_dim, self.num_heads)(x)
        else:
            x = {"gap": jnp.mean, "gmp": jnp.max, "gsp": jnp.sum}[self.classifier](x, axis=1)
        if self.representation_size is not None:
            x = jnp.tanh(nn.Dense(self.representation_size, name="pre_logits")(x))
        return nn.Dense(self.num_classes, name="output_projection")(x)


def _conv(features: int, size: int, stride: int, name: str) -> nn.Conv:
    pad = [(size // 2, size // 2)] * 2
    return nn.Conv(features, (size, size), (stride, stride), padding=pad, use_bias=False, name=name)


def _norm(name: str) -> nn.BatchNorm:
    return nn.BatchNorm(use_running_average=True, name=name)


class ResidualBlock(nn.Module):
    filters: int
    stride: int
    bottleneck: bool

    @nn.compact
    def __call__(self, x):
        inner, outer = self.filters, self.filters * (4 if self.bottleneck else 1)
        y = x
        if self.bottleneck:
            y = nn.relu(_norm("bn1")(_conv(inner, 1, 1, "conv1")(y)))
        y = nn.relu(_norm("bn2")(_conv(inner, 3, self.stride, "conv2")(y)))
        y = _norm("bn3")(_conv(outer, 1 if self.bottleneck else 3, 1, "conv3")(y))
        if x.shape[-1] != self.filters * 4 or self.stride != 1:  # so always in a small block
            x = _norm("proj_bn")(_conv(outer, 1, self.stride, "proj_conv")(x))
        return nn.relu(x + y)


class ResNet(nn.Module):
    num_outputs: int
    num_filters: int = 64
    num_layers: int = 50
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool = False):
        depths, bottleneck = {8: ((2, 1), False), 11: ((2, 1), True)}[
            self.num_layers
        ]  # not Scenic's
        x = nn.relu(_norm("init_bn")(_conv(self.num_filters, 7, 2, "stem_conv")(x)))
        x = nn.max_pool(x, (3, 3), (2, 2), [(1, 1), (1, 1)])
        for stage, depth in enumerate(depths):
            for i in range(depth):
                filters, stride = self.num_filters * 2**stage, 2 if stage and not i else 1
                x = ResidualBlock(filters, stride, bottleneck)(x)
        return nn.Dense(self.num_outputs, name="output_projection")(x.mean(axis=(1, 2)))


class ClipMlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        hidden = nn.Dense(4 * x.shape[-1], name="c_fc")(x)
        return nn.Dense(x.shape[-1], name="c_proj")(hidden * nn.sigmoid(1.702 * hidden))


class ResidualAttentionBlock(nn.Module):
    num_heads: int

    @nn.compact
    def __call__(self, x):
        y = nn.LayerNorm(1e-5, name="ln_1")(x)
        x = x + nn.MultiHeadDotProductAttention(self.num_heads, name="attn")(inputs_q=y)
        return x + ClipMlp(name="mlp")(nn.LayerNorm(1e-5, name="ln_2")(x))


class Transformer(nn.Module):
    num_layers: int
    num_heads: int

    @nn.compact
    def __call__(self, x):
        for i in range(self.num_layers):
            x = ResidualAttentionBlock(self.num_heads, name=f"resblocks.{i}")(x)
        return x


class VisionTransformer(nn.Module):
    patch_size: int
    features: int
    num_layers: int
    num_heads: int
    out_features: int

    @nn.compact
    def __call__(self, x):
        size, normal = (self.patch_size,) * 2, nn.initializers.normal(0.1)
        x = nn.Conv(self.features, size, size, use_bias=False, name="conv1")(x)
        x = x.reshape(len(x), -1, self.features)
        cls = self.param("class_embedding", normal, (self.features,))
        x = jnp.concatenate([jnp.tile(cls, (len(x), 1, 1)), x], axis=1)
        x = x + self.param("positional_embedding", normal, x.shape[1:])
        x = nn.LayerNorm(1e-5, name="ln_pre")(x)
        x = features = Transformer(self.num_layers, self.num_heads, name="transformer")(x)
        x = nn.LayerNorm(1e-5, name="ln_post")(x[:, 0])
        return nn.Dense(self.out_features, use_bias=False, name="proj")(x), features


class Shortcut(nn.Module):
    features: int
    stride: int

    @nn.compact
    def __call__(self, x):
        x = nn.avg_pool(x, (self.stride,) * 2, (self.stride,) * 2)
        return _norm("1")(_conv(self.features, 1, 1, "0")(x))


class ClipBottleneck(nn.Module):
    features: int
    stride: int

    @nn.compact
    def __call__(self, x):
        y = x
        for i, size in ((1, 1), (2, 3)):
            y = nn.relu(_norm(f"bn{i}")(_conv(self.features, size, 1, f"conv{i}")(y)))
        y = nn.avg_pool(y, (self.stride,) * 2, (self.stride,) * 2)
        y = _norm("bn3")(_conv(4 * self.features, 1, 1, "conv3")(y))
        if self.stride > 1 or x.shape[-1] != y.shape[-1]:
            x = Shortcut(4 * self.features, self.stride, name="downsample")(x)
        return nn.relu(x + y)


class ResNetStage(nn.Module):
    features: int
    num_layers: int
    stride: int

    @nn.compact
    def __call__(self, x):
        for i in range(self.num_layers):
            x = ClipBottleneck(self.features, 1 if i else self.stride, name=str(i))(x)
        return x


class AttentionPool(nn.Module):
    num_heads: int
    features: int

    @nn.compact
    def __call__(self, x):
        x = x.reshape(len(x), -1, x.shape[-1])
        x = jnp.concatenate([x.mean(axis=1, keepdims=True), x], axis=1)
        x = x + self.param("positional_embedding", nn.initializers.normal(0.1), x.shape[1:])
        attention = nn.MultiHeadDotProductAttention(
            self.num_heads, out_features=self.features, name="attn"
        )
        return attention(x[:, :1], x)[:, 0]


class ModifiedResNet(nn.Module):
    features: int
    out_features: int
    num_layers: tuple[int, ...]
    num_heads: int

    @nn.compact
    def __call__(self, x):
        half = self.features // 2
        for i, (features, stride) in enumerate(((half, 2), (half, 1), (self.features, 1)), 1):
            x = nn.relu(_norm(f"bn{i}")(_conv(features, 3, stride, f"conv{i}")(x)))
        x = nn.avg_pool(x, (2, 2), (2, 2))
        for i, depth in enumerate(self.num_layers):
            stride = 2 if i else 1
            x = ResNetStage(self.features * 2**i, depth, stride, name=f"layer{i + 1}")(x)
        return AttentionPool(self.num_heads, self.out_features, name="attnpool")(x), x


class TextEncoder(nn.Module):
    vocab_size: int
    features: int

    @nn.compact
    def __call__(self, text):
        return nn.Embed(self.vocab_size, self.features, name="token_embedding")(text).mean(axis=1)


class CLIP(nn.Module):
    vocab_size: int
    embed_dim: int
    text_features: int
    text_num_layers: int
    text_num_heads: int
    vision_features: int
    vision_num_layers: Any
    vision_head_dim: int = 64
    vision_patch_size: int | None = None

    def setup(self):
        width, depth, heads = self.vision_features, self.vision_num_layers, self.vision_head_dim
        if isinstance(depth, tuple):
            self.visual = ModifiedResNet(width, self.embed_dim, depth, 32 * width // heads)
        else:
            heads = width // heads
            arguments = (self.vision_patch_size, width, depth, heads, self.embed_dim)
            self.visual = VisionTransformer(*arguments)
        self.text = TextEncoder(self.vocab_size, self.text_features)
        self.logit_scale = self.param("logit_scale", nn.initializers.zeros, ())

    def encode_image(self, image, normalize: bool = True):
        features = self.visual(image)[0]
        return (
            features / jnp.linalg.norm(features, axis=-1, keepdims=True) if normalize else features
        )

    def __call__(self, image, text):
        return self.encode_image(image), self.text(text)
