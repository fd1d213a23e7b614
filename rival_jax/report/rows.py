"""Result rows on disk, read back as arrays: a unit is one noise level of one model."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rival_jax import statistics
from rival_jax.runtime import row_files
from rival_jax.runtime.results import parsed

REGIONS = ("clean", "foreground", "background", "all")
TEXT = ("model", "dataset", "example", "label", "region", "norm")
COLUMNS = (*TEXT, "level", "trial", "probability", "correct")


@dataclasses.dataclass(frozen=True)
class Unit:
    """One noise level of one model, or its clean images (norm "none"), averaged over trials."""

    model: str
    dataset: str
    norm: str
    level: float
    regions: tuple[str, ...]
    names: tuple[str, ...]  # of the examples, in the order of the file
    labels: np.ndarray  # int32 [n], into the run's classes
    probability: np.ndarray  # float32 [r, n], of the true class
    correct: np.ndarray  # float32 [r, n], share of the trials
    by_trial: np.ndarray  # float32 [t, r, c], accuracy of each class in each trial; NaN: no example

    def ordered(self, names: tuple[str, ...]) -> Unit:
        """The same unit with its examples in the order of `names`.

        Raises:
          ValueError: if the examples are not the same; names one that only one side has.
        """
        if self.names == names:
            return self
        if odd := sorted(set(self.names) ^ set(names)):
            raise ValueError(
                f"model {self.model}, {self.norm} {self.level:g}: {len(self.names)} examples where "
                f"the first model has {len(names)} ({odd[0]} is in one of them only); models are "
                "compared on the same examples, so report these runs separately"
            )
        position = {name: i for i, name in enumerate(self.names)}
        order = [position[name] for name in names]
        return dataclasses.replace(
            self,
            names=names,
            labels=self.labels[order],
            probability=self.probability[:, order],
            correct=self.correct[:, order],
        )


def read_json(path: Path) -> Any:
    """One of a run's JSON files.

    Raises:
      FileNotFoundError: if it is not there; names the cure.
      ValueError: if it is damaged; names the cure.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; name the workdir of a finished rfs run")
    return parsed(path)


def read_argv(workdir: Path) -> list[str]:
    """The last command line of a run, from its log; lines that are damaged are passed over."""
    log = workdir / "log.jsonl"
    lines = log.read_text("utf-8", errors="replace").splitlines() if log.is_file() else []
    for line in reversed(lines):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return [str(word) for word in json.loads(line)["argv"]]
    return []


def read_units(workdir: Path, classes: Sequence[str]) -> Iterator[Unit]:
    """The units of a run, one at a time, so that trials never pile up in memory.

    Those that `units.json` lists, in its order: a folder may hold rows of earlier settings too.

    Raises:
      FileNotFoundError: if the run is not finished.
      ValueError: if a unit lacks rows or has some twice, or for a label not in `classes`.
    """
    for name in read_json(workdir / "units.json"):
        file = workdir / name
        table = row_files.read(file, COLUMNS, TEXT)
        columns = {name: _column(table.column(name)) for name in COLUMNS}
        levels, level = np.unique(columns["level"], return_inverse=True)
        (model, models), (norm, norms) = columns["model"], columns["norm"]
        shape = (len(models), len(norms), len(levels))
        key = np.ravel_multi_index((model, norm, level), shape)
        for one in np.unique(key):
            yield _unit(file, columns, np.flatnonzero(key == one), classes)


def _column(column: pa.ChunkedArray) -> Any:
    """A numpy array; for text (codes, words)."""
    if not pa.types.is_dictionary(column.type):
        return column.to_numpy()
    array = column.unify_dictionaries().combine_chunks()
    return array.indices.to_numpy(), np.array(array.dictionary.to_pylist(), dtype=object)


def _unit(file: Path, columns: dict, rows: np.ndarray, classes: Sequence[str]) -> Unit:
    text = {name: (columns[name][0][rows], columns[name][1]) for name in TEXT}
    word = {name: words[codes[0]] for name, (codes, words) in text.items()}
    level = float(columns["level"][rows[0]])
    codes, first, inverse = np.unique(text["example"][0], return_index=True, return_inverse=True)
    order = np.argsort(first)  # the examples in the order of the file
    example = np.argsort(order)[inverse]
    words = text["region"][1]
    present = [words[code] for code in np.unique(text["region"][0])]
    regions = tuple(sorted(present, key=REGIONS.index))
    number = np.array([regions.index(w) if w in regions else -1 for w in words])
    trial = np.maximum(columns["trial"][rows], 0)
    shape = (len(regions), int(trial.max()) + 1, len(codes))
    cell = np.ravel_multi_index((number[text["region"][0]], trial, example), shape)
    count = np.bincount(cell, minlength=np.prod(shape))
    if (count != 1).any():
        raise ValueError(
            f"{file}: model {word['model']}, {word['norm']} {level:g} has {(count > 0).sum()} of "
            f"{count.size} rows ({shape[0]} regions x {shape[1]} trials x {shape[2]} examples) and "
            f"{(count > 1).sum()} more than once; delete the file and run the same command again"
        )
    probability, correct = np.empty(shape, np.float32), np.empty(shape, np.float32)
    probability.flat[cell] = columns["probability"][rows]
    correct.flat[cell] = columns["correct"][rows]
    labels = _labels(file, text["label"][1][text["label"][0][first[order]]], classes)
    by_trial = statistics.class_means(np.moveaxis(correct, -1, 0), labels, len(classes))
    return Unit(
        model=word["model"],
        dataset=word["dataset"],
        norm=word["norm"],
        level=level,
        regions=regions,
        names=tuple(text["example"][1][codes[order]]),
        labels=labels,
        probability=probability.mean(1, dtype=np.float64).astype(np.float32),
        correct=correct.mean(1, dtype=np.float64).astype(np.float32),
        by_trial=np.moveaxis(by_trial, (0, 1, 2), (2, 1, 0)).astype(np.float32),
    )


def _labels(file: Path, words: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    index = {name: i for i, name in enumerate(classes)}
    if unknown := sorted(set(words) - set(index)):
        raise ValueError(
            f"{file}: label {unknown[0]!r} is not one of the classes in data.json "
            f"({', '.join(classes[:12])}); the folder mixes two runs, use a fresh --workdir"
        )
    return np.array([index[word] for word in words], np.int32)
