"""Names and shapes of Scenic's parameters, and of the same ones in PyTorch's files.

A table's row is a module or a bare parameter in Scenic and its counterpart in PyTorch; "{}" stands
for a number. Attention's queries, keys and values are three modules in Scenic and, if the other
name ends in one of `PARTS`, one tensor in PyTorch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

Table = Sequence[tuple[str, str]]
PARTS = ("query", "key", "value")
_LEAVES = {"scale": "weight", "kernel": "weight", "bias": "bias"}
_LEAVES |= {"mean": "running_mean", "var": "running_var"}
_STATISTICS = ("mean", "var")
_AXES = {2: (1, 0), 4: (3, 2, 0, 1)}  # of a kernel: Flax's -> PyTorch's, by rank

_BLOCK, _ATTENTION = "Transformer/encoderblock_{}", "MultiHeadDotProductAttention_0"
VIT: Table = (
    ("embedding", "patch_embed.proj"),
    ("cls", "cls_token"),
    ("Transformer/posembed_input/pos_embedding", "pos_embed"),
    (f"{_BLOCK}/LayerNorm_0", "blocks.{}.norm1"),
    *((f"{_BLOCK}/{_ATTENTION}/{part}", "blocks.{}.attn.qkv." + part) for part in PARTS),
    (f"{_BLOCK}/{_ATTENTION}/out", "blocks.{}.attn.proj"),
    (f"{_BLOCK}/LayerNorm_1", "blocks.{}.norm2"),
    (f"{_BLOCK}/MlpBlock_0/Dense_0", "blocks.{}.mlp.fc1"),
    (f"{_BLOCK}/MlpBlock_0/Dense_1", "blocks.{}.mlp.fc2"),
    ("Transformer/encoder_norm", "norm"),
    ("pre_logits", "pre_logits.fc"),
    ("output_projection", "head"),
)

_BLOCK = "visual/transformer/resblocks.{}"
_TORCH_BLOCK = "transformer.resblocks.{}"
CLIP_VIT: Table = (
    ("visual/conv1", "conv1"),
    ("visual/class_embedding", "class_embedding"),
    ("visual/positional_embedding", "positional_embedding"),
    ("visual/ln_pre", "ln_pre"),
    *((f"{_BLOCK}/{name}", f"{_TORCH_BLOCK}.{name}") for name in ("ln_1", "ln_2")),
    *((f"{_BLOCK}/attn/{part}", f"{_TORCH_BLOCK}.attn.in_proj.{part}") for part in PARTS),
    (f"{_BLOCK}/attn/out", f"{_TORCH_BLOCK}.attn.out_proj"),
    (f"{_BLOCK}/mlp/c_fc", f"{_TORCH_BLOCK}.mlp.c_fc"),
    (f"{_BLOCK}/mlp/c_proj", f"{_TORCH_BLOCK}.mlp.c_proj"),
    ("visual/ln_post", "ln_post"),
    ("visual/proj/kernel", "proj"),
)
CLIP_RESNET: Table = (
    *((f"visual/{name}", name) for name in ("conv{}", "bn{}")),
    *(
        (f"visual/layer{{}}/{{}}/{ours}", f"layer{{}}.{{}}.{theirs}")
        for ours, theirs in (("conv{}", "conv{}"), ("bn{}", "bn{}"))
    ),
    ("visual/layer{}/{}/downsample/{}", "layer{}.{}.downsample.{}"),
    ("visual/attnpool/positional_embedding", "attnpool.positional_embedding"),
    *((f"visual/attnpool/attn/{part}", f"attnpool.{part[0]}_proj") for part in PARTS),
    ("visual/attnpool/attn/out", "attnpool.c_proj"),
)


def resnet(depths: Sequence[int], bottleneck: bool) -> Table:
    """The table of a residual network; Scenic numbers its blocks through all stages."""
    first = 1 if bottleneck else 2  # Scenic calls the two convolutions of a small block 2 and 3
    rows = [("stem_conv", "conv1"), ("init_bn", "bn1"), ("output_projection", "fc")]
    blocks = [(stage, i) for stage, depth in enumerate(depths, 1) for i in range(depth)]
    for number, (stage, i) in enumerate(blocks):
        block, theirs = f"ResidualBlock_{number}", f"layer{stage}.{i}"
        for k in range(first, 4):
            rows.append((f"{block}/conv{k}", f"{theirs}.conv{k - first + 1}"))
            rows.append((f"{block}/bn{k}", f"{theirs}.bn{k - first + 1}"))
        rows.append((f"{block}/proj_conv", f"{theirs}.downsample.0"))
        rows.append((f"{block}/proj_bn", f"{theirs}.downsample.1"))
    return rows


def to_tensors(leaves: Mapping[str, np.ndarray], table: Table) -> dict[str, np.ndarray]:
    """Scenic's leaves, "embedding/kernel", as tensors, "patch_embed.proj.weight".

    A leaf not in the table keeps its name.
    """
    tensors = {}
    for path, leaf in leaves.items():
        module, _, last = path.rpartition("/")
        whole, translated = _renamed(path, table), _renamed(module, table)
        if whole is not None:
            tensors[whole] = leaf
        elif translated is not None and last in _LEAVES:
            tensors[f"{translated}.{_LEAVES[last]}"] = _tensor(module, last, leaf)
        else:
            tensors[path] = leaf
    for name in [name for name in tensors if ".query." in name]:
        base, kind = name.split(".query.")
        parts = [f"{base}.{part}.{kind}" for part in PARTS]
        if all(part in tensors for part in parts):
            joined = f"{base}.{kind}".replace(".in_proj.", ".in_proj_")
            tensors[joined] = np.concatenate([tensors.pop(part) for part in parts])
    return tensors


def to_leaves(
    tensors: Mapping[str, np.ndarray], table: Table, heads: int
) -> dict[str, dict[str, np.ndarray]]:
    """The inverse: {"params": {"embedding/kernel": ...}, "batch_stats": {...}}.

    Args:
      tensors: by their names in the table; each has a row.
      table: the table to use.
      heads: number of attention heads.
    """
    back = [(theirs, ours) for ours, theirs in table]
    leaves: dict[str, dict[str, np.ndarray]] = {"params": {}, "batch_stats": {}}
    for name, tensor in _split(tensors, table).items():
        whole = _renamed(name, back)
        if whole is not None:
            leaves["params"][whole] = tensor
            continue
        stem, _, kind = name.rpartition(".")
        module = _renamed(stem, back)
        if module is None:
            raise ValueError(f"Scenic has no parameter for {name}")
        last, leaf = _leaf(module, kind, tensor, heads)
        leaves["batch_stats" if last in _STATISTICS else "params"][f"{module}/{last}"] = leaf
    return {collection: tree for collection, tree in leaves.items() if tree}


def _split(tensors: Mapping[str, np.ndarray], table: Table) -> dict[str, np.ndarray]:
    """The tensors with queries, keys and values separated."""
    joined = {theirs.removesuffix(".query") for _, theirs in table if theirs.endswith(".query")}
    rows = [(base, base) for base in joined]
    separate = {}
    for name, tensor in tensors.items():
        stem, _, kind = name.replace(".in_proj_", ".in_proj.").rpartition(".")
        if _renamed(stem, rows) is None:
            separate[name] = tensor
        else:
            thirds = zip(PARTS, np.split(tensor, 3), strict=True)
            separate |= {f"{stem}.{part}.{kind}": third for part, third in thirds}
    return separate


def _renamed(name: str, table: Table) -> str | None:
    for source, target in table:
        if match := re.fullmatch(re.escape(source).replace(r"\{\}", r"(\d+)"), name):
            return target.format(*match.groups())
    return None


def _tensor(module: str, last: str, leaf: np.ndarray) -> np.ndarray:
    """A leaf in PyTorch's layout."""
    if last == "bias":
        return leaf.reshape(-1)  # [heads, size] in attention
    if last != "kernel":
        return leaf
    if leaf.ndim == 3:  # [width, heads, size], or for the output [heads, size, width]
        inputs = 2 if module.endswith("/out") else 1
        leaf = leaf.reshape(math.prod(leaf.shape[:inputs]), -1)
    return leaf.transpose(_AXES[leaf.ndim])


def _leaf(module: str, kind: str, tensor: np.ndarray, heads: int) -> tuple[str, np.ndarray]:
    """The last name and the value of a tensor in Scenic's layout."""
    if kind in ("running_mean", "running_var"):
        return kind.removeprefix("running_"), tensor
    part = module.rpartition("/")[2]
    if kind == "bias":
        return kind, tensor.reshape(heads, -1) if part in PARTS else tensor
    if tensor.ndim == 1:
        return "scale", tensor
    kernel = tensor.transpose(np.argsort(_AXES[tensor.ndim]))
    if part in PARTS:
        kernel = kernel.reshape(len(kernel), heads, -1)
    elif part == "out":
        kernel = kernel.reshape(heads, -1, kernel.shape[-1])
    return "kernel", kernel
