"""Networks of other frameworks, by their exported graph: see `graph_file` and `exporting`."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rival_jax.models import conversion, graph_file, settings
from rival_jax.models.graph import Facts, Graph
from rival_jax.models.network import as_model, input_keywords, module_of
from rival_jax.taps import Recorder
from rival_jax.types import Array, Model, Variables
from rival_jax.weights import Config

CONSTANTS = "constants"  # the collection of tensors that are not trained


class Exported(nn.Module):
    """A graph as a module: parameters and constants are its tensors, by their names.

    Taps are the original network's modules by their qualified names, "layer4.0.conv1" (its second
    call: "layer4.0.conv1#2"), in channels last where they are images; the softmax in a module
    "blocks.0.attn" is "blocks.0.attn/attention"; and "features" [b, f], the classifier's input
    ("penultimate" if a module has that name).
    Values that lie in windows of an image are [b, windows, ...].

    Batch norm is a product and a sum, "bn1.scale" and "bn1.shift": no statistics are left to drift
    (`config.probe.batch_norm="drifting"` is refused).

    Fresh variables are only a random network of this form: how the original's are drawn is not
    known, and constants are 0.
    """

    graph: Graph

    @nn.compact
    def __call__(self, images: Array, tap: Recorder) -> Array:
        height, width = self.graph.image_size
        if images.shape[1:] != (height, width, 3):
            raise ValueError(f"images: got {images.shape}, expected [b, {height}, {width}, 3]")
        tensors = {name: self._tensor(name, facts) for name, facts in self.graph.tensors.items()}
        return self.graph.run(tensors, images, tap)

    @property
    def folded_norms(self) -> tuple[str, ...]:
        """The batch norms that are a product and a sum."""
        tensors = self.graph.tensors
        names = [name.removesuffix(".scale") for name in tensors if name.endswith(".scale")]
        return tuple(name for name in names if f"{name}.shift" in tensors)

    def _tensor(self, name: str, facts: Facts) -> Array:
        if facts.trained:
            return self.param(name, _drawn, facts.shape)
        make = lambda: jnp.zeros(facts.shape, facts.dtype)  # noqa: E731
        return self.variable(CONSTANTS, name, make).value


@dataclasses.dataclass(frozen=True)
class Grids:
    """A tap's value as a grid [b, rows, columns, c]: images as they are, tokens by their number."""

    grids: tuple[tuple[int, int, int, int], ...]  # tokens -> extra ones in front, rows, columns

    def __call__(self, value: Array) -> Array:
        """Raises ValueError for a tap that has no grid."""
        if value.ndim == 4:
            return value
        for tokens, extra, rows, columns in self.grids:
            if value.ndim == 3 and value.shape[1] == tokens:
                return value[:, extra:].reshape(len(value), rows, columns, -1)
        known = " or ".join(str(tokens) for tokens, *_ in self.grids) or "none"
        raise ValueError(f"a tap of shape {value.shape} has no grid; tokens with one: {known}")


def build(*, name: str, graph: Graph, num_classes: int, **keywords: Any) -> Model:
    """A network of a graph; further keywords are those about its input, see `types.Model`.

    Raises:
      ValueError: the graph cannot be computed; names the operation and its module.
    """
    model = as_model(
        Exported(graph),
        name,
        graph.image_size,
        num_classes=num_classes,
        cam_tap=graph.cam_tap,
        feature_tap=graph.feature_tap,
        attention_taps=graph.attention_taps,
        to_grid=Grids(graph.grids),
        **input_keywords(keywords),
    )
    _check(model)
    return model


def infer(tensors: Mapping[str, np.ndarray], config: Config) -> dict[str, Any]:
    """The keywords of `build`. Raises ValueError if configuration and graph contradict."""
    del tensors
    graph = graph_file.read(config.graph)
    if config.image_size not in (None, graph.image_size):
        raise ValueError(
            "input_size is {}x{}, but the graph was exported for {}x{}; export it again".format(
                *config.image_size, *graph.image_size
            )
        )
    settings.expect(config.model_args, {})
    return {"graph": graph, "num_classes": _classes(graph, config.num_classes)}


def convert(tensors: Mapping[str, np.ndarray], model: Model) -> Variables:
    """A folder's tensors as variables; raises ValueError unless each fits."""
    facts = graph_of(model).tensors
    constants = {name: jnp.asarray(t) for name, t in tensors.items() if _constant(name, t, facts)}
    trained = {name: tensor for name, tensor in tensors.items() if name not in constants}
    lacking = [name for name, fact in facts.items() if not fact.trained and name not in constants]
    if lacking:
        raise ValueError(f"missing from the file: {', '.join(lacking[:5])}")
    variables = conversion.to_variables(trained, _rules(model))
    return {**variables, CONSTANTS: constants} if constants else variables


def export(variables: Variables, model: Model) -> dict[str, np.ndarray]:
    """The inverse of `convert`."""
    constants = variables.get(CONSTANTS, {})
    found = {name: np.asarray(tensor) for name, tensor in constants.items()}
    return {**found, **conversion.to_tensors(variables, _rules(model))}


def config(model: Model) -> Config:
    """What `infer` needs beside the tensors."""
    return Config(num_classes=model.num_classes, graph=graph_of(model).content)


def resized(
    model: Model, variables: Variables, image_size: tuple[int, int], method: str
) -> tuple[Model, Variables]:
    """Raises ValueError: a graph is for images of one size."""
    del variables, method
    raise ValueError(
        "{} was exported for images of {}x{} and takes no others, such as {}x{}; export it again "
        "with image_size".format(model.name, *model.image_size, *image_size)
    )


def graph_of(model: Model) -> Graph:
    """The graph of a model of this family."""
    module: Any = module_of(model)
    return module.graph


def _classes(graph: Graph, said: int | None) -> int:
    """The number of classes, 0 for a trunk; raises ValueError for another than the outputs'."""
    shape = _shapes(graph)[0].shape
    if len(shape) != 2 or shape[0] != 1:
        raise ValueError(f"the graph returns {list(shape)} for one image, expected [1, classes]")
    if said not in (None, 0, shape[1]):
        raise ValueError(f"num_classes is {said}, but the graph has {shape[1]} outputs")
    return shape[1] if said is None else said


@functools.lru_cache(maxsize=4)
def _shapes(graph: Graph) -> tuple[Any, dict[str, Any]]:
    """Of the logits and of every tap, for one image."""

    def look(tensors: dict[str, Array], image: Array) -> tuple[Array, dict[str, Array]]:
        tap = Recorder({})
        return graph.run(tensors, image, tap), tap.values

    tensors = {
        name: jax.ShapeDtypeStruct(facts.shape, facts.dtype)
        for name, facts in graph.tensors.items()
    }
    image = jax.ShapeDtypeStruct((1, *graph.image_size, 3), jnp.float32)
    return jax.eval_shape(look, tensors, image)


def _check(model: Model) -> None:
    """Raises ValueError for roles of taps that do not fit."""
    graph = graph_of(model)
    shapes = _shapes(graph)[1]
    if len(features := shapes[graph.feature_tap].shape) != 2:
        raise ValueError(f"feature_tap {graph.feature_tap!r} is {features}, expected [b, f]")
    try:
        jax.eval_shape(model.to_grid, shapes[graph.cam_tap])
    except ValueError as error:
        raise ValueError(f"cam_tap {graph.cam_tap!r}: {error}") from error
    for name in graph.attention_taps:
        shape = shapes[name].shape
        if len(shape) != 4 or shape[2] != shape[3]:
            raise ValueError(f"attention tap {name!r} is {shape}, expected [b, heads, n, n]")


def _rules(model: Model) -> list[conversion.Rule]:
    return [
        conversion.Rule(name, ("params", name), tuple(range(len(f.shape))), f.shape, f.shape)
        for name, f in graph_of(model).tensors.items()
        if f.trained
    ]


def _constant(name: str, tensor: np.ndarray, facts: Mapping[str, Facts]) -> bool:
    """Whether a tensor is a constant; raises ValueError for one that does not fit."""
    if name not in facts or facts[name].trained:
        return False
    want = facts[name]
    if (str(tensor.dtype), tensor.shape) != (want.dtype, want.shape):
        got = f"{tensor.dtype} {tensor.shape}"
        raise ValueError(f"{name}: got {got}, expected {want.dtype} {want.shape}")
    if want.dtype == "float32" and np.isnan(tensor).any():
        raise ValueError(f"{name} holds numbers that are NaN; export the network again")
    return True


def _drawn(key: Array, shape: tuple[int, ...]) -> Array:
    """Normal numbers by the inputs of each output; a vector's are small."""
    fan_in = math.prod(shape[1:]) if len(shape) > 1 else 2500
    return jax.random.normal(key, shape) / math.sqrt(max(1, fan_in))
