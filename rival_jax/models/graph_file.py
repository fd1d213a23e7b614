"""The file `graph.json` of an exported network: what it must be, and how it is checked.

It is one object:

    {"version": 1, "origin": "where it came from", "image_size": [h, w],
     "tensors": {name: {"dtype": "float32", "shape": [...], "trained": true}},
     "nodes": [{"op": "input"}, {"op": "mm.default", "args": [...], "kwargs": {}, "module": "fc"}],
     "logits": node, "taps": {name: {"node": node, "layout": "plain"}},
     "cam_tap": name, "feature_tap": name, "attention_taps": [name],
     "grids": {number of tokens: [extra ones in front, rows, columns]}}

Node 0 is the normalised image [b, 3, h, w]. An argument is a number, truth value, null, a list, or
an object with one key: {"node": 3}, an earlier node's value; {"tensor": name}; {"dtype": "bool"};
{"float": "inf"}. Operations are those of `aten.OPERATIONS`, and nothing else can run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from rival_jax.models.aten import OPERATIONS
from rival_jax.models.graph import (
    INPUT,
    LAYOUTS,
    MAX_COUNT,
    MAX_ELEMENTS,
    Facts,
    Graph,
    Kind,
    Node,
    Tap,
    Tensor,
    Value,
)

VERSION = 1
DTYPES = ("float32", "int32", "bool")
MAX_NODES, MAX_TENSORS, MAX_TAPS = 100_000, 50_000, 50_000
MAX_INTEGER = 2**63  # of arguments


def read(content: Any) -> Graph:
    """The graph of a `graph.json`.

    Raises:
      ValueError: it is malformed, or uses an operation that is not known; says where.
    """
    content = _object(content, "it")
    if _item(content, "version", int) != VERSION:
        raise ValueError(f"version is {content['version']!r}, and {VERSION} is read; export again")
    nodes = _nodes(_item(content, "nodes", list))
    tensors = _tensors(_item(content, "tensors", dict))
    _check_tensors(nodes, tensors)
    taps = _taps(_item(content, "taps", dict), len(nodes))
    attention = _item(content, "attention_taps", list)
    for name in (*attention, _item(content, "cam_tap", str), _item(content, "feature_tap", str)):
        if not isinstance(name, str) or name not in taps:
            raise ValueError(f"no tap named {name!r} is among taps")
    height, width = _whole(_item(content, "image_size", list), "image_size", 2)
    return Graph(
        text=json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False),
        nodes=nodes,
        tensors=tensors,
        taps=taps,
        grids=tuple(sorted(_grids(_item(content, "grids", dict)))),
        logits=_index(content.get("logits"), len(nodes), "logits"),
        cam_tap=content["cam_tap"],
        feature_tap=content["feature_tap"],
        attention_taps=tuple(attention),
        image_size=(height, width),
        origin=_item(content, "origin", str),
    )


def unknown(op: str, module: str) -> str:
    """The error for an operation that is not in the table."""
    known = ", ".join(sorted(OPERATIONS))
    return f"no operation {op!r}, which is in {module or 'the network itself'}; known are: {known}"


def _nodes(listed: list[Any]) -> list[Node]:
    if not 1 <= len(listed) <= MAX_NODES:
        raise ValueError(f"nodes: {len(listed)} of them, expected 1 to {MAX_NODES}")
    return [_node(_object(said, f"nodes[{i}]"), i) for i, said in enumerate(listed)]


def _node(said: dict[str, Any], number: int) -> Node:
    where = f"nodes[{number}]"
    op, module = _item(said, "op", str, where), _item({"module": "", **said}, "module", str, where)
    if (op == INPUT) != (number == 0):
        raise ValueError(f"{where}.op is {op!r}; the image is node 0 and no other")
    if op != INPUT and op not in OPERATIONS:
        raise ValueError(f"{where}: {unknown(op, module)}")
    args = _item({"args": [], **said}, "args", list, where)
    kwargs = _item({"kwargs": {}, **said}, "kwargs", dict, where)
    return Node(
        op,
        [_argument(value, number, f"{where}.args[{i}]") for i, value in enumerate(args)],
        {
            key: value if isinstance(value, str) else _argument(value, number, f"{where}.{key}")
            for key, value in kwargs.items()
        },
        module,
    )


def _argument(said: Any, number: int, where: str) -> Any:
    if said is None or isinstance(said, bool):
        return said
    if isinstance(said, int | float):
        if not -MAX_INTEGER <= said <= MAX_INTEGER:
            raise ValueError(f"{where} is a number beyond {MAX_INTEGER}")
        return said
    if isinstance(said, list):
        return [_argument(value, number, f"{where}[{i}]") for i, value in enumerate(said)]
    if isinstance(said, dict) and len(said) == 1:
        (key, value), *_ = said.items()
        if key == "node":
            return Value(_index(value, number, where))
        if key == "tensor" and isinstance(value, str):
            return Tensor(value)
        if key == "dtype" and value in DTYPES:
            return Kind(value)
        if key == "float" and value in ("inf", "-inf", "nan"):
            return float(value)
    raise ValueError(f"{where} is {str(said)[:60]!r}; expected a number, a list, or a reference")


def _tensors(said: dict[str, Any]) -> dict[str, Facts]:
    if len(said) > MAX_TENSORS:
        raise ValueError(f"tensors: {len(said)} of them, expected at most {MAX_TENSORS}")
    found = {}
    for name, facts in said.items():
        where = f"tensors[{name!r}]"
        facts = _object(facts, where)
        dtype, trained = _item(facts, "dtype", str, where), _item(facts, "trained", bool, where)
        if dtype not in DTYPES or (trained and dtype != "float32"):
            raise ValueError(f"{where}.dtype is {dtype!r}; known are {', '.join(DTYPES)}")
        shape = _whole(_item(facts, "shape", list, where), f"{where}.shape")
        if math.prod(shape) > MAX_ELEMENTS:
            raise ValueError(f"{where}.shape is {shape}: more than {MAX_ELEMENTS} numbers")
        found[name] = Facts(dtype, shape, trained)
    return found


def _check_tensors(nodes: list[Node], tensors: Mapping[str, Facts]) -> None:
    used = {part.name for node in nodes for part in _parts([node.args, *node.kwargs.values()])}
    for problem, names in {
        "used, but not among tensors": used - tensors.keys(),
        "among tensors, but not used": tensors.keys() - used,
    }.items():
        if names:
            raise ValueError(f"{', '.join(sorted(names)[:5])}: {problem}")


def _parts(said: Any) -> list[Tensor]:
    if isinstance(said, list):
        return [part for value in said for part in _parts(value)]
    return [said] if isinstance(said, Tensor) else []


def _taps(said: dict[str, Any], count: int) -> dict[str, Tap]:
    if len(said) > MAX_TAPS:
        raise ValueError(f"taps: {len(said)} of them, expected at most {MAX_TAPS}")
    found = {}
    for name, tap in said.items():
        where = f"taps[{name!r}]"
        layout = _item(_object(tap, where), "layout", str, where)
        if layout not in LAYOUTS:
            raise ValueError(f"{where}.layout is {layout!r}; known are {', '.join(LAYOUTS)}")
        found[name] = Tap(_index(tap.get("node"), count, where), layout)
    return found


def _grids(said: dict[str, Any]) -> list[tuple[int, int, int, int]]:
    found = []
    for tokens, grid in said.items():
        extra, rows, columns = _whole(grid, f"grids[{tokens!r}]", 3)
        if tokens != str(extra + rows * columns):
            raise ValueError(f"grids[{tokens!r}] is {grid}: not as many tokens")
        found.append((int(tokens), extra, rows, columns))
    return found


def _object(said: Any, where: str) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise ValueError(f"{where} is a {type(said).__name__}, expected an object")
    return said


def _item(said: Mapping[str, Any], key: str, kind: type, where: str = "") -> Any:
    place = f"{where}.{key}" if where else key
    if key not in said:
        raise ValueError(f"{place} is missing")
    if type(said[key]) is not kind:
        raise ValueError(f"{place} is a {type(said[key]).__name__}, expected {kind.__name__}")
    return said[key]


def _index(said: Any, count: int, where: str) -> int:
    if type(said) is not int or not 0 <= said < count:
        raise ValueError(f"{where} refers to node {str(said)[:30]}, expected 0 to {count - 1}")
    return said


def _whole(said: Any, where: str, count: int | None = None) -> tuple[int, ...]:
    """A list of whole numbers, none negative."""
    listed = isinstance(said, list) and count in (None, len(said))
    if not listed or any(type(n) is not int or not 0 <= n <= MAX_COUNT for n in said):
        raise ValueError(f"{where} is {str(said)[:60]}, expected {count or 'some'} whole numbers")
    return tuple(said)
