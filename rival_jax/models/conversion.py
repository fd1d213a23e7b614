"""Checkpoint tensors to variables and back, by rules that must fit both sides exactly."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax.types import Variables

_LEAF_NAMES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
_AXES = {2: (1, 0), 4: (3, 2, 0, 1)}  # of a kernel: ours -> PyTorch's, by rank
_NAMES_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Rule:
    """One tensor of a checkpoint file is one leaf of the variables, with its axes permuted."""

    source: str
    path: tuple[str, ...]
    axes: tuple[int, ...]  # leaf.transpose(axes) is the tensor
    shape: tuple[int, ...]  # of the tensor


def torch_rules(
    init: Callable[[jax.Array], Variables], renamed: Mapping[str, str] | None = None
) -> list[Rule]:
    """The rules of a network whose modules bear the names that PyTorch code gives them.

    Flax names cannot hold a dot: "blocks_0" stands for "blocks.0", and `renamed` maps the
    remaining module or parameter names to dotted ones. Linear weights [out, in] and convolutions
    [out, in, h, w] become kernels [in, out] and [h, w, in, out].
    """
    renamed = renamed or {}
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.eval_shape(init, jax.random.key(0)))
    rules = []
    for keys, leaf in leaves:
        path: tuple[str, ...] = tuple(key.key for key in keys)
        *parents, last = path[1:]
        names = [renamed.get(name, re.sub(r"_(\d+)$", r".\1", name)) for name in parents]
        names.append(_LEAF_NAMES.get(last, renamed.get(last, last)))
        axes = _AXES[leaf.ndim] if last == "kernel" else tuple(range(leaf.ndim))
        shape = tuple(leaf.shape[axis] for axis in axes)
        rules.append(Rule(".".join(names), path, axes, shape))
    return rules


def to_variables(tensors: Mapping[str, np.ndarray], rules: Sequence[Rule]) -> Variables:
    """Variables in the precision of the tensors.

    Args:
      tensors: a checkpoint file's tensors by name.
      rules: one for every leaf of the variables.

    Raises:
      ValueError: a tensor is missing, has no place, or has another shape; lists all of them.
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
    variables: dict = {}
    for rule in rules:
        node = variables
        for name in rule.path[:-1]:
            node = node.setdefault(name, {})
        leaf = np.transpose(tensors[rule.source], np.argsort(rule.axes))
        node[rule.path[-1]] = jnp.asarray(leaf)
    return variables


def to_tensors(variables: Variables, rules: Sequence[Rule]) -> dict[str, np.ndarray]:
    """The inverse of `to_variables`: tensors under the checkpoint's names and layouts."""
    tensors = {}
    for rule in rules:
        leaf = variables
        for name in rule.path:
            leaf = leaf[name]
        tensors[rule.source] = np.asarray(leaf).transpose(rule.axes)
    return tensors


def classes(said: int | None, head: np.ndarray | None) -> int:
    """The number of classes: as the configuration says, else the rows of the head's weight.

    Raises:
      ValueError: there is neither.
    """
    if said is not None:
        return said
    if head is not None:
        return len(head)
    raise ValueError("no head and no num_classes; a trunk alone has num_classes: 0")


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
