"""One training of a finetuning: its name, its recipe, where it is kept, the rows of its epochs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rival_jax import models, weights
from rival_jax.configs.finetune import Config
from rival_jax.experiments.finetune.variants import Setting
from rival_jax.experiments.runner import Unit
from rival_jax.runtime import buckets, checksums, hosts
from rival_jax.runtime.members import Trained
from rival_jax.runtime.results import Category, Columns, Run, digest
from rival_jax.runtime.update import Recipe
from rival_jax.types import Model, Variables

CHECKPOINTS = ("best", "last")


@dataclasses.dataclass(frozen=True)
class Job:
    """One training: a setting and a seed."""

    setting: Setting
    seed: int
    depends_on: dict[str, Any]

    @property
    def name(self) -> str:
        """Of its rows and models."""
        return f"{self.setting.name}_seed{self.seed}"

    def folder(self, run: Run, checkpoint: str) -> Path:
        """Where its network is kept, for `models.load`."""
        return run.path / "models" / digest(self.depends_on) / f"{self.name}_{checkpoint}"

    def unit(self, history: list[dict[str, Any]]) -> Unit:
        """Its rows, of the history of its epochs; not looked at if they are there."""
        compute = lambda on_batch: self._rows(history)  # noqa: E731
        return Unit(f"{self.name}/training", self.depends_on, compute, everywhere=True)

    def done(self, run: Run) -> bool:
        """Whether its rows, and so its networks, are there."""
        return run.intact(run.unit_path(f"{self.name}/training", self.depends_on))

    def keep(self, run: Run, model: Model, trained: Trained) -> None:
        """Saves its networks, which all hosts then have."""
        for checkpoint in CHECKPOINTS:
            folder = self.folder(run, checkpoint)
            files = [folder / name for name in (weights.CONFIG, weights.TENSORS)]
            if hosts.first():
                models.save(folder, model, getattr(trained, checkpoint))
                checksums.note(folder)
                for file in files:
                    buckets.push(file)
            hosts.barrier()
            if not hosts.first():
                for file in files:
                    buckets.fetch(file)
                checksums.fetch(folder)

    def _rows(self, history: list[dict[str, Any]]) -> Columns:
        """One row for each epoch, part and term."""
        found = [
            (entry["epoch"], part, term, value, entry["best"], entry["learning_rate"])
            for entry in history
            for part in ("train", "held_out")
            for term, value in sorted((entry[part] or {}).items())
        ]
        epochs, parts, terms, values, best, rates = zip(*found, strict=True)
        zero = np.zeros(len(found), np.int32)
        return {
            "model": Category(zero, [self.name]),
            "variant": Category(zero, [self.setting.name]),
            "seed": np.full(len(found), self.seed, np.int32),
            "epoch": np.array(epochs, np.int32),
            "part": _category(parts),
            "term": _category(terms),
            "value": np.array(values, np.float64),
            "best": np.array(best),
            "learning_rate": np.array([math.nan if r is None else r for r in rates], np.float64),
        }


def kept(folder: Path) -> Variables:
    """A finetuned network's weights, from the folder that `Job.folder` names.

    Raises:
      FileNotFoundError, ValueError: if they are not there as they were saved; names the cure.
    """
    name = folder.name.rpartition("_")[0]
    cure = f"delete {folder.parents[2] / 'rows' / name} to train it again"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is gone, and its rows are there; {cure}")
    if not checksums.holds(folder):
        raise ValueError(f"{folder} is not as it was written; {cure}")
    return models.load(str(folder))[1]


def recipe(config: Config) -> Recipe:
    """The trainer's part of `config.train`."""
    names = ("epochs", "trained", "weight_decay", "decayed", "rate_factor", "rate_every")
    names += ("accumulate", "dtype", "remat", "ties")
    named = {name: getattr(config.train, name) for name in names}
    return Recipe(batch_size=config.train.batch, **named)


def _category(words: Sequence[str]) -> Category:
    values = list(dict.fromkeys(words))
    return Category(np.array([values.index(word) for word in words], np.int32), values)
