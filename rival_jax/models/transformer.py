"""The layers of a pre-norm vision transformer."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import noise
from rival_jax.models.network import Tap, at_least_float32
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


class Attention(nn.Module):
    """Multi-head self-attention, (batch, heads, tokens, width), that exposes its probabilities."""

    heads: int
    qkv_bias: bool

    @nn.compact
    def __call__(
        self, x: Array, tap: Tap, label: str, keep: int | None = None, every_row: bool = True
    ) -> Array:
        b, n, width = x.shape
        qkv = nn.Dense(3 * width, use_bias=self.qkv_bias, kernel_init=SMALL, name="qkv")(x)
        qkv = tap(f"{label}/qkv", qkv)
        q, k, v = qkv.reshape(b, n, 3, self.heads, -1).transpose(2, 0, 3, 1, 4)
        rows = None if every_row else keep
        scores = (q[:, :, :rows] * q.shape[-1] ** -0.5) @ k.swapaxes(-2, -1)
        attention = jax.nn.softmax(at_least_float32(scores)).astype(v.dtype)
        attention = tap(f"{label}/attention", attention)
        x = (attention[:, :, :keep] @ v).swapaxes(1, 2).reshape(b, -1, width)
        return nn.Dense(width, kernel_init=SMALL, name="proj")(x)


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
    given = jax.eval_shape(model.init, noise.key(0)), jax.ShapeDtypeStruct(image, jnp.float32)
    shapes = jax.eval_shape(lambda v, x: model.forward(v, x, {})[1], *given)
    if name not in shapes:
        raise ValueError(f"{model.name} does not show its keys: there is no tap {name}")
    grid = model.to_grid(jnp.zeros(shapes[name].shape))  # raises if something is wrong with it
    return name, model.image_size[0] // grid.shape[1]


def exact_gelu(x: Array) -> Array:
    """x times the normal distribution function, by erf: a third of the time of jax's erfc form."""
    return 0.5 * x * (1 + jax.lax.erf(x * np.asarray(0.5**0.5, x.dtype)))


def quick_gelu(x: Array) -> Array:
    """x sigmoid(1.702 x), the approximation that CLIP was trained with."""
    return x * jax.nn.sigmoid(1.702 * x)


GELUS = {"exact": exact_gelu, "tanh": nn.gelu, "quick": quick_gelu}


class Mlp(nn.Module):
    """Two dense layers with a GELU between them."""

    hidden: int
    gelu: str

    @nn.compact
    def __call__(self, x: Array, tap: Tap, label: str) -> Array:
        hidden = nn.Dense(self.hidden, kernel_init=SMALL, name="fc1")(x)
        hidden = tap(f"{label}/hidden", GELUS[self.gelu](hidden))
        return nn.Dense(x.shape[-1], kernel_init=SMALL, name="fc2")(hidden)


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

    @nn.compact
    def __call__(
        self, x: Array, tap: Tap, label: str, keep: int | None = None, every_row: bool = True
    ) -> Array:
        y = tap(f"{label}/norm1", nn.LayerNorm(epsilon=self.layer_norm_eps, name="norm1")(x))
        y = Attention(self.heads, self.qkv_bias, name="attn")(y, tap, label, keep, every_row)
        x = x[:, :keep] + self._scaled("ls1", y)
        y = tap(f"{label}/norm2", nn.LayerNorm(epsilon=self.layer_norm_eps, name="norm2")(x))
        y = Mlp(self.hidden, self.gelu, name="mlp")(y, tap, label)
        return x + self._scaled("ls2", y)

    def _scaled(self, name: str, y: Array) -> Array:
        if not self.layer_scale:
            return y
        return y * self.param(name, nn.initializers.constant(1e-5), (y.shape[-1],))
