"""An exported network's graph of operations, run with JAX; `graph_file` reads and checks it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from rival_jax.models.aten import ELEMENTWISE, SIZES
from rival_jax.models.channels_last import Last, computed, plain
from rival_jax.types import Array

INPUT = "input"  # the operation of node 0
LAYOUTS = ("plain", "nchw", "flat")  # of taps: as it is, channels first, to be one row an example
MAX_ELEMENTS = 2**28  # of a value, for one image
MAX_COUNT = 2**40  # of a computed size


@dataclasses.dataclass(frozen=True)
class Node:
    """One operation; arguments are values, `Value`, `Tensor`, `Kind`, or lists of these."""

    op: str
    args: list[Any]
    kwargs: dict[str, Any]
    module: str  # the module of the original network that it is in, "" for the network itself


@dataclasses.dataclass(frozen=True)
class Value:
    """An argument: what an earlier node computed."""

    node: int


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An argument: a tensor of the file of weights."""

    name: str


@dataclasses.dataclass(frozen=True)
class Kind:
    """An argument: a type of numbers."""

    dtype: str


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a tensor of the file of weights must be."""

    dtype: str
    shape: tuple[int, ...]
    trained: bool  # parameters; others are constants of the network


@dataclasses.dataclass(frozen=True)
class Tap:
    """A value that can be seen and added to, and its layout, one of `LAYOUTS`."""

    node: int
    layout: str


@dataclasses.dataclass(frozen=True)
class Graph:
    """A checked graph. Equal and hashed by its text, so that jit compiles equal ones once."""

    text: str = dataclasses.field(repr=False)
    nodes: list[Node] = dataclasses.field(compare=False, repr=False)
    tensors: dict[str, Facts] = dataclasses.field(compare=False, repr=False)
    taps: dict[str, Tap] = dataclasses.field(compare=False, repr=False)
    grids: tuple[tuple[int, int, int, int], ...] = dataclasses.field(compare=False, repr=False)
    logits: int = dataclasses.field(compare=False, repr=False)
    cam_tap: str = dataclasses.field(compare=False)
    feature_tap: str = dataclasses.field(compare=False)
    attention_taps: tuple[str, ...] = dataclasses.field(compare=False, repr=False)
    image_size: tuple[int, int] = dataclasses.field(compare=False)
    origin: str = dataclasses.field(compare=False)

    @property
    def content(self) -> dict[str, Any]:
        """The object that `graph.json` holds."""
        return json.loads(self.text)

    def run(
        self, tensors: Mapping[str, Array], images: Array, tap: Callable[[str, Array], Array]
    ) -> Array:
        """The logits of normalised images [b, h, w, 3]; `tap` is called with every tap's value.

        Computes in the precision of the images.

        Raises:
          ValueError: an operation cannot take its arguments; names node, operation and module.
        """
        given = {name: _in_precision(tensor, images.dtype) for name, tensor in tensors.items()}
        seen: dict[int, list[tuple[str, str]]] = {}
        for name, place in self.taps.items():
            seen.setdefault(place.node, []).append((name, place.layout))
        values: list[Any] = []
        for number, node in enumerate(self.nodes):
            if node.op == INPUT:
                value = Last(images)
            else:
                value = _computed(number, node, given, values, images)
            for name, layout in seen.get(number, ()):
                value = _tapped(value, name, layout, len(images), tap)
            values.append(value)
        logits = plain(values[self.logits])
        if not isinstance(logits, jax.Array):
            raise ValueError(f"the logits, node {self.logits}, are no array")
        return logits


def _computed(
    number: int, node: Node, tensors: Mapping[str, Array], values: list[Any], images: Array
) -> Any:
    def of(said: Any) -> Any:
        if isinstance(said, Value):
            return values[said.node]
        if isinstance(said, Tensor):
            return tensors[said.name]
        if isinstance(said, Kind):
            return images.dtype if said.dtype == "float32" else jnp.dtype(said.dtype)
        return [of(part) for part in said] if isinstance(said, list) else said

    try:
        args, kwargs = of(node.args), {key: of(value) for key, value in node.kwargs.items()}
        first = node.op == "getitem"  # of a list; elsewhere a product would repeat it
        lists = [part for part in args[first:] if isinstance(part, list | tuple)]
        if lists and (node.op in ELEMENTWISE or node.op in SIZES):
            raise ValueError("a list in place of a number or an array")
        value = computed(node.op, args, kwargs)
        if isinstance(value, int) and abs(value) > MAX_COUNT:
            raise ValueError(f"a size of {value}")
        if getattr(value, "size", 0) > MAX_ELEMENTS * max(1, len(images)):
            raise ValueError(f"a value of shape {getattr(value, 'shape', ())}")
    except Exception as error:  # wrong arguments can make an operation raise anything
        where = f"node {number}, {node.op} in {node.module or 'the network itself'}"
        said = str(error).strip().split("\n")[0]
        raise ValueError(f"{where}: {said or type(error).__name__}") from error
    return value


def _in_precision(tensor: Array, dtype: Any) -> Array:
    return tensor.astype(dtype) if jnp.issubdtype(tensor.dtype, jnp.floating) else tensor


def _tapped(
    value: Any, name: str, layout: str, batch: int, tap: Callable[[str, Array], Array]
) -> Any:
    """A value after its tap, which shows channels last and the batch, alone, first."""
    if not isinstance(value, jax.Array | Last):
        raise ValueError(f"the tap {name!r} is no array")
    shape = value.shape
    if layout == "nchw":
        if len(shape) != 4:
            raise ValueError(f"the tap {name!r} is {shape}, no images channels first")
        return Last(tap(name, Last.of(value).array))
    value = plain(value)
    if layout == "flat":
        shown = value.reshape(batch, -1)
    else:  # windows of an image lie one after another
        shown = value if shape[0] == batch else value.reshape(batch, -1, *shape[1:])
    return tap(name, shown).reshape(shape)
