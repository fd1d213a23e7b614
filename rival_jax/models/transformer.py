"""The layers of vision transformers."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rival_jax.models.network import Tap, at_least_float32, shapes
from rival_jax.types import Array, Model

SMALL = nn.initializers.truncated_normal(0.02)
_TORCH_CONV = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class PatchEmbed(nn.Module):
    """Square patches, row by row, times a matrix: [b, h, w, 3] -> [b, n, width]."""

    width: int
    patch_size: int
    bias: bool = True

    @nn.compact
    def __call__(self, images: Array) -> Array:
        b, h, w, c = images.shape
        p = self.patch_size
        kernel = self.param("kernel", _TORCH_CONV, (p, p, c, self.width))
        # A strided convolution written as a product: as fast forward, and the gradient to the
        # pixels is a product too; XLA on a CPU is slow at the transposed convolution.
        patches = images.reshape(b, h // p, p, w // p, p, c).transpose(0, 1, 3, 2, 4, 5)
        tokens = patches.reshape(b, -1, p * p * c) @ kernel.reshape(-1, self.width)
        if not self.bias:
            return tokens
        return tokens + self.param("bias", nn.initializers.zeros, (self.width,))


def normed(kind: str, epsilon: float, name: str) -> nn.LayerNorm | nn.RMSNorm:
    """A norm of every token: "layer", or "rms" (no mean, no shift)."""
    return {"layer": nn.LayerNorm, "rms": nn.RMSNorm}[kind](epsilon=epsilon, name=name)


def probabilities(q: Array, k: Array) -> Array:
    """softmax(q k' / sqrt(d)) of [..., n, d] and [..., m, d], in the precision of k."""
    scores = (q * q.shape[-1] ** -0.5) @ k.swapaxes(-2, -1)
    return jax.nn.softmax(at_least_float32(scores)).astype(k.dtype)


def attend(of: Any, qkv: Array, tap: Tap, label: str, keep: int | None, every_row: bool) -> Array:
    """Attention of queries, keys and values [b, n, 3 width] by layers of the module `of`.

    A differential module's probabilities are one softmax less lambda times another, and its values
    are normalised (Ye et al. 2024).
    """
    b, n, width = *qkv.shape[:2], qkv.shape[2] // 3
    q, k, v = qkv.reshape(b, n, 3, of.heads, -1).transpose(2, 0, 3, 1, 4)
    if of.differential is not None:
        q, k = (z.reshape(*z.shape[:3], 2, -1).swapaxes(2, 3) for z in (q, k))
    if of.qk_norm:
        q, k = normed(of.norm, of.epsilon, "q_norm")(q), normed(of.norm, of.epsilon, "k_norm")(k)
    rows = None if every_row else keep
    attention = probabilities(q[..., :rows, :], k)
    if of.differential is None:
        attention = tap(f"{label}/attention", attention)
        x = attention[:, :, :keep] @ v
    else:
        first = 0.8 - 0.6 * math.exp(-0.3 * of.differential)
        factor, size = jnp.asarray(first, v.dtype), (q.shape[-1],)
        for sign, i in ((1, 1), (-1, 2)):
            pair = (
                of.param(f"lambda_{name}{i}", nn.initializers.normal(0.1), size) for name in "qk"
            )
            factor = factor + sign * jnp.exp(jnp.dot(*pair))
        attention = tap(f"{label}/attention", attention[:, :, 0] - factor * attention[:, :, 1])
        x = nn.RMSNorm(epsilon=1e-5, name="sub_norm")(attention[:, :, :keep] @ v) * (1 - first)
    return x.swapaxes(1, 2).reshape(b, -1, width)


class Attention(nn.Module):
    """Multi-head self-attention, (batch, heads, tokens, width), that exposes its probabilities."""

    heads: int
    qkv_bias: bool
    qk_norm: bool = False  # norms of the queries and keys of each head
    mixed_norm: bool = False  # a norm before the last product
    proj_bias: bool = True
    norm: str = "layer"
    epsilon: float = 1e-6  # of these norms
    differential: int | None = None  # the number of the block

    @nn.compact
    def __call__(
        self, x: Array, tap: Tap, label: str, keep: int | None = None, every_row: bool = True
    ) -> Array:
        width = x.shape[-1]
        qkv = nn.Dense(3 * width, use_bias=self.qkv_bias, kernel_init=SMALL, name="qkv")(x)
        x = attend(self, tap(f"{label}/qkv", qkv), tap, label, keep, every_row)
        if self.mixed_norm:
            x = normed(self.norm, self.epsilon, "norm")(x)
        return nn.Dense(width, use_bias=self.proj_bias, kernel_init=SMALL, name="proj")(x)


def qkv_tap(model: Model, block: int) -> tuple[str, int]:
    """The tap that holds a block's queries, keys and values, and the side of a patch in pixels.

    Args:
      block: from 0 up, or from -1 down, the last.

    Raises:
      ValueError: if the network has no attention, no such block, no such tap, or no grid of tokens.
    """
    blocks = model.attention_taps
    if not blocks:
        raise ValueError(f"{model.name} has no attention: name a ViT, such as dino/vitb16")
    if not -len(blocks) <= block < len(blocks):
        last = len(blocks) - 1
        raise ValueError(f"no {block}: {model.name} has blocks 0 to {last}; -1 is the last")
    name, image = blocks[block].replace("/attention", "/qkv"), (1, *model.image_size, 3)
    given = shapes(model.init), jax.ShapeDtypeStruct(image, jnp.float32)
    taps = jax.eval_shape(lambda v, x: model.forward(v, x, {})[1], *given)
    if name not in taps:
        raise ValueError(f"{model.name} does not show its keys: there is no tap {name}")
    grid = model.to_grid(jnp.zeros(taps[name].shape))  # raises if something is wrong with it
    return name, model.image_size[0] // grid.shape[1]


def exact_gelu(x: Array) -> Array:
    """x times the normal distribution function, by erf: a third of the time of jax's erfc form."""
    return 0.5 * x * (1 + jax.lax.erf(x * np.asarray(0.5**0.5, x.dtype)))


def quick_gelu(x: Array) -> Array:
    """x sigmoid(1.702 x), the approximation that CLIP was trained with."""
    return x * jax.nn.sigmoid(1.702 * x)


GELUS = {"exact": exact_gelu, "tanh": nn.gelu, "quick": quick_gelu, "silu": nn.silu}


class Mlp(nn.Module):
    """Two dense layers with a GELU between them.

    Gated, twice as many units are computed: the GELU of one half times the other half, from one
    product ("packed") or two ("split").
    """

    hidden: int
    gelu: str
    gated: str = ""  # | "packed" | "split"
    bias: bool = True
    norm: str = ""  # of the hidden units | "layer" | "rms"
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: Array, tap: Tap, label: str) -> Array:
        def dense(features: int, name: str) -> nn.Dense:
            return nn.Dense(features, use_bias=self.bias, kernel_init=SMALL, name=name)

        if self.gated == "split":
            gate, hidden = dense(self.hidden, "fc1_g")(x), dense(self.hidden, "fc1_x")(x)
            hidden = GELUS[self.gelu](gate) * hidden
        elif self.gated == "packed":
            gate, hidden = jnp.split(dense(2 * self.hidden, "fc1")(x), 2, axis=-1)
            hidden = GELUS[self.gelu](gate) * hidden
        else:
            hidden = GELUS[self.gelu](dense(self.hidden, "fc1")(x))
        hidden = tap(f"{label}/hidden", hidden)
        if self.norm:
            hidden = normed(self.norm, self.epsilon, "norm")(hidden)
        return dense(x.shape[-1], "fc2")(hidden)


class AttentionPool(nn.Module):
    """One query, learned, attends to all tokens; then x + mlp(norm(x)): [b, n, c] -> [b, 1, c]."""

    heads: int
    hidden: int
    gelu: str
    norm: str
    epsilon: float

    @nn.compact
    def __call__(self, x: Array, tap: Tap) -> Array:
        b, _, width = x.shape
        latent = self.param("latent", SMALL, (1, 1, width))
        q = nn.Dense(width, kernel_init=SMALL, name="q")(latent)
        k, v = jnp.split(nn.Dense(2 * width, kernel_init=SMALL, name="kv")(x), 2, axis=-1)
        q, k, v = (
            t.reshape(-1, t.shape[1], self.heads, t.shape[2] // self.heads) for t in (q, k, v)
        )
        q, k, v = (t.swapaxes(1, 2) for t in (q, k, v))
        attention = tap("pool/attention", probabilities(q, k))
        x = (attention @ v).swapaxes(1, 2).reshape(b, 1, width)
        x = nn.Dense(width, kernel_init=SMALL, name="proj")(x)
        y = normed(self.norm, self.epsilon, "norm")(x)
        return x + Mlp(self.hidden, self.gelu, name="mlp")(y, tap, "pool")


def _same(x: Array) -> Array:
    return x


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), each optionally scaled per channel.

    With `keep`, only that many first tokens are returned; they attend to all input tokens.
    `every_row`: compute the other tokens' probabilities too, to be shown.
    """

    heads: int
    hidden: int
    qkv_bias: bool
    layer_scale: bool
    gelu: str
    layer_norm_eps: float
    norm: str = "layer"
    qk_norm: bool = False
    inner_norms: tuple[bool, bool] = (False, False)  # before attention's and the MLP's last product
    gated: str = ""
    proj_bias: bool = True  # in all products but qkv
    norms_follow: bool = False  # attention and MLP, whose results are normalised
    differential: int | None = None  # the number of the block, if its attention is so

    @nn.compact
    def __call__(
        self, x: Array, tap: Tap, label: str, keep: int | None = None, every_row: bool = True
    ) -> Array:
        kind, epsilon = self.norm, self.layer_norm_eps
        attend = Attention(
            *(self.heads, self.qkv_bias, self.qk_norm, self.inner_norms[0], self.proj_bias),
            *(kind, epsilon, self.differential),
            name="attn",
        )
        mlp_norm = kind if self.inner_norms[1] else ""
        mlp = Mlp(self.hidden, self.gelu, self.gated, self.proj_bias, mlp_norm, epsilon, name="mlp")
        first, second = (normed(kind, epsilon, name) for name in ("norm1", "norm2"))
        before = [_same, _same] if self.norms_follow else [first, second]
        after = [first, second] if self.norms_follow else [_same, _same]
        y = attend(tap(f"{label}/norm1", before[0](x)), tap, label, keep, every_row)
        x = x[:, :keep] + self._scaled("ls1", after[0](y))
        y = mlp(tap(f"{label}/norm2", before[1](x)), tap, label)
        return x + self._scaled("ls2", after[1](y))

    def _scaled(self, name: str, y: Array) -> Array:
        return scaled(self, name, y) if self.layer_scale else y


def scaled(of: nn.Module, name: str, y: Array) -> Array:
    """Times a scale of each channel, of the module `of`."""
    return y * of.param(name, nn.initializers.constant(1e-5), (y.shape[-1],))
