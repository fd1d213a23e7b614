"""Networks by name: bundled ones, and checkpoints on disk.

A family is a module of this folder with `recognises(tensors)`, `infer(tensors, config)`,
`build(...)`, `convert(tensors, model)`, `export(variables, model)`, `config(model)` and
`resized(model, variables, image_size, method)`.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import math
import pathlib
import pkgutil
import re
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import weights
from rival_jax.models import (
    assumed,
    exported,
    from_torch,
    renaming,
    settings,
    torch_libraries,
    transformers_names,
)
from rival_jax.models.network import INPUT, Initialiser, Network, module_of, shapes
from rival_jax.runtime.plugins import plugin
from rival_jax.types import Array, Geometry, Model, Variables

PRECISIONS = ("float32", "bfloat16")
_FAMILY = re.compile(r"([A-Za-z_]\w*(?:\.\w+)+):(?=.)")  # before the path of its weights
_ASSETS = pathlib.Path(__file__).parent.parent / "assets"


def bundled() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(
        path.parent.relative_to(_ASSETS).as_posix() for path in _ASSETS.glob(f"**/{weights.CONFIG}")
    )


def load(
    name: str,
    *,
    dtype: str = "float32",
    image_size: tuple[int, int] | None = None,
    positions: str = "antialias",
    given: Mapping[str, Any] | None = None,
    called: str = "",
) -> tuple[Model, Variables]:
    """A network and its weights.

    `Model.notices` lists what was assumed because neither the file nor its configuration says it.

    Args:
      name: a bundled model; a published one ("timm/vit_base_patch16_224.augreg_in21k_ft_in1k",
        "torchvision/resnet50.IMAGENET1K_V1", see configs/models.py), downloaded the first time;
        or a local folder or file, see `weights.locate`. "my_lab.swin:path" reads it with the family
        module `my_lab.swin`; otherwise the tensors' names decide the family, and where none fits,
        the network of timm, transformers, torchvision or open_clip that the configuration names is
        exported once (needs torch and that library). So is what "torch:my_lab.networks:function"
        returns, see `from_torch.by_function`.
      dtype: "float32" or "bfloat16", for weights and hence computation. Batch norm statistics,
        features and logits are float32 either way.
      image_size: height and width, if not the ones the network was made for; position embeddings
        are resampled by the method `positions`, see `positions.resample`.
      given: "mean", "std", "interpolation" and "crop_pct" in place of the checkpoint's, and
        "num_heads" if it does not give them.
      called: the model's name, if not `name` or a path's last part.

    Returns:
      (model, variables).

    Raises:
      ValueError: there is no such model (lists the nearest names), or the weights fit no network.
      OSError: a file is missing, or could not be fetched.
    """
    if dtype not in PRECISIONS:
        raise ValueError(f"dtype {dtype!r} is not one of {', '.join(PRECISIONS)}")
    prefix, found = _FAMILY.match(name), located(name)
    found = dataclasses.replace(found, name=called or found.name)
    tensors = weights.read_tensors(found.file)
    asked = (dtype, image_size, positions, given or {})
    try:
        return _read(found, tensors, prefix and prefix[1], *asked)
    except ValueError as error:
        new = isinstance(error.__cause__, _Unrecognised)
        if prefix or not (new or importlib.util.find_spec("torch")):
            raise
        found = from_torch.by_library(found, tensors, error)
    return _read(found, weights.read_tensors(found.file), None, *asked)


def _read(
    found: weights.Located,
    tensors: Mapping[str, np.ndarray],
    family_name: str | None,
    dtype: str,
    image_size: tuple[int, int] | None,
    positions: str,
    given: Mapping[str, Any],
) -> tuple[Model, Variables]:
    """A network from its file; see `load`."""
    try:
        said, graphed = {}, found.config is not None and found.config.graph is not None
        library = found.config.package if found.config else ""
        if library == "open_clip" and not family_name:
            raise _Unrecognised("both towers are needed, for captions of classes")
        if not graphed:
            tensors, said = renaming.canonical(tensors)
        family = plugin("models", family_name) if family_name else _family(tensors, graphed)
        if found.config and library == "transformers":
            # Here its configuration must be understood key by key.
            transformers_names.check(found.config.foreign or {})
            config = weights.read_config(found.file.parent / weights.CONFIG)
            keys = (*INPUT, "image_size", "assumed", "notices")
            told = {key: getattr(found.config, key) for key in keys}  # by its preprocessor
            found = dataclasses.replace(found, config=dataclasses.replace(config, **told))
        config = assumed.settled(found, family, tensors, said, given)
        treatment = {key: getattr(config, key) for key in INPUT}
        keywords = family.infer(tensors, config)
        settings.check_asked(config.model_args, family.__name__.rpartition(".")[2])
        model = family.build(name=found.name, **treatment, **keywords)
        notices = assumed.notices(found, family, config, model, keywords, bool(image_size))
        variables = family.convert(tensors, model)
        if image_size and image_size != model.image_size:
            model, variables = family.resized(model, variables, image_size, positions)
        model = dataclasses.replace(model, class_names=_class_names(found.file, config, model))
    except ValueError as error:
        raise ValueError(f"{found.file}: {error}") from error
    unusual = assumed.unusual(family, model)
    return dataclasses.replace(model, notices=notices, settings=unusual), {
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
    treatment["class_names"] = model.class_names
    config = dataclasses.replace(family.config(model), **treatment)
    weights.write_folder(folder, family.export(variables, model), config, dtype)


def describe(model: Model, geometry: Geometry | None = None) -> str:
    """One line: what the model is and how it treats its input.

    A `geometry` that squashes whole photos replaces the model's own treatment:
    "224x224 squashed, bilinear".

    "vit_tiny: 5,717,416 parameters, 1000 classes, 224x224 bicubic, crop 0.9, mean 0.5 0.5 0.5,
    std 0.5 0.5 0.5"
    """
    params = shapes(model.init)["params"]
    size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    height, width = model.image_size
    mean, std = (" ".join(f"{value:g}" for value in values) for values in (model.mean, model.std))
    treatment = f"{model.interpolation}, crop {model.crop_pct:g}"
    if geometry and geometry.resize == "squash":
        treatment = f"squashed, {geometry.interpolation}"
    return (
        f"{model.name}: {size:,} parameters, {model.num_classes} classes, {height}x{width} "
        f"{treatment}, mean {mean}, std {std}"
    )


def without_normalisation(model: Model) -> Model:
    """The same network fed bare pixels: mean 0, std 1 (as the RIVAL10 study was released)."""
    mean, std = (0.0,) * len(model.mean), (1.0,) * len(model.std)
    forward = Network(module_of(model), mean, std)
    return dataclasses.replace(model, forward=forward, mean=mean, std=std)


def with_head(
    model: Model,
    variables: Variables,
    kernel: np.ndarray,
    bias: np.ndarray,
    classes: tuple[str, ...],
) -> tuple[Model, Variables]:
    """The network with another last layer [features, c]: a network of these classes.

    Raises:
      ValueError: its outputs are not one layer on its features, named "head" or "fc".
    """
    module: Any = module_of(model)
    if "num_classes" in {field.name for field in dataclasses.fields(module)}:
        module = module.clone(num_classes=len(classes))
        init = Initialiser(module, model.image_size)
        head, known = {"kernel": kernel, "bias": bias}, shapes(init)["params"]
        for name in ("head", "fc"):
            there = {key: leaf.shape for key, leaf in known.get(name, {}).items()}
            params = {**variables["params"], name: head}
            if there == jax.tree.map(np.shape, head) and params.keys() == known.keys():
                facts = {"num_classes": len(classes), "class_names": classes, "init": init}
                forward = Network(module, model.mean, model.std)
                made = dataclasses.replace(model, forward=forward, **facts)
                return made, {**variables, "params": params}
    raise ValueError(f"{model.name}: its outputs are not one layer on its features")


def located(name: str) -> weights.Located:
    """A model's file and configuration: bundled, exported, or found by `weights.locate`."""
    if name.startswith(from_torch.PREFIX):
        return from_torch.by_function(name)
    name = name[match.end() :] if (match := _FAMILY.match(name)) else name
    if entry := torch_libraries.published(name):
        return weights.fetched(entry)
    if name not in bundled():
        return weights.locate(name, bundled())
    folder = _ASSETS / name
    config = weights.read_config(folder / weights.CONFIG)
    named = weights.class_names.beside(folder.parent)  # one list for all networks on these data
    config = dataclasses.replace(config, class_names=named)
    return weights.Located(folder / weights.TENSORS, name, config)


def _class_names(
    file: pathlib.Path, config: weights.Config, model: Model
) -> tuple[str, ...] | None:
    """The outputs' names; the user's own list precedes the one that came with the weights."""
    if not model.num_classes:
        return None
    named = weights.class_names.beside(file) or config.class_names
    named = named or weights.class_names.in_checkpoint(file)
    if named and len(named) != model.num_classes:
        raise ValueError(
            f"{len(named)} names for {model.num_classes} outputs ({', '.join(named[:3])}, ...); "
            f"give one for each in {' or '.join(weights.class_names.FILES)} beside the weights, or "
            "take label_names (id2label, ...) out of config.json"
        )
    return named


def _cast(dtype: str) -> Callable[[Array], Array]:
    """Of floating point numbers; others are indices and masks, which stay as they are."""

    def cast(leaf: Array) -> Array:
        array = np.asarray(leaf)  # with NumPy: JAX would compile a program for every shape
        floating = jnp.issubdtype(array.dtype, jnp.floating)
        return jax.device_put(array.astype(jnp.dtype(dtype)) if floating else array)

    return cast


class _Unrecognised(ValueError):
    """Tensors of no family here."""


def _family(tensors: Mapping[str, np.ndarray], graphed: bool = False) -> ModuleType:
    if graphed:
        return exported
    names = [info.name for info in pkgutil.iter_modules(__path__)]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    families = [module for module in modules if hasattr(module, "recognises")]
    for family in families:
        if family.recognises(tensors):
            return family
    known = ", ".join(family.__name__.rpartition(".")[2] for family in families)
    some = ", ".join(sorted(tensors)[:5])
    raise _Unrecognised(f"tensors named {some} ... belong to no known family ({known})")
