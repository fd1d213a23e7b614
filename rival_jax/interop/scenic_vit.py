"""Scenic's vision transformer without a class token, which PyTorch's files do not have."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from rival_jax import models
from rival_jax.models import vit
from rival_jax.models.transformer import Block, PatchEmbed
from rival_jax.taps import Recorder
from rival_jax.types import Array, Model

convert, export, resized = vit.convert, vit.export, vit.resized
POOLS = {"gap": jnp.mean, "gmp": jnp.max, "gsp": jnp.sum}


class PooledViT(vit.ViT):
    """The head reads the mean, maximum or sum of all tokens, after the final norm.

    Taps as for `ViT`; "norm" holds the tokens that are pooled.
    """

    classifier: str = "gap"  # | "gmp" | "gsp"

    @property
    def prefix_tokens(self) -> int:
        """0: there are only patches."""
        return 0

    def _embed(self, images: Array) -> Array:
        patches = PatchEmbed(self.width, self.patch_size, name="patch_embed")(images)
        return patches + self._tokens("pos_embed", patches.shape[1])

    def _last(self, block: Block, x: Array, tap: Recorder) -> Array:
        x = block(x, tap, f"block{self.depth - 1}")
        tokens = tap("norm", nn.LayerNorm(epsilon=self.layer_norm_eps, name="norm")(x))
        return POOLS[self.classifier](tokens, axis=1, keepdims=True)


def config(model: Model) -> models.weights.Config:
    """Raises ValueError: `models.save` must not write what `models.load` cannot read."""
    raise ValueError(
        f"{model.name!r} has no class token, so it has no form as a model folder; "
        "keep it as Scenic's parameters, interop.scenic.to_scenic(model, variables)"
    )
