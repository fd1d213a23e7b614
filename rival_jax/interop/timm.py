"""To timm: folders that it loads, and its live modules with our weights for comparison."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import models
from rival_jax.models.network import INPUT, module_of
from rival_jax.models.vit import ViT, as_vit
from rival_jax.types import Array, Model, Variables

CARD = "README.md"


def save(
    folder: Path,
    model: Model,
    variables: Variables,
    *,
    dtype: str | None = None,
    card: Mapping[str, Any] | None = None,
) -> None:
    """Writes `model.safetensors`, `config.json` and a model card.

    `timm.create_model("local-dir:<folder>")` and `rival_jax.models.load("<folder>")` read it.

    Args:
      folder: made if it is not there.
      model: of one of our families; CLIP's transformer becomes timm's, with the projection as head.
      variables: the model's weights.
      dtype: the precision to store, such as "float16"; None keeps that of `variables`.
      card: for the model card, heading -> text or table {name: value}; "licence" -> its short name.

    Raises:
      ValueError: timm has no such network.
    """
    model, variables = as_timm(model, variables)
    models.save(folder, model, variables, dtype)
    (folder / CARD).write_text(_card(model, card or {}), encoding="utf-8")


def save_with_card(
    folder: Path, model: Model, variables: Variables, card: Mapping[str, Any]
) -> None:
    """As `save`, or, if timm has no such network, as `models.save` with a card for ourselves."""
    try:
        save(folder, model, variables, card=card)
    except ValueError:
        models.save(folder, model, variables)
        (folder / CARD).write_text(_card(model, card, in_timm=False), encoding="utf-8")


def as_timm(model: Model, variables: Variables) -> tuple[Model, Variables]:
    """The same function as a network that exists in timm.

    Raises:
      ValueError: there is none.
    """
    module = module_of(model)
    if isinstance(module, ViT) and module.projection:
        model, variables = _with_head(model, variables)
    if architecture(model) is None:
        raise ValueError(
            f"timm cannot build {model.name} ({type(module).__name__}); "
            "rival_jax.models.save writes it for ourselves"
        )
    return model, variables


def architecture(model: Model) -> str | None:
    """timm's name of the architecture, or None."""
    module = module_of(model)
    family = sys.modules[type(module).__module__]
    name = family.config(model).architecture
    return None if name == family.__name__.rpartition(".")[2] else name


def arguments(
    model: Model, config: models.weights.Config | None = None
) -> tuple[str, dict[str, Any]]:
    """The name and keywords with which timm's `create_model` builds the network.

    Args:
      model: as `as_timm` gives it.
      config: the user's `config.json`. If it names an architecture, that and its `model_args` are
        used exactly as written, so that any misreading of them shows.
    """
    said = config
    if said is None or not said.architecture:
        said = sys.modules[type(module_of(model)).__module__].config(model)
    args: dict[str, Any] = dict(said.model_args)
    if said is config and said.global_pool is not None:
        args.setdefault("global_pool", said.global_pool)
    if isinstance(module_of(model), ViT):
        args["img_size"] = list(model.image_size)
    return str(said.architecture), {**args, "num_classes": model.num_classes}


def module(model: Model, variables: Variables, config: models.weights.Config | None = None) -> Any:
    """timm's module with these weights, in evaluation mode. Needs torch and timm.

    It takes normalised images [b, 3, h, w]; `config` as in `arguments`. Raises ValueError as
    `as_timm` does.
    """
    torch, timm = map(importlib.import_module, ("torch", "timm"))
    model, variables = as_timm(model, variables)
    family = sys.modules[type(module_of(model)).__module__]
    name, keywords = arguments(model, config)
    built = timm.create_model(name, **keywords)
    tensors = family.export(variables, model)
    floats = {name: torch.tensor(np.asarray(t, np.float32)) for name, t in tensors.items()}
    missing, extra = built.load_state_dict(floats, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or extra:
        raise ValueError(f"timm's {name} lacks {extra} and wants {missing}")
    return built.eval()


def difference(
    model: Model, variables: Variables, images: Array, config: models.weights.Config | None = None
) -> dict[str, float]:
    """The largest differences between our and timm's outputs for images [b, h, w, 3] in [0, 1].

    timm's network is built by `arguments(model, config)`.

    Returns:
      "logits" relative to their largest magnitude, and "attention" over all blocks, if any; at the
      highest precision. Raises ValueError as `as_timm` does.
    """
    torch: Any = importlib.import_module("torch")
    theirs, caught = module(model, variables, config), []
    for block in getattr(theirs, "blocks", ()) if model.attention_taps else ():
        layer = getattr(block, "attn", block)
        layer.fused_attn = False  # the fused form hides its probabilities
        layer.attn_drop.register_forward_pre_hook(lambda _, args: caught.append(args[0]))
    normalised = (np.asarray(images) - np.asarray(model.mean)) / np.asarray(model.std)
    with torch.no_grad():
        wanted = theirs(torch.tensor(normalised.transpose(0, 3, 1, 2), dtype=torch.float32))
    with jax.default_matmul_precision("highest"):
        logits, taps = jax.jit(model.forward)(variables, images, {})
    wanted = wanted.numpy()
    found = {"logits": float(np.abs(logits - wanted).max() / np.abs(wanted).max())}
    if caught:
        pairs = zip(model.attention_taps, caught, strict=True)
        gaps = [float(np.abs(taps[tap] - attention.numpy()).max()) for tap, attention in pairs]
        found["attention"] = max(gaps)
    return found


def _with_head(model: Model, variables: Variables) -> tuple[Model, Variables]:
    module = module_of(model)
    fields = {f.name: getattr(module, f.name) for f in dataclasses.fields(module) if f.init}
    fields = {name: value for name, value in fields.items() if name not in ("name", "parent")}
    plain = ViT(**{**fields, "projection": 0, "num_classes": module.projection})
    params = dict(variables["params"])
    kernel = params.pop("proj")
    params["head"] = {"kernel": kernel, "bias": jnp.zeros(kernel.shape[1], kernel.dtype)}
    treatment = {key: getattr(model, key) for key in INPUT}
    return as_vit(plain, name=model.name, **treatment), {**variables, "params": params}


def _card(model: Model, card: Mapping[str, Any], *, in_timm: bool = True) -> str:
    tags = ["image-classification", *(["timm"] if in_timm else []), "rival_jax"]
    lines = ["---", f"library_name: {'timm' if in_timm else 'rival_jax'}"]
    lines += [f"tags: [{', '.join(tags)}]"]
    if "licence" in card:
        lines.append(f"license: {card['licence']}")
    lines += ["---", f"# {model.name}", "", models.describe(model), "", "## Use", "", "```python"]
    if in_timm:
        lines += [
            "import timm",
            'model = timm.create_model("local-dir:path/to/this/folder", pretrained=True)',
            "",
        ]
    lines += [
        "import rival_jax.models",
        'model, variables = rival_jax.models.load("path/to/this/folder")',
        "```",
    ]
    for heading, content in card.items():
        if heading == "licence":
            continue
        lines += ["", f"## {heading}", ""]
        if isinstance(content, Mapping):
            rows = [f"| {name} | {value} |" for name, value in content.items()]
            lines += ["| | |", "| --- | --- |", *rows]
        else:
            lines.append(str(content))
    return "\n".join(lines) + "\n"
