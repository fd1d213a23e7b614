"""Vision transformers with timm's parameters and arithmetic: ViT, AugReg, DeiT, registers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from rival_jax.models import conversion
from rival_jax.models.network import INPUT, as_model, at_least_float32, input_keywords, module_of
from rival_jax.models.positions import resample
from rival_jax.models.transformer import GELUS, SMALL, Block, PatchEmbed
from rival_jax.models.vit_config import UNTOLD, config, infer
from rival_jax.taps import Recorder
from rival_jax.types import Array, Model, Variables

__all__ = [
    "UNTOLD",
    "ToGrid",
    "ViT",
    "as_vit",
    "build",
    "config",
    "convert",
    "export",
    "infer",
    "recognises",
    "resized",
]

_RENAMED = {
    "patch_embed": "patch_embed.proj",
    "pre_logits": "pre_logits.fc",
    "ls1": "ls1.gamma",
    "ls2": "ls2.gamma",
}


class ViT(nn.Module):
    """A vision transformer; the fields are its architecture.

    Taps: "embedding" [b, n, width], the first block's input, "block{i}/norm1" [b, n, width],
    "block{i}/qkv" [b, n, 3 width] (queries, keys, values), "block{i}/attention" [b, heads, n, n]
    after the softmax, "block{i}/norm2" [b, n, width], "block{i}/hidden" [b, n, hidden] after the
    GELU, "norm" [b, n, width], the tokens after the final norm (`pool="avg"`: after the last block,
    since its norm follows the average), and "features" [b, f], the input of the head. A distilled
    network has two heads, on the class and the distillation token: its features are both tokens
    side by side (f = 2 width) and its logits the mean of the two heads'.
    """

    image_size: tuple[int, int]  # height, width: multiples of the patch size
    num_classes: int  # 0: no head, the logits are the features
    patch_size: int = 16
    width: int = 192
    depth: int = 12
    heads: int = 3
    mlp_ratio: float = 4.0
    pool: str = "token"  # | "avg": mean of the patch tokens
    distilled: bool = False
    register_tokens: int = 0  # extra tokens after the class token
    no_embed_class: bool = False  # positions are added only to the patch tokens
    qkv_bias: bool = True
    layer_scale: bool = False
    gelu: str = "exact"  # | "tanh" | "quick"
    layer_norm_eps: float = 1e-6
    representation_size: int = 0  # width of a dense tanh layer before the head, 0: none
    pre_norm: bool = False  # a norm before the first block, and so no bias in the embedding
    projection: int = 0  # width of a matrix that makes the features of the class token, 0: none

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def prefix_tokens(self) -> int:
        """Tokens before the patches: class, distillation, registers."""
        return 1 + self.distilled + self.register_tokens

    @nn.compact
    def __call__(self, images: Array, tap: Recorder) -> Array:
        if images.shape[1:3] != self.image_size:
            h, w = self.image_size
            raise ValueError(f"images: got {images.shape}, expected [b, {h}, {w}, 3]")
        x = tap("embedding", self._embed(images))
        blocks = [
            Block(
                self.heads,
                round(self.width * self.mlp_ratio),
                self.qkv_bias,
                self.layer_scale,
                self.gelu,
                self.layer_norm_eps,
                name=f"blocks_{i}",
            )
            for i in range(self.depth)
        ]
        for i, block in enumerate(blocks[:-1]):
            x = block(x, tap, f"block{i}")
        return self._head(self._last(blocks[-1], x, tap), tap)

    def _last(self, block: Block, x: Array, tap: Recorder) -> Array:
        """The last block and the rest up to the tokens that the head reads."""
        label = f"block{self.depth - 1}"
        whole = block(x, tap, label)
        if self.pool == "avg":
            return tap("norm", whole)[:, self.prefix_tokens :].mean(axis=1, keepdims=True)
        norm = nn.LayerNorm(epsilon=self.layer_norm_eps, name="norm")
        tokens, read = tap("norm", norm(whole)), 1 + self.distilled
        whole_block = {"norm", *(f"{label}/{name}" for name in ("qkv", "norm2", "hidden"))}
        if tap.added.keys() & whole_block:
            return tokens[:, :read]
        # The head reads one or two tokens: computed again for these alone. Under jit the whole
        # block then drops out, unless its taps are used: a sixteenth of the network's arithmetic.
        shown, kept = f"{label}/attention", Recorder(tap.added)
        x = block(x, kept, label, keep=read, every_row=shown in tap.added)
        if shown in tap.added:  # in this pass, so that the whole block drops out here too
            tap.values[shown] = kept.values[shown]
        return norm(x)

    def _embed(self, images: Array) -> Array:
        embed = PatchEmbed(self.width, self.patch_size, not self.pre_norm, name="patch_embed")
        patches = embed(images)
        lengths = {"cls_token": 1, "dist_token": self.distilled, "reg_token": self.register_tokens}
        prefix = [self._tokens(name, n) for name, n in lengths.items() if n]
        rows, columns = self.grid
        positions = rows * columns + (0 if self.no_embed_class else self.prefix_tokens)
        positions = self._tokens("pos_embed", positions)
        prefix = jnp.tile(jnp.concatenate(prefix, axis=1), (len(patches), 1, 1))
        if self.no_embed_class:
            x = jnp.concatenate([prefix, patches + positions], axis=1)
        else:
            x = jnp.concatenate([prefix, patches], axis=1) + positions
        if not self.pre_norm:
            return x
        return nn.LayerNorm(epsilon=self.layer_norm_eps, name="norm_pre")(x)

    def _tokens(self, name: str, length: int) -> Array:
        return self.param(name, SMALL, (1, int(length), self.width))

    def _head(self, tokens: Array, tap: Recorder) -> Array:
        precision = tokens.dtype
        if self.pool == "avg":
            tokens = nn.LayerNorm(epsilon=self.layer_norm_eps, name="fc_norm")(tokens)
        features = tokens.reshape(len(tokens), -1)
        if self.representation_size:
            layer = nn.Dense(self.representation_size, kernel_init=SMALL, name="pre_logits")
            features = jnp.tanh(layer(features))
        if self.projection:
            features = features @ self.param("proj", SMALL, (self.width, self.projection))
        features = tap("features", at_least_float32(features))
        if not self.num_classes:
            return features
        head = nn.Dense(self.num_classes, kernel_init=SMALL, name="head")
        if not self.distilled:
            return head(features.astype(precision))
        on_class, on_distillation = jnp.split(features.astype(precision), 2, axis=1)
        head_dist = nn.Dense(self.num_classes, kernel_init=SMALL, name="head_dist")
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


def build(*, name: str, image_size: tuple[int, int], **keywords: Any) -> Model:
    """A vision transformer.

    Args:
      name: what tables call it.
      image_size: height and width in pixels.
      **keywords: the fields of `ViT` (`num_classes` has no default); and `mean` and `std`
        of each channel (the network normalises its own input), `interpolation` and `crop_pct`, see
        `types.Model`.

    Raises:
      ValueError: the parts do not fit each other.
    """
    given = input_keywords(keywords)
    return as_vit(ViT(image_size=image_size, **keywords), name=name, **given)


def as_vit(module: ViT, *, name: str, **facts: Any) -> Model:
    """A module of this family as a `Model`. Raises ValueError if its parts do not fit."""
    _check(module)
    return as_model(
        module,
        name,
        module.image_size,
        num_classes=module.num_classes,
        cam_tap=f"block{module.depth - 1}/norm1",
        attention_taps=tuple(f"block{i}/attention" for i in range(module.depth)),
        to_grid=ToGrid(module.prefix_tokens, module.grid),
        **facts,
    )


def resized(
    model: Model, variables: Variables, image_size: tuple[int, int], method: str
) -> tuple[Model, Variables]:
    """The network for images of another size; `method` as in `positions.resample`."""
    old: Any = module_of(model)
    module = old.clone(image_size=image_size)
    treatment = {key: getattr(model, key) for key in INPUT}
    position = variables["params"]["pos_embed"][0]
    position = resample(position, old.grid, module.grid, method)[None]
    params = {**variables["params"], "pos_embed": position}
    return as_vit(module, name=model.name, **treatment), {**variables, "params": params}


def _check(module: ViT) -> None:
    height, width = module.image_size
    if height % module.patch_size or width % module.patch_size:
        raise ValueError(f"image size {height}x{width} is no multiple of patch {module.patch_size}")
    if module.width % module.heads:
        raise ValueError(f"width {module.width} is no multiple of {module.heads} heads")
    for field, known in (("pool", ("token", "avg")), ("gelu", tuple(GELUS))):
        if getattr(module, field) not in known:
            raise ValueError(f"{field}={getattr(module, field)!r}; expected one of {known}")
    if module.distilled and (module.pool == "avg" or module.representation_size):
        raise ValueError("a distilled network has neither pool='avg' nor a representation layer")


def recognises(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether a checkpoint's tensors are those of a vision transformer with timm's names."""
    return any(name.startswith("blocks.0.attn.") for name in tensors)


def convert(tensors: Mapping[str, np.ndarray], model: Model) -> Variables:
    """A checkpoint's tensors as variables; raises ValueError if they do not fit."""
    return conversion.to_variables(tensors, conversion.torch_rules(model.init, _RENAMED))


def export(variables: Variables, model: Model) -> dict[str, np.ndarray]:
    """The inverse of `convert`: tensors under timm's names."""
    return conversion.to_tensors(variables, conversion.torch_rules(model.init, _RENAMED))
