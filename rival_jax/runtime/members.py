"""The inputs and outputs of a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rival_jax.runtime.results import Category, Columns
from rival_jax.types import Batch, Variables

PARTS = ("train", "held_out")  # of an entry of a history, see `train.fit`


@dataclasses.dataclass(frozen=True)
class Member:
    """One of the trainings that run in one program."""

    name: str
    seed: int
    learning_rate: float
    numbers: Mapping[str, float]  # options of the objective that may differ within one program


@dataclasses.dataclass(frozen=True)
class Data:
    """Sources of the trainings' batches; pure functions of their arguments.

    With several hosts, a batch is this host's part of one: equally many rows for each device of any
    host, padded with rows of index -1.
    """

    per_epoch: int  # batches
    train: Callable[[int, int, int], Iterator[Batch]]  # (seed, epoch, first batch) -> the rest
    held_out: Callable[[int], Iterator[Batch]]  # seed -> the batches that epochs are compared on
    name: Callable[[int, int], str]  # (seed, index in a batch) -> the example's name


@dataclasses.dataclass(frozen=True)
class Watch:
    """Callbacks while a training runs; called on every host."""

    on_step: Callable[[int], None] = lambda images: None  # images of this host's part
    on_epoch: Callable[[dict[str, Any]], None] = lambda entry: None  # one member's entry
    say: Callable[[str], object] = print


@dataclasses.dataclass(frozen=True)
class Trained:
    """One training's outcome, as NumPy arrays."""

    best: Variables  # from the epoch with the smallest held-out loss
    last: Variables
    history: list[dict[str, Any]]  # see `train.fit`


def of_member(entry: Mapping[str, Any], place: int) -> dict[str, Any]:
    """One member's part of an entry of the joint history; "best" means best so far."""
    train, rates, better = entry["train"], entry["learning_rate"], entry["better"]
    return {
        "epoch": entry["epoch"],
        "learning_rate": rates[place] if rates else None,
        "train": train and {name: values[place] for name, values in train.items()},
        "held_out": {name: values[place] for name, values in entry["held_out"].items()},
        "best": bool(better and better[place]),
    }


def columns(history: Sequence[Mapping[str, Any]], told: Mapping[str, str | int]) -> Columns:
    """A training's history as rows: one for each epoch, part and term.

    Args:
      history: see `train.fit`.
      told: words and numbers that all rows have.
    """
    found = [
        (entry["epoch"], part, term, value, entry["best"], entry["learning_rate"])
        for entry in history
        for part in PARTS
        for term, value in sorted((entry[part] or {}).items())
    ]
    epochs, parts, terms, values, best, rates = zip(*found, strict=True)
    made = {
        name: Category.of([value] * len(found))
        if isinstance(value, str)
        else np.full(len(found), value, np.int32)
        for name, value in told.items()
    }
    return {
        **made,
        "epoch": np.array(epochs, np.int32),
        "part": Category.of(parts),
        "term": Category.of(terms),
        "value": np.array(values, np.float64),
        "best": np.array(best),
        "learning_rate": np.array(rates, np.float64),  # NaN for None
    }
