"""A transformer's block whose attention and MLP read the same norm (Dehghani et al. 2023)."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from rival_jax.models.network import Tap
from rival_jax.models.transformer import GELUS, SMALL, attend, normed, scaled
from rival_jax.types import Array


class ParallelBlock(nn.Module):
    """x + attention(norm(x)) + mlp(norm(x)), called like `transformer.Block`, with its fields."""

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
