"""What a network is, is fed and sees; and the same from timm, if it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from rival_jax import data, models, weights
from rival_jax.configs import typed
from rival_jax.configs.check_model import Config
from rival_jax.data import files, transforms
from rival_jax.data.class_maps import imagenet
from rival_jax.experiments.preprocessing import preprocessing
from rival_jax.interop import timm
from rival_jax.runtime import footprint
from rival_jax.runtime.results import Run
from rival_jax.types import Array, Geometry, Model, Variables

ONE_PROCESS = True  # not for several hosts

DRAWN = 4  # scenes, if no photos are named


def dry_run(config: Any, console: Console) -> None:
    """Checks what a run would check and prints the networks, without a forward pass."""
    config = typed(Config, config)
    photos(config)
    for name in config.models:
        console.print(models.describe(_load(config, name)[0]))
    console.print("nothing was run")


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Looks at each network in turn; returns what was found.

    Raises:
      ValueError: a network's outputs differ from timm's by more than `config.tolerance`; raised
        after everything is printed and saved.
    """
    config = typed(Config, config)
    paths, found = photos(config), []
    for name in config.models:
        model, variables = _load(config, name)
        images, shown = _images(model, paths)
        facts = look(model, variables, images, console)
        facts["top"] = _top(config, model, variables, images, shown, console)
        written = models.located(name).config
        facts["difference"] = _compared(config, written, model, variables, images, console)
        found.append(facts)
    run.save_json("summary.json", {"models": found})
    wrong = [
        f"{facts['name']} {what} {value:.1e}"
        for facts in found
        for what, value in (facts["difference"] or {}).items()
        if not value <= config.tolerance
    ]
    if wrong:
        raise ValueError(
            f"differs from timm by more than {config.tolerance:g}: {'; '.join(wrong)}; the weights "
            "are read, but the network is another: check config.json's model_args"
        )
    return {"models": found}


def look(model: Model, variables: Variables, images: Array, console: Console) -> dict[str, Any]:
    """Prints and returns parameters, operations, input and taps."""
    console.print(f"\n{models.describe(model)}")
    for notice in model.notices:
        console.print(f"note: {notice}", markup=False)
    forward = jax.jit(lambda v, x: model.forward(v, x, {})[0])
    cost = footprint.measure(forward, variables, images)
    size = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    console.print(
        f"{cost.flops / 1e9:.2f} GFLOP and {1e3 * cost.seconds:.1f} ms per image here; "
        f"class maps read {model.cam_tap!r}, probes {model.feature_tap!r}"
    )
    shapes = jax.eval_shape(lambda v, x: model.forward(v, x, {})[1], variables, images)
    table = Table("tap", "shape per image", "precision")
    for tap, value in shapes.items():
        table.add_row(tap, " x ".join(map(str, value.shape[1:])), str(value.dtype))
    console.print(table)
    return {
        "name": model.name,
        "parameters": size,
        "flops": cost.flops,
        "input": {"size": model.image_size, "mean": model.mean, "std": model.std},
        "notices": list(model.notices),
        "taps": {tap: value.shape[1:] for tap, value in shapes.items()},
    }


def photos(config: Config) -> list[Path]:
    """The photos of `config.images`; photos in a folder are sorted by name.

    Raises:
      FileNotFoundError: there is no such file, or a folder holds no photo.
    """
    found = []
    for name in map(Path, config.images):
        inside = [p for p in sorted(name.rglob("*")) if files.suffix(p.name) in files.SUFFIXES]
        if not name.is_file() and not inside:
            raise FileNotFoundError(f"config.images: no photo at {name}")
        found += [name] if name.is_file() else inside
    return found


def _load(config: Config, name: str) -> tuple[Model, Variables]:
    size = (config.image_size, config.image_size) if config.image_size else None
    given = preprocessing(config)
    return models.load(name, dtype=config.dtype, image_size=size, given=given)


def _images(model: Model, paths: list[Path]) -> tuple[Array, list[str]]:
    """Images [b, h, w, 3] in the network's geometry, and their names."""
    if not paths:
        geometry = Geometry(model.image_size)
        drawn = data.Examples(data.load("scenes", "", "test", per_class=1), geometry)
        return jnp.asarray(drawn.images[:DRAWN] / np.float32(255)), list(drawn.names[:DRAWN])
    geometry = Geometry(model.image_size, "crop", model.interpolation, model.crop_pct)
    pixels = [transforms.resize_photo(transforms.open_photo(p, p.name), geometry) for p in paths]
    return jnp.asarray(np.stack(pixels) / np.float32(255)), [path.name for path in paths]


def _top(
    config: Config,
    model: Model,
    variables: Variables,
    images: Array,
    shown: list[str],
    console: Console,
) -> list[dict[str, float]]:
    """Prints and returns the likeliest classes of each image; none for a network without a head."""
    if not model.num_classes:
        console.print("no head: its outputs are features")
        return []
    labels = _labels(config, model.num_classes)
    logits = jax.jit(model.forward)(variables, images, {})[0]
    table, found = Table("image", f"top {config.top}"), []
    for name, row in zip(shown, np.asarray(jax.nn.softmax(logits)), strict=True):
        best = np.argsort(-row, kind="stable")[: config.top]
        found.append({labels[i]: round(float(row[i]), 4) for i in best})
        table.add_row(name, "  ".join(f"{labels[i]} {100 * row[i]:.1f} %" for i in best))
    console.print(table)
    return found


def _labels(config: Config, classes: int) -> list[str]:
    if config.labels:
        labels = Path(config.labels).read_text(encoding="utf-8").splitlines()
        if len(labels) != classes:
            raise ValueError(
                f"config.labels: {config.labels} has {len(labels)} lines, the network {classes} "
                "classes; give one name a line"
            )
        return labels
    return [one.wnid for one in imagenet()] if classes == 1000 else list(map(str, range(classes)))


def _compared(
    config: Config,
    written: weights.Config | None,
    model: Model,
    variables: Variables,
    images: Array,
    console: Console,
) -> dict[str, float] | None:
    """Prints and returns the largest differences from timm; None if timm cannot compute them."""
    here = importlib.util.find_spec("timm") and importlib.util.find_spec("torch")
    if config.compare == "none" or (config.compare == "auto" and not here):
        console.print("not compared" + ("" if here else ": timm and torch are not installed"))
        return None
    if not here:
        raise ValueError("config.compare='timm' needs torch and timm: pip install torch timm")
    try:
        difference = timm.difference(model, variables, images, written)
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        if config.compare == "timm":  # else: timm lacks the network, or cannot run it
            raise
        console.print(f"not compared: {error}")
        return None
    if written is None or not written.architecture:
        console.print("timm's network was built as the weights were read: no config.json names it")
    for what, value in difference.items():
        verdict = "agree" if value <= config.tolerance else "DIFFER"
        console.print(f"{what} and timm's {verdict}: largest difference {value:.1e}")
    return difference
