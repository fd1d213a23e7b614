"""Checkpoint tensors to variables and back, by rules that must fit both sides exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax.models.network import shapes
from rival_jax.types import Variables

_LEAF_NAMES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
_AXES = {2: (1, 0), 4: (3, 2, 0, 1)}  # a kernel's axes, ours -> PyTorch's, by rank
_NAMES_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Rule:
    """Pairs one tensor of a checkpoint file with one leaf of the variables, axes permuted."""

    source: str
    path: tuple[str, ...]
    axes: tuple[int, ...]  # leaf.transpose(axes), reshaped, is the tensor
    leaf: tuple[int, ...]  # the leaf's shape
    shape: tuple[int, ...]  # of the tensor


def torch_rules(
    init: Callable[[jax.Array], Variables],
    renamed: Mapping[str, str] | None = None,
    flat: Collection[str] = (),
) -> list[Rule]:
    """The rules for a network whose modules are named as in PyTorch code.

    Flax names cannot hold a dot: "blocks_0" stands for "blocks.0", "attn__qkv" for "attn.qkv", and
    `renamed` maps the remaining module or parameter names to dotted ones, and finally pairs
    "module.weight". Linear weights [out, in] and convolutions [out, in, h, w] become kernels
    [in, out] and [h, w, in, out]. Tensors listed in `flat` lack the leaf's axes of length 1.
    """
    renamed = renamed or {}
    leaves, _ = jax.tree_util.tree_flatten_with_path(shapes(init))
    rules = []
    for keys, leaf in leaves:
        path: tuple[str, ...] = tuple(key.key for key in keys)
        *parents, last = path[1:]
        names = [_dotted(name, renamed) for name in parents]
        names.append(_LEAF_NAMES.get(last) or _dotted(last, renamed))
        pair = ".".join(names[-2:])
        source = ".".join([*names[:-2], renamed.get(pair, pair)])
        axes = _AXES[leaf.ndim] if last == "kernel" else tuple(range(leaf.ndim))
        shape = tuple(leaf.shape[axis] for axis in axes)
        if source in flat:
            shape = tuple(size for size in shape if size > 1)
        rules.append(Rule(source, path, axes, leaf.shape, shape))
    return rules


def _dotted(name: str, renamed: Mapping[str, str]) -> str:
    if "__" in name:
        return ".".join(_dotted(part, renamed) for part in name.split("__"))
    stem, underscore, number = name.rpartition("_")
    if name in renamed or not (underscore and number.isdigit()):
        return renamed.get(name, name)
    return f"{renamed.get(stem, stem)}.{number}"


def to_variables(tensors: Mapping[str, np.ndarray], rules: Sequence[Rule]) -> Variables:
    """Variables in the precision of the tensors.

    Args:
      tensors: a checkpoint file's tensors by name.
      rules: one for every leaf of the variables.

    Raises:
      ValueError: a tensor is missing, unknown or misshapen (lists all of them), or holds invalid
        numbers.
    """
    expected = {rule.source: rule.shape for rule in rules}
    given = {name: tensor.shape for name, tensor in tensors.items()}
    misshapen = [
        f"{name} (got {given[name]}, expected {expected[name]})"
        for name in sorted(expected.keys() & given.keys())
        if given[name] != expected[name]
    ]
    problems = {
        "missing from the file": sorted(expected.keys() - given.keys()),
        "in the file but not in the network": sorted(given.keys() - expected.keys()),
        "of another shape": misshapen,
    }
    if any(problems.values()):
        parts = [
            f"{len(names)} {what}: {_some(names)}" for what, names in problems.items() if names
        ]
        raise ValueError("weights do not fit the network; " + "; ".join(parts))
    for rule in rules:
        check_numbers(rule.source, tensors[rule.source])
    variables: dict = {}
    for rule in rules:
        node = variables
        for name in rule.path[:-1]:
            node = node.setdefault(name, {})
        tensor = tensors[rule.source].reshape([rule.leaf[axis] for axis in rule.axes])
        node[rule.path[-1]] = jax.device_put(np.transpose(tensor, np.argsort(rule.axes)))
    return variables


def check_numbers(name: str, tensor: np.ndarray) -> None:
    """Raises ValueError unless a tensor holds finite floating point numbers, as weights do."""
    if not jnp.issubdtype(tensor.dtype, jnp.floating):
        raise ValueError(
            f"{name} holds {tensor.dtype}, not floating point numbers; quantised weights are not "
            "read: save them in float32, bfloat16 or float16"
        )
    with np.errstate(over="ignore"):
        values = tensor if tensor.dtype == np.float32 else tensor.astype(np.float32)
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        raise ValueError(
            f"{name} holds {bad} of {values.size} numbers that are NaN, infinite or beyond "
            "float32; the file is damaged or its training failed: give another checkpoint"
        )
    if name.endswith("running_var") and values.size and values.min() < 0:
        raise ValueError(f"{name} is a variance and holds {values.min():g}, below 0")


def to_tensors(variables: Variables, rules: Sequence[Rule]) -> dict[str, np.ndarray]:
    """The inverse of `to_variables`: tensors with the checkpoint's names and layouts."""
    tensors = {}
    for rule in rules:
        leaf = variables
        for name in rule.path:
            leaf = leaf[name]
        tensors[rule.source] = np.asarray(leaf).transpose(rule.axes).reshape(rule.shape)
    return tensors


def shape_of(tensors: Mapping[str, np.ndarray], name: str, rank: int) -> tuple[int, ...]:
    """The shape of a tensor that tells the architecture.

    Raises:
      ValueError: it is missing, or has another number of axes.
    """
    if name not in tensors:
        raise ValueError(f"missing from the file: {name}, which tells the architecture")
    shape = tensors[name].shape
    if len(shape) != rank:
        raise ValueError(f"{name}: got shape {shape}, expected {rank} axes")
    return shape


def classes(said: int | None, tensors: Mapping[str, np.ndarray], head: str) -> int:
    """The number of classes: from the configuration, else the rows of the weight `head`.

    Raises:
      ValueError: there is neither.
    """
    if said is not None:
        return said
    if head in tensors:
        return shape_of(tensors, head, 2)[0]
    raise ValueError("no head and no num_classes; a trunk alone has num_classes: 0")


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
