"""Vision transformers with timm's parameters and arithmetic: ViT, DeiT, DINOv2, SigLIP, AIMv2."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from rival_jax.models import conversion
from rival_jax.models.network import INPUT, as_model, at_least_float32, input_keywords, module_of
from rival_jax.models.parallel_block import ParallelBlock, SideBySide
from rival_jax.models.positions import resample
from rival_jax.models.transformer import GELUS, SMALL, AttentionPool, Block, PatchEmbed, normed
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
    "embed_norm": "patch_embed.norm",
    "pre_logits": "pre_logits.fc",
    "ls": "ls.gamma",
    "ls1": "ls1.gamma",
    "ls2": "ls2.gamma",
}


class ViT(nn.Module):
    """A vision transformer; the fields are its architecture.

    Taps: "embedding" [b, n, width], the first block's input, "block{i}/norm1" [b, n, width],
    "block{i}/qkv" [b, n, 3 width] (queries, keys, values), "block{i}/attention" [b, heads, n, n]
    after the softmax, "block{i}/norm2" [b, n, width], "block{i}/hidden" [b, n, hidden] after the
    GELU, "norm" [b, n, width], the tokens after the final norm (`fc_norm`: after the last block,
    since its norm follows the average), "pool/attention" [b, heads, 1, n] of attention pooling, and
    "features" [b, f], the input of the head. A distilled
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
    pool: str = "token"  # | "avg": mean of the patch tokens | "map": attention of a learned query
    class_token: bool = True
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
    fc_norm: bool | None = None  # the final norm follows the average; None: with `pool="avg"`
    final_norm: bool = True  # there is one
    pool_prefix: bool = False  # pooled are all tokens
    norm: str = "layer"  # | "rms", everywhere
    embed_norm: bool = False  # a norm of the patches before their positions
    qk_norm: bool = False
    inner_norms: tuple[bool, bool] = (False, False)  # before attention's and the MLP's last product
    gated: str = ""  # | "packed" | "split": see `Mlp`
    proj_bias: bool = True  # in all products of blocks but qkv
    parallel: bool = False  # attention and MLP read the same norm
    differential: bool = False  # attention, see `attend`
    norms_follow: bool = False  # the attention and the MLP of blocks, which read tokens as they are
    side_by_side: int = 1  # attentions of a block, and MLPs: see `SideBySide` for their taps

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def prefix_tokens(self) -> int:
        """Tokens before the patches: class, distillation, registers."""
        return self.class_token + self.distilled + self.register_tokens

    @property
    def _hidden(self) -> int:
        return round(self.width * self.mlp_ratio)

    @property
    def norm_follows(self) -> bool:
        """Whether the final norm follows the pooling."""
        return self.final_norm and (self.pool == "avg" if self.fc_norm is None else self.fc_norm)

    @nn.compact
    def __call__(self, images: Array, tap: Recorder) -> Array:
        if images.shape[1:3] != self.image_size:
            h, w = self.image_size
            raise ValueError(f"images: got {images.shape}, expected [b, {h}, {w}, 3]")
        x = tap("embedding", self._embed(images))
        settings = (
            *(self.heads * self.side_by_side, self._hidden, self.qkv_bias, self.layer_scale),
            *(self.gelu, self.layer_norm_eps, self.norm, self.qk_norm, self.inner_norms),
            *(self.gated, self.proj_bias, self.norms_follow),
        )
        kind: Any = ParallelBlock if self.parallel else Block
        if self.side_by_side > 1:
            kind = functools.partial(SideBySide, branches=self.side_by_side)
        numbers = [i if self.differential else None for i in range(self.depth)]
        blocks = [kind(*settings, n, name=f"blocks_{i}") for i, n in enumerate(numbers)]
        for i, block in enumerate(blocks[:-1]):
            x = block(x, tap, f"block{i}")
        return self._head(self._last(blocks[-1], x, tap), tap)

    def _last(self, block: Any, x: Array, tap: Recorder) -> Array:
        """The last block and the rest up to the tokens that the head reads."""
        label = f"block{self.depth - 1}"
        whole = block(x, tap, label)
        norm = self._norm("norm") if self.final_norm and not self.norm_follows else lambda x: x
        tokens, read = tap("norm", norm(whole)), 1 + self.distilled
        if self.pool != "token":
            return self._pooled(
                tokens if self.pool_prefix else tokens[:, self.prefix_tokens :], tap
            )
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

    def _pooled(self, tokens: Array, tap: Recorder) -> Array:
        if self.pool == "avg":
            return tokens.mean(axis=1, keepdims=True)
        settings = (self.heads, self._hidden, self.gelu, self.norm, self.layer_norm_eps)
        return AttentionPool(*settings, name="attn_pool")(tokens, tap)

    def _norm(self, name: str) -> Any:
        return normed(self.norm, self.layer_norm_eps, name)

    def _embed(self, images: Array) -> Array:
        embed = PatchEmbed(self.width, self.patch_size, not self.pre_norm, name="patch_embed")
        patches = self._norm("embed_norm")(embed(images)) if self.embed_norm else embed(images)
        lengths = {
            "cls_token": self.class_token,
            "dist_token": self.distilled,
            "reg_token": self.register_tokens,
        }
        prefix = [self._tokens(name, n) for name, n in lengths.items() if n]
        rows, columns = self.grid
        positions = rows * columns + (0 if self.no_embed_class else self.prefix_tokens)
        positions = self._tokens("pos_embed", positions)
        prefix = [jnp.tile(tokens, (len(patches), 1, 1)) for tokens in prefix]
        if self.no_embed_class:
            x = jnp.concatenate([*prefix, patches + positions], axis=1)
        else:
            x = jnp.concatenate([*prefix, patches], axis=1) + positions
        return self._norm("norm_pre")(x) if self.pre_norm else x

    def _tokens(self, name: str, length: int) -> Array:
        return self.param(name, SMALL, (1, int(length), self.width))

    def _head(self, tokens: Array, tap: Recorder) -> Array:
        precision = tokens.dtype
        if self.norm_follows:
            tokens = self._norm("fc_norm")(tokens)
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
    """A module of this family as a `Model`. Raises ValueError if its parts do not fit.

    Without a class token it has no `attention_taps`: maps of attention are of that token's row.
    """
    _check(module)
    labels = [f"block{i}/attention" for i in range(module.depth * module.class_token)]
    return as_model(
        module,
        name,
        module.image_size,
        num_classes=module.num_classes,
        cam_tap=f"block{module.depth - 1}/norm1",
        attention_taps=tuple(labels),
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
    for field, known in (("pool", ("token", "avg", "map")), ("gelu", tuple(GELUS))):
        if getattr(module, field) not in known:
            raise ValueError(f"{field}={getattr(module, field)!r}; expected one of {known}")
    if module.distilled and (module.pool != "token" or module.representation_size):
        raise ValueError(
            f"a distilled network has neither pool={module.pool!r} nor a representation layer"
        )
    if module.pool == "token" and not module.class_token:
        raise ValueError("pool='token' needs a class token")


def recognises(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether a checkpoint's tensors are those of a vision transformer with timm's names."""
    of_blocks = tuple(f"blocks.0.{name}." for name in ("attn", "in_proj", "attns.0"))
    return any(name.startswith(of_blocks) for name in tensors)


def convert(tensors: Mapping[str, np.ndarray], model: Model) -> Variables:
    """A checkpoint's tensors as variables; raises ValueError if they do not fit."""
    return conversion.to_variables(tensors, conversion.torch_rules(model.init, _RENAMED))


def export(variables: Variables, model: Model) -> dict[str, np.ndarray]:
    """The inverse of `convert`: tensors under timm's names."""
    return conversion.to_tensors(variables, conversion.torch_rules(model.init, _RENAMED))
