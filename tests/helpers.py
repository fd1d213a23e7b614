"""Tolerances with names, and readers of the reference data."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from rival_jax import models
from rival_jax.configs import typed
from rival_jax.experiments import runner
from rival_jax.models import vit
from rival_jax.report.results import Results
from rival_jax.runtime.plugins import plugin
from rival_jax.runtime.results import Run
from tests.golden import REQUIRED, SHARED

EXACT = 1e-6  # pixels
REFERENCE = 1e-5  # probabilities, RFS, figure numbers
PARITY = 1e-4  # logits, features, maps

QUICKLY = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""`jit` for programs that are compiled for far longer than they run."""


SMALL = not (REQUIRED or SHARED.is_dir())
"""tests/golden stands for the reference data."""


def held(cases, *, left_out: Iterable) -> list:
    """Cases of a test; where tests/golden stands for the reference data, those that it has."""
    return [case for case in cases if not (SMALL and case in left_out)]


class _Part(dict):
    """Arrays of tests/golden: a test that asks for one that is not among them is skipped."""

    def __missing__(self, name):
        pytest.skip(f"{name} is only in the whole reference data; set RIVAL_JAX_SHARED")


def golden(shared: Path, name: str) -> dict[str, np.ndarray]:
    """One `.npz` of the RIVAL10 reference data, as a dict."""
    with np.load(shared / "golden" / "rival10" / name) as file:
        return _Part(file) if SMALL else dict(file)


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
    models.save(folder, model, jax.jit(model.init)(jax.random.key(seed)))
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


def quiet():
    """A console whose text is kept: `.file.getvalue()`."""
    return Console(file=io.StringIO())


def run_in(folder, config, console=None):
    """Runs a config's experiment in a work directory: (the run, its table of results)."""
    console = console or quiet()
    run = Run(folder, config.to_dict())
    run.log("start", argv=[])
    made = plugin("experiments", config.experiment).Experiment(config, console)
    runner.run(made, run, console)
    return run, Results.read(folder) if (run.path / "summary.parquet").exists() else None


def dry_run(config):
    """What a dry run of a config says."""
    console = quiet()
    runner.dry_run(plugin("experiments", config.experiment).Experiment(config, console), console)
    return console.file.getvalue()


def row_bytes(folder):
    """The files of rows in a work directory, by name."""
    return {p.name: p.read_bytes() for p in sorted((folder / "rows").rglob("*.parquet"))}


def frozen(config):
    """A config as the dataclass that its experiment makes of it."""
    return typed(importlib.import_module(f"rival_jax.configs.{config.experiment}").Config, config)
