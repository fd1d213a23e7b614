"""From a traced PyTorch module to the nodes and tensors of a graph.

What depends on constants alone is computed; batch norm becomes a product and a sum; nothing is left
of what the logits do not need.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import Any

import numpy as np

from rival_jax.models import graph_file
from rival_jax.models.aten import OPERATIONS
from rival_jax.models.tracing import BATCH, NETWORK, trace

_BATCH_NORM = "_native_batch_norm_legit_no_training.default"
_WHERE = ("device", "layout", "pin_memory", "memory_format", "non_blocking")  # not for values
_KINDS = {"float": "float32", "bfloat": "float32", "int": "int32", "bool": "bool"}


@dataclasses.dataclass
class Lowered:
    """Nodes, tensors and facts as in `graph_file`, and what is known of each value."""

    nodes: list[dict[str, Any]]
    tensors: dict[str, np.ndarray]
    facts: dict[str, dict[str, Any]]
    logits: int
    outputs: dict[str, int]  # modules' outputs, by name in the order of their calls
    shapes: dict[int, tuple[int, ...]]  # of arrays whose first axis is the batch: for one example
    places: dict[int, Any]  # a node's counterpart in the traced program
    order: list[Any]  # what is needed of that program
    known: dict[Any, Any]  # and its constants


def lower(torch: Any, network: Any, image_size: tuple[int, int]) -> Lowered:
    """A module in evaluation mode that takes [b, 3, h, w], lowered.

    Raises:
      ValueError: it cannot be traced, returns no logits [b, classes], or uses an operation that is
        not known; says which, and in which module.
    """
    program, names = trace(torch, network, image_size)
    trained = {f"{NETWORK}.{n}" for n, p in network.named_parameters() if p.requires_grad}
    return _Lowering(torch, program, trained, names).run()


class _Lowering:
    """One traced program on its way to a graph."""

    def __init__(self, torch: Any, program: Any, trained: set[str], names: list[str]):
        self.torch, self.program, self.names = torch, program, names
        signature = program.graph_signature
        state = {**program.state_dict, **program.constants}
        given = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        self.nodes: list[dict[str, Any]] = [{"op": graph_file.INPUT}]
        self.tensors: dict[str, np.ndarray] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self.index: dict[Any, int] = {}  # of what has a node
        self.known: dict[Any, Any] = {}  # values of constants
        self.trained: set[Any] = set()  # constants that depend on parameters
        self.kept: dict[Any, Any] = {}  # of these, nodes of the graph; values if they were needed
        self.called: dict[Any, str] = {}
        by_name = {node.name: node for node in program.graph.nodes}
        self.image = by_name[signature.user_inputs[0]]
        self.index[self.image] = 0
        for placeholder, name in given.items():
            node = by_name[placeholder]
            self.known[node] = state[name].detach()
            self.called[node] = name.removeprefix(f"{NETWORK}.")
            if name in trained:
                self.trained.add(node)
        self.outputs = [by_name[name] for name in signature.user_outputs]

    def run(self) -> Lowered:
        needed = self._needed(self.outputs[0])
        order = [node for node in self.program.graph.nodes if node in needed]
        self._refuse_unknown(order)
        for node in order:
            if node.op == "call_function" and node not in self.index:
                self._add(node)
        logits = self._reference(self.outputs[0]).get("node")
        if logits is None:
            raise ValueError("its logits do not depend on the image")
        outputs = {}
        for name, node in zip(self.names, self.outputs[1:], strict=True):
            real = node.args[0] if _op(node) == "clone.default" else node
            if real in self.index and self._shape(real):
                outputs[name] = self.index[real]
        places = {number: node for node, number in self.index.items()}
        shapes = {number: shape for number, n in places.items() if (shape := self._shape(n))}
        return Lowered(
            nodes=self.nodes,
            tensors=self.tensors,
            facts=self.facts,
            logits=logits,
            outputs=outputs,
            shapes=shapes,
            places=places,
            order=order,
            known=self.known,
        )

    def _needed(self, node: Any) -> set[Any]:
        found, pending = set(), [node]
        while pending:
            if (one := pending.pop()) not in found:
                found.add(one)
                pending.extend(one.all_input_nodes)
        return found

    def _refuse_unknown(self, order: list[Any]) -> None:
        """Also notes which nodes are constants, and computes those that are not known otherwise."""
        unknown = {}
        for node in order:
            if node.op != "call_function":
                continue
            inputs = node.all_input_nodes
            constant = all(one in self.known or one in self.kept for one in inputs)
            trained = any(one in self.trained for one in inputs)
            named = _op(node) in OPERATIONS
            if constant and trained:
                self.trained.add(node)
            if constant and trained and named:
                self.kept[node] = None  # so that what it depends on can be trained
            elif constant:
                self.known[node] = self._computed(node)
            elif not named:
                unknown.setdefault(_op(node), _module(node))
        if unknown:
            raise ValueError(
                "; ".join(graph_file.unknown(op, place) for op, place in unknown.items())
            )

    def _computed(self, node: Any) -> Any:
        """The value of a node that depends on no image."""
        if node in self.known or self.kept.get(node) is not None:
            return self.known.get(node, self.kept.get(node))
        args, kwargs = (
            self.torch.fx.node.map_arg(part, self._computed) for part in (node.args, node.kwargs)
        )
        with self.torch.no_grad():
            value = node.target(*args, **kwargs)
        if node in self.kept:
            self.kept[node] = value
        return value

    def _add(self, node: Any) -> None:
        if node in self.known:
            return
        first = node.args[0] if node.args else None
        if _op(node) == _BATCH_NORM and all(n is None or n in self.known for n in node.args[1:5]):
            self._add_batch_norm(node)
        elif _op(node) == "getitem" and _op(first) == _BATCH_NORM and first in self.index:
            self.index[node] = self.index[first]
        elif _op(node) == "as_strided.default":
            self._add_strided(node)
        else:
            self._append(node, _op(node), [self._argument(arg) for arg in node.args], node.kwargs)

    def _append(self, node: Any, op: str, args: list[Any], kwargs: Any = ()) -> int:
        named = {k: self._argument(v) for k, v in dict(kwargs).items() if k not in _WHERE}
        said = {"op": op, "args": args, "kwargs": named, "module": _module(node)}
        self.nodes.append({key: value for key, value in said.items() if value})
        self.index[node] = len(self.nodes) - 1
        return self.index[node]

    def _add_batch_norm(self, node: Any) -> None:
        """x * scale + shift, with the module's name before these."""
        x, weight, bias, mean, variance, _, epsilon = node.args
        scale = (self.known[variance].double() + epsilon) ** -0.5
        scale = scale if weight is None else scale * self.known[weight].double()
        shift = -self.known[mean].double() * scale
        shift = shift if bias is None else shift + self.known[bias].double()
        named = self.called.get(mean) or node.name
        module = named.rpartition(".")[0] or named
        rank = x.meta["val"].ndim
        trained = weight in self.trained
        parts = []
        for name, tensor in (("scale", scale), ("shift", shift)):
            shaped = tensor.reshape(-1, *(1,) * (rank - 2))
            parts.append(self._keep(f"{module}.{name}", shaped, trained))
        product = self._append(node, "mul.Tensor", [self._argument(x), parts[0]])
        self._append(node, "add.Tensor", [{"node": product}, parts[1]])

    def _add_strided(self, node: Any) -> None:
        """Strides are of memory: the array is first laid out as it is there."""
        x, size, stride, *offset = node.args
        array, sizes = x.meta["val"], [_hint(n) for n in size]
        order = sorted(range(array.ndim), key=lambda axis: -_hint(array.stride(axis)))
        laid = [(_hint(array.shape[axis]), _hint(array.stride(axis))) for axis in order]
        if not _dense(laid):
            raise ValueError(f"{_module(node)}: as_strided of a view with holes")
        given = self._argument(x)
        if order != sorted(order):
            given = {"node": self._append(node, "permute.default", [given, order])}
        whole = math.prod(sizes) == math.prod(n for n, _ in laid) and not any(offset)
        if whole and _dense(list(zip(sizes, map(_hint, stride), strict=True))):
            self._append(node, "view.default", [given, self._argument(size)])
        else:
            rest = [self._argument(part) for part in (size, stride, *offset)]
            self._append(node, "as_strided.default", [given, *rest])

    def _reference(self, node: Any) -> dict[str, Any]:
        if node in self.index:
            return {"node": self.index[node]}
        value = self.known[node]
        if not self.torch.is_tensor(value):
            return self._argument(value)
        name = self.called.get(node, f"constant.{node.name}")
        return self._keep(name, value, node in self.trained)

    def _keep(self, name: str, value: Any, trained: bool) -> dict[str, Any]:
        array = value.detach().cpu().numpy() if value.dtype != self.torch.bfloat16 else None
        array = value.float().numpy() if array is None else array
        kind = _KINDS.get(str(array.dtype).rstrip("0123456789"))
        if kind is None or (kind == "int32" and array.size and np.abs(array).max() >= 2**31):
            raise ValueError(f"its tensor {name} of {array.dtype} cannot be kept")
        self.tensors[name] = np.ascontiguousarray(array.astype(kind)).reshape(array.shape)
        self.facts[name] = {"dtype": kind, "shape": list(array.shape), "trained": trained}
        return {"tensor": name}

    def _argument(self, said: Any) -> Any:
        if isinstance(said, self.torch.fx.Node):
            return self._reference(said)
        if isinstance(said, list | tuple):
            return [self._argument(part) for part in said]
        if isinstance(said, self.torch.dtype):
            name = str(said).removeprefix("torch.")
            return {"dtype": _KINDS[name.rstrip("0123456789")]}
        if isinstance(said, float) and not math.isfinite(said):
            return {"float": str(said)}
        if said is None or isinstance(said, bool | int | float | str):
            return said
        raise ValueError(f"an argument {said!r} of {type(said).__name__} cannot be written")

    def _shape(self, node: Any) -> tuple[int, ...]:
        """An array's shape for one example; () for what has no batch in front."""
        value = node.meta.get("val")
        if not self.torch.is_tensor(value) or not value.ndim:
            return ()
        first, *rest = value.shape
        if isinstance(first, int) or not all(isinstance(size, int) for size in rest):
            return ()
        size = _hint(first)
        return () if size % BATCH else (size // BATCH, *rest)


def _hint(size: Any) -> int:
    """A size or stride in the example, whether it depends on the batch or not."""
    if isinstance(size, int):
        return size
    return int((size if hasattr(size, "node") else size.meta["val"]).node.hint)


def _dense(axes: list[tuple[int, int]]) -> bool:
    """Whether (size, stride) of each axis are those of an array that lies row by row."""
    expected = 1
    for size, stride in reversed(axes):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def _op(node: Any) -> str:
    target: Any = getattr(node, "target", None)
    if target is operator.getitem:
        return "getitem"
    if getattr(target, "__module__", "") == "_operator":
        return f"sym.{target.__name__}"
    return str(target).removeprefix("aten.")


def _module(node: Any) -> str:
    """The innermost module that a node is in, without the name of the whole."""
    paths = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
    _, found, inner = paths[-1].partition(f"{NETWORK}.") if paths else ("", "", "")
    return inner.split("@")[0] if found else ""
