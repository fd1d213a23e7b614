"""Tolerances with names, and readers of the reference data."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from rival_jax import models
from rival_jax.models import vit

EXACT = 1e-6  # pixels
REFERENCE = 1e-5  # probabilities, RFS, figure numbers
PARITY = 1e-4  # logits, features, maps

QUICKLY = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""`jit` for programs that are compiled for far longer than they run."""


def golden(shared: Path, name: str) -> dict[str, np.ndarray]:
    """One `.npz` of the RIVAL10 reference data, as a dict."""
    with np.load(shared / "golden" / "rival10" / name) as file:
        return dict(file)


def nhwc(array: np.ndarray) -> np.ndarray:
    """The reference data's channels-first pictures [..., c, h, w], channels last."""
    return np.moveaxis(array, -3, -1)


def draw_study(folder: Path, *, classes: int = 3, per_class: int = 5, size: int = 16) -> Path:
    """A masked_folder data set: coloured squares on noise, in `folder`."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        for kind in ("images", "masks"):
            (folder / kind / f"class{label}").mkdir(parents=True)
        for i in range(per_class):
            photo = rng.integers(0, 256, (size, size, 3), np.uint8)
            mask = np.zeros((size, size), np.uint8)
            top, left = rng.integers(0, size // 2, 2)
            mask[top : top + size // 2, left : left + size // 2] = 255
            photo[mask > 0] = np.roll([230, 40, 90], label)
            name = f"class{label}/{i}.png"
            Image.fromarray(photo).save(folder / "images" / name)
            Image.fromarray(mask).save(folder / "masks" / name)
    return folder


def save_tiny_vit(folder: Path, *, classes: int = 3, size: int = 16, seed: int = 0) -> Path:
    """A ViT of random weights, as a hub-layout folder."""
    model = vit.build(
        name=folder.name,
        image_size=(size, size),
        num_classes=classes,
        patch_size=8,
        width=16,
        depth=2,
        heads=2,
    )
    models.save(folder, model, model.init(jax.random.key(seed)))
    return folder


def config_of(name: str, preset: str = "", *, module: bool = False):
    """A file of configs/ as the command line gives it, or its module."""
    path = Path(__file__).parent.parent / "configs" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"configs_{name}", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded if module else loaded.get_config(preset).lock()


def tiny_rfs(study: Path, cache: Path):
    """A config of rfs that takes seconds: the fixture `study`, both norms."""
    config = config_of("rfs")
    config.models = (str(study / "tiny"),)
    config.data.name = "masked_folder"
    config.data.root = str(study / "data")
    config.noise.norms = ("linf", "l2")
    config.noise.sigmas = (0.1, 0.4)
    config.noise.epsilons = (2.0,)
    config.noise.trials = 4
    config.statistics.resamples = 50
    config.cache = str(cache)
    return config
