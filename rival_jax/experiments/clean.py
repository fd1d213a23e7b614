"""How often networks are right on unchanged photos, and when that makes numbers doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rival_jax.runtime import hosts
from rival_jax.shares import wilson_interval

if TYPE_CHECKING:
    from rival_jax.experiments.subject import Subject

CURE = (
    "Check that the outputs are in the order of the classes, the labels, the head and how the "
    "input is normalised, before anything else here is believed."
)
# For the column that says what was done to a photo: the value for an unchanged one.
UNCHANGED = {"norm": "none", "treatment": "none", "change": "clean"}


class Answers(NamedTuple):
    """A network's answers on unchanged photos, one row each."""

    label: np.ndarray  # str [n]
    predicted: np.ndarray  # str [n]

    @property
    def correct(self) -> np.ndarray:
        """bool [n]"""
        return self.label == self.predicted


def check(subject: Subject, name: str, file: Path) -> None:
    """Stores a network's clean accuracy in `subject.clean`, and notes what makes it doubtful.

    Args:
      subject: the run's.
      name: what the page calls the network.
      file: rows that include unchanged photos; only process 0 reads them.
    """
    if not hosts.first():
        return
    answers = read(file)
    if len(answers.label):
        subject.clean[name] = share(int(answers.correct.sum()), len(answers.correct))
        for text in doubts(name, answers, subject.first_examples().classes):
            subject.note(text)


def read(file: Path) -> Answers:
    """The rows of unchanged photos, each photo once."""
    marks = UNCHANGED.keys() & set(pq.read_schema(file).names)
    table = pq.read_table(file, columns=["example", *Answers._fields, *marks])
    for name in marks:
        table = table.filter(pc.field(name) == UNCHANGED[name])
    example, *found = (np.array(table[n].to_pylist()) for n in ("example", *Answers._fields))
    _, once = np.unique(example, return_index=True)
    return Answers(*(column[once] for column in found))


def share(right: int, images: int) -> dict[str, Any]:
    """The share of images that are right, with its 95 % interval."""
    low, high = wilson_interval(right, images)
    found = {"estimate": right / images, "low": low, "high": high}
    return {**found, "right": right, "images": images}


def doubts(model: str, answers: Answers, classes: Sequence[str]) -> list[str]:
    """Sentences about a network near chance, and about classes that it never gets right.

    Near chance: the interval reaches down to 1 / classes or, with three classes or more, the share
    is at most twice that.
    """
    found, chance = share(int(answers.correct.sum()), len(answers.correct)), 1 / len(classes)
    told = []
    twice = len(classes) > 2 and found["estimate"] <= 2 * chance
    if len(classes) > 1 and (twice or found["low"] <= chance):
        told.append(
            f"{model} is near chance: right on {found['right']} of {found['images']} photos as "
            f"they are ({100 * found['estimate']:.1f} %), where guessing among {len(classes)} "
            f"classes is right on {100 * chance:.1f} %. {CURE}"
        )
    never = []
    for name in classes:
        mine = answers.label == name
        if mine.any() and not answers.correct[mine].any():
            never.append(f"{name} ({mine.sum()} photos{_instead(answers, mine)})")
    if never:
        told.append(f"{model} is never right on photos of {', '.join(never)}. {CURE}")
    return told


def _instead(answers: Answers, mine: np.ndarray) -> str:
    names, counts = np.unique(answers.predicted[mine], return_counts=True)
    return f", {counts.max()} of them taken for {names[counts.argmax()]}"
