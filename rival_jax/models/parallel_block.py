"""Blocks of transformers that compute side by side what others compute one after the other."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from rival_jax.models.network import Tap
from rival_jax.models.transformer import GELUS, SMALL, attend, normed, scaled
from rival_jax.types import Array


class ParallelBlock(nn.Module):
    """x + attention(norm(x)) + mlp(norm(x)), called like `transformer.Block`, with its fields.

    Both read the same norm (Dehghani et al. 2023).
    """

    heads: int
    hidden: int
    qkv_bias: bool
    layer_scale: bool
    gelu: str
    epsilon: float
    norm: str = "layer"
    qk_norm: bool = False
    inner_norms: tuple[bool, bool] = (False, False)  # these two: not in this block
    gated: str = ""
    proj_bias: bool = True
    norms_follow: bool = False  # not in this block
    differential: int | None = None

    @nn.compact
    def __call__(
        self, x: Array, tap: Tap, label: str, keep: int | None = None, every_row: bool = True
    ) -> Array:
        def dense(features: int, name: str, bias: bool = self.proj_bias) -> nn.Dense:
            return nn.Dense(features, use_bias=bias, kernel_init=SMALL, name=name)

        width = x.shape[-1]
        y = tap(f"{label}/norm1", normed(self.norm, self.epsilon, "in_norm")(x))
        y = dense(self.hidden + 3 * width, "in_proj", self.qkv_bias)(y)
        hidden, qkv = jnp.split(y, [self.hidden], axis=-1)
        if not self.qkv_bias:
            hidden = hidden + self.param("mlp_bias", nn.initializers.zeros, (self.hidden,))
        hidden = tap(f"{label}/hidden", GELUS[self.gelu](hidden))[:, :keep]
        mixed = attend(self, tap(f"{label}/qkv", qkv), tap, label, keep, every_row)
        if self.differential is not None:
            y = dense(width, "out_proj")(jnp.concatenate([mixed, hidden], axis=-1))
        else:
            y = dense(width, "attn_out_proj")(mixed) + dense(width, "mlp_out_proj")(hidden)
        return x[:, :keep] + (scaled(self, "ls", y) if self.layer_scale else y)


class SideBySide(nn.Module):
    """x + the sum of several attentions, then + that of several MLPs, each of its own norm of x.

    Called like `transformer.Block`, with its fields (Touvron et al. 2022, "Three things"). In its
    taps the attentions' heads, and all channels, are side by side: norm1 is [b, n, branches width].
    """

    heads: int  # of all attentions together
    hidden: int
    qkv_bias: bool
    layer_scale: bool
    gelu: str
    epsilon: float
    norm: str = "layer"
    qk_norm: bool = False  # these three: not in this block
    inner_norms: tuple[bool, bool] = (False, False)
    gated: str = ""
    proj_bias: bool = True
    norms_follow: bool = False  # not in this block
    differential: int | None = None  # nor this
    branches: int = 2

    @nn.compact
    def __call__(
        self, x: Array, tap: Tap, label: str, keep: int | None = None, every_row: bool = True
    ) -> Array:
        width, n = x.shape[-1], self.branches

        def joined(parts: list[Array], split: int = 1) -> Array:
            """Side by side; each of the parts' `split` pieces by itself."""
            pieces = zip(*(jnp.split(part, split, axis=-1) for part in parts), strict=True)
            return jnp.concatenate([piece for pair in pieces for piece in pair], axis=-1)

        def norms(kind: str, name: str) -> list[Array]:
            layers = [normed(self.norm, self.epsilon, f"{kind}_{i}__norm") for i in range(n)]
            return jnp.split(tap(f"{label}/{name}", joined([f(x) for f in layers])), n, axis=-1)

        def products(kind: str, layer: str, inputs: list[Array], size: int) -> list[Array]:
            bias = self.qkv_bias if layer == "attn__qkv" else self.proj_bias
            names = [f"{kind}_{i}__{layer}" for i in range(n)]
            return [
                nn.Dense(size, use_bias=bias, kernel_init=SMALL, name=name)(y)
                for name, y in zip(names, inputs, strict=True)
            ]

        def total(kind: str, layer: str, inputs: Array) -> Array:
            found = products(kind, layer, jnp.split(inputs, n, axis=-1), width)
            if self.layer_scale:
                found = [scaled(self, f"{kind}_{i}__ls", y) for i, y in enumerate(found)]
            return sum(found[1:], found[0])

        qkv = joined(products("attns", "attn__qkv", norms("attns", "norm1"), 3 * width), split=3)
        y = attend(self, tap(f"{label}/qkv", qkv), tap, label, keep, every_row)
        x = x[:, :keep] + total("attns", "attn__proj", y)
        hidden = joined(products("ffns", "mlp__fc1", norms("ffns", "norm2"), self.hidden))
        hidden = tap(f"{label}/hidden", GELUS[self.gelu](hidden))
        return x + total("ffns", "mlp__fc2", hidden)
