"""Networks by name: bundled ones, and checkpoints on disk.

A family is a module of this folder with `recognises(tensors)`, `infer(tensors, config)`,
`build(...)`, `convert(tensors, model)`, `export(variables, model)` and `config(model)`.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import math
import pathlib
import pkgutil
import sys
from collections.abc import Callable, Mapping
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import weights
from rival_jax.models.network import INPUT, Network, module_of
from rival_jax.types import Array, Model, Variables

PRECISIONS = ("float32", "bfloat16")
_ASSETS = pathlib.Path(__file__).parent.parent / "assets"


def bundled() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(
        path.parent.relative_to(_ASSETS).as_posix() for path in _ASSETS.glob(f"**/{weights.CONFIG}")
    )


def load(name: str, *, dtype: str = "float32") -> tuple[Model, Variables]:
    """A network and its weights.

    Args:
      name: a bundled model, a folder with `config.json` and `model.safetensors`, or a
        `.safetensors` file with `config.json` beside it.
      dtype: "float32" or "bfloat16", of the weights and so of the computation. Batch norm
        statistics stay float32; features and logits come out in float32 either way.

    Returns:
      (model, variables); the model is called `name`, and a path by its last part.

    Raises:
      ValueError: there is no such model (lists the nearest), or the weights fit no network.
      FileNotFoundError: the folder lacks one of the two files.
    """
    if dtype not in PRECISIONS:
        raise ValueError(f"dtype {dtype!r} is not one of {', '.join(PRECISIONS)}")
    file, short_name = _locate(name)
    config = weights.read_config(file.parent / weights.CONFIG)
    tensors = weights.read_tensors(file)
    try:
        family = _family(tensors)
        treatment = {key: getattr(config, key) for key in INPUT}
        model = family.build(name=short_name, **treatment, **family.infer(tensors, config))
        variables = family.convert(tensors, model)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return model, {
        kind: jax.tree.map(_cast(dtype if kind == "params" else "float32"), tree)
        for kind, tree in variables.items()
    }


def save(
    folder: pathlib.Path, model: Model, variables: Variables, dtype: str | None = None
) -> None:
    """Writes a folder that `load` reads back.

    Args:
      folder: made if it is not there.
      model: of one of the families here.
      variables: its weights.
      dtype: the precision to store, such as "float16"; None keeps that of `variables`.
    """
    family = sys.modules[type(module_of(model)).__module__]
    treatment = {key: getattr(model, key) for key in ("image_size", *INPUT)}
    config = dataclasses.replace(family.config(model), **treatment)
    weights.write_folder(folder, family.export(variables, model), config, dtype)


def describe(model: Model) -> str:
    """One line: what the model is and what it does to its input.

    "vit_tiny: 5,717,416 parameters, 1000 classes, 224x224 bicubic, crop 0.9, mean 0.5 0.5 0.5,
    std 0.5 0.5 0.5"
    """
    params = jax.eval_shape(model.init, jax.random.key(0))["params"]
    size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    height, width = model.image_size
    mean, std = (" ".join(f"{value:g}" for value in values) for values in (model.mean, model.std))
    return (
        f"{model.name}: {size:,} parameters, {model.num_classes} classes, {height}x{width} "
        f"{model.interpolation}, crop {model.crop_pct:g}, mean {mean}, std {std}"
    )


def without_normalisation(model: Model) -> Model:
    """The same network fed bare pixels: mean 0, std 1 (as the RIVAL10 study was released)."""
    mean, std = (0.0,) * len(model.mean), (1.0,) * len(model.std)
    forward = Network(module_of(model), mean, std)
    return dataclasses.replace(model, forward=forward, mean=mean, std=std)


def _locate(name: str) -> tuple[pathlib.Path, str]:
    """The file of weights and the model's short name."""
    if name in bundled():
        return _ASSETS / name / weights.TENSORS, name
    path = pathlib.Path(name)
    if path.is_dir():
        return path / weights.TENSORS, path.resolve().name
    if path.suffix == ".safetensors":
        in_folder = path.name == weights.TENSORS
        return path, path.resolve().parent.name if in_folder else path.stem
    near = difflib.get_close_matches(name, bundled(), n=3, cutoff=0.4)
    raise ValueError(
        f"no model {name!r}"
        + (f"; did you mean {' or '.join(near)}?" if near else ";")
        + f" bundled are: {', '.join(bundled())}. A local folder needs {weights.CONFIG} and "
        f"{weights.TENSORS}"
    )


def _cast(dtype: str) -> Callable[[Array], Array]:
    # By NumPy: JAX would compile a program for every shape.
    return lambda leaf: jnp.asarray(np.asarray(leaf).astype(jnp.dtype(dtype)))


def _family(tensors: Mapping[str, np.ndarray]) -> ModuleType:
    names = [info.name for info in pkgutil.iter_modules(__path__)]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    families = [module for module in modules if hasattr(module, "recognises")]
    for family in families:
        if family.recognises(tensors):
            return family
    known = ", ".join(family.__name__.rpartition(".")[2] for family in families)
    some = ", ".join(sorted(tensors)[:5])
    raise ValueError(f"tensors named {some} ... belong to no known family ({known})")
