"""A finetuning that takes seconds: coloured squares, a tiny ViT."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image
from rich.console import Console

from rival_jax import models
from rival_jax.experiments import runner
from rival_jax.models import vit
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.runtime.plugins import plugin
from rival_jax.runtime.results import Run
from tests.helpers import config_of, draw_study

CLASSES = ("ant", "bee", "cow", "dog")


def draw(folder: Path, prefix: str, per_class: int, *, size: int = 16, seed: int = 0) -> Path:
    """A masked_folder data set of squares whose colour is the class."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(CLASSES):
        for kind in ("images", "masks"):
            (folder / kind / name).mkdir(parents=True)
        for i in range(per_class):
            photo = rng.integers(0, 256, (size, size, 3), np.uint8)
            mask = np.zeros((size, size), np.uint8)
            top, left = rng.integers(0, size // 2, 2)
            mask[top : top + size // 2, left : left + size // 2] = 255
            photo[mask > 0] = np.roll([230, 40, 90], label)
            Image.fromarray(photo).save(folder / "images" / name / f"{prefix}{i}.png")
            Image.fromarray(mask).save(folder / "masks" / name / f"{prefix}{i}.png")
    return folder


def make(folder: Path) -> Path:
    """Train, test and shifted splits below `data`, a network, masks of another kind."""
    draw(folder / "data" / "train", "a", 7)
    draw(folder / "data" / "test", "b", 4, seed=1)
    draw(folder / "shifted" / "test", "c", 4, seed=2)
    save_one_block(folder / "tiny", classes=len(CLASSES))
    return folder


def draw_found(folder: Path) -> Path:
    """The photos that are trained on, with other masks, as if found: what is no object."""
    draw(folder / "train", "a", 7)
    for file in folder.glob("train/masks/*/*.png"):
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    return folder


def save_one_block(folder: Path, *, classes: int = 3, seed: int = 0) -> Path:
    """`helpers.save_tiny_vit` of one block, for what does not depend on their number.

    A second block doubles what is compiled, which takes most of the time.
    """
    size = {"image_size": (16, 16), "patch_size": 8, "width": 16, "depth": 1, "heads": 2}
    model = vit.build(name=folder.name, num_classes=classes, **size)
    models.save(folder, model, jax.jit(model.init)(jax.random.key(seed)))
    return folder


def one_block_study(folder: Path, seed: int = 0) -> Path:
    """The fixture `study` with a network of one block."""
    draw_study(folder / "data")
    save_one_block(folder / "tiny", seed=seed)
    return folder


def config(folder: Path, **changes):
    """The config of a run on `make`'s folder; `changes`: "split.per_class": 3, ..."""
    c = config_of("finetune")
    c.models = (str(folder / "tiny"),)
    c.data.name = c.shifted.name = "masked_folder"
    c.data.root, c.shifted.root = str(folder / "data"), str(folder / "shifted")
    c.split.per_class, c.split.validation_per_class = 4, 2
    c.train.epochs, c.train.batch, c.train.learning_rate = 2, 4, 3e-3
    c.noise.sigmas, c.noise.trials = (0.2, 0.5), 2
    c.statistics.resamples = 40
    c.cache = str(folder / "cache")
    for key, value in changes.items():
        section, _, name = key.rpartition(".")
        (c[section] if section else c)[name] = value
    return c


def sweep(folder: Path, **changes: Any) -> Any:
    """The config of a sweep on `make`'s folder over few sizes; `changes` as for `config`."""
    c: Any = config(folder)
    few: Any = config_of("sweep")
    few.update({k: c[k] for k in ("models", "data", "shifted", "cache")})
    few.train = c.train
    few.variants, few.split.validation_per_class = ("cross_entropy",), 1
    few.noise.sigmas, few.noise.trials, few.statistics.resamples = (0.3,), 1, 40
    few.sizes.update({"per_class": (1, 3), "num_classes": (2, 3)})
    few.update_from_flattened_dict(changes)
    return few


def run_in(folder: Path, config, **options) -> Run:
    """The run, with its report."""
    run, console = Run(folder, config.to_dict(), **options), Console(file=io.StringIO())
    run.log("start", argv=[])
    experiment = plugin("experiments", config.experiment).Experiment(config, console)
    runner.run(experiment, run, console)
    return run


def no_report(*args) -> tuple[Results, Document]:
    """In the place of an experiment's, which takes longer than its rows."""
    return Results([]), Document("", "", (), (), (), (), "")


def row_bytes(run: Run) -> dict[str, bytes]:
    """Every file of rows, by its path."""
    return {
        str(p.relative_to(run.path)): p.read_bytes() for p in run.path.rglob("rows/**/*.parquet")
    }
