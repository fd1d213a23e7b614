"""Finished runs read back and joined: every model on the same images under the same noise."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rival_jax import statistics
from rival_jax.experiments.groups import with_singles
from rival_jax.named import Axis, Named
from rival_jax.report.run_files import read_json
from rival_jax.report.study import Images, per_image, read_images
from rival_jax.runtime.names import short

PLACE = ("norm", "level", "region")
COLUMNS = ("probability", "correct")
REGIONS = ("clean", "foreground", "background", "all")
Place = tuple[str, float, str]


class Joined(NamedTuple):
    """One or more finished runs."""

    images: Images  # "probability" of the true class and "correct": means over trials
    by_trial: Named  # accuracy of every trial alone: "trial", "model", ("norm", "level", "region")
    data: Mapping[str, Any]  # data.json of the first, with what all of them have to say
    cards: Sequence[Mapping[str, Any]]  # models.json of all, by title
    folders: Sequence[Path]

    @property
    def models(self) -> tuple[str, ...]:
        """Titles of the models."""
        return tuple(card["name"] for card in self.cards)

    @property
    def trials(self) -> int:
        """Noise draws per image, region and level."""
        return len(self.by_trial.values)

    def groups(self, named: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """The `named` groups, then every other model alone; {} if no group has several.

        Raises:
          ValueError: for a group with a model that is not there, or the name of a model.
        """
        for name, members in named.items():
            if name in self.models and list(members) != [name]:
                raise ValueError(f"group {name!r} has the name of a model; give it another")
        found = with_singles(self.models, named)
        return {} if all(len(members) == 1 for members in found.values()) else found


class _Model(NamedTuple):
    """One model of a run; its images and places are in an order of its own."""

    title: str
    folder: Path
    data: Mapping[str, Any]
    card: Mapping[str, Any]
    images: Images  # means over trials; axes: example, `PLACE`
    by_trial: Named  # accuracy, NaN where there is no such trial; axes: trial, `PLACE`
    trials: Mapping[Place, int]  # how many


def read(*workdirs: str | os.PathLike) -> Joined:
    """Joins finished runs; a model that is in several of them gets its run's path appended.

    One model is read at a time, so that trials never pile up in memory.

    Raises:
      FileNotFoundError: for a folder without a finished run.
      ValueError: for no folder at all, runs on different examples, levels, regions or trials, and
        runs that stopped halfway; names the first difference.
    """
    if not workdirs:
        raise ValueError("no runs to read; name the workdir of at least one rfs run")
    models = [model for workdir in workdirs for model in _read_run(Path(workdir))]
    once = Counter(model.title for model in models)
    models = [
        m if once[m.title] == 1 else m._replace(title=f"{m.title} ({m.folder})") for m in models
    ]
    _check_images(models)
    first, places = models[0], _places(models)
    noisy = places._replace(keys=tuple(key for key in places.keys if key[0] != "none"))
    count = min((first.trials[place] for place in noisy.keys), default=0)
    trials = Axis(("trial",), tuple((trial,) for trial in range(count)))
    values = {}
    for column in COLUMNS:
        parts = [model.images.values[column] for model in models]
        values[column] = _side_by_side(models, parts, parts[0].axes[0], places)
    notices = [notice for model in models for notice in model.data.get("notices", [])]
    return Joined(
        first.images._replace(values=values),
        _side_by_side(models, [model.by_trial for model in models], trials, noisy),
        {**first.data, "notices": list(dict.fromkeys(notices))},
        [{**model.card, "name": model.title} for model in models],
        [*dict.fromkeys(model.folder for model in models)],
    )


def _side_by_side(models: Sequence[_Model], parts: Sequence[Named], *axes: Axis) -> Named:
    """Every model's part of an array, with equal axes; "model" becomes the second axis."""
    alike = [functools.reduce(Named.reordered, axes, part).values for part in parts]
    titles = Axis(("model",), tuple((model.title,) for model in models))
    return per_image(np.stack(alike, 1), (axes[0], titles, axes[1]))


def _read_run(path: Path) -> Iterator[_Model]:
    data, cards, units = (read_json(path / f"{name}.json") for name in ("data", "models", "units"))
    if not isinstance(units, dict):
        raise ValueError(f"{path / 'units.json'} names no units; run the same command again")
    for card in cards:
        name, classes = card["name"], data["classes"]
        files = [path / file for unit, file in units.items() if unit.rpartition("/")[0] == name]
        if f"{name}/clean" not in units:
            raise ValueError(
                f"{path}: no rows for the clean images of model {name}; the run is not finished: "
                "run the same command again"
            )
        found = read_images(files, (PLACE, "trial"), COLUMNS, classes)
        correct = found.values["correct"]
        trials = _trials(f"{path}: model {name}", correct)
        means = {
            column: per_image(np.nanmean(one.values, 2), one.axes[:2])
            for column, one in found.values.items()
        }
        of_class = statistics.class_means(np.asarray(correct.values), found.labels, len(classes))
        accuracy = of_class[np.unique(found.labels)].mean(0).T
        by_trial = per_image(accuracy, (correct.axes[2], correct.axes[1]))
        yield _Model(name, path, data, card, found._replace(values=means), by_trial, trials)


def _trials(model: str, correct: Named) -> dict[Place, int]:
    """How many trials every place has. Raises ValueError if an image lacks one that others have."""
    found = {}
    there = np.isfinite(correct.values).swapaxes(0, 1)  # [places, images, trials]
    for place, some in zip(correct.axes[1].keys, there, strict=True):
        found[place] = trials = int(some.any(0).sum())
        if (count := int(some.sum())) < (size := trials * len(some)):
            raise ValueError(
                f"{model}, {place[0]} {place[1]:g} {place[2]} has {count} of {size} rows ({trials} "
                f"trials x {len(some)} examples); delete its file and run the same command again"
            )
    return found


def _check_images(models: Sequence[_Model]) -> None:
    """Raises ValueError if models were measured on different images or classes."""
    first, titles = models[0], [model.title for model in models]
    _check_same("data set", titles, [model.data["name"] for model in models])
    names = set(first.images.names)
    for model in models:
        if odd := sorted(names ^ set(model.images.names)):
            raise ValueError(
                f"model {model.title}: {len(model.images.names)} examples where the first model "
                f"has {len(names)} ({odd[0]} is in one of them only); models are compared on the "
                "same examples, so report these runs separately"
            )
    _check_same("classes", titles, [tuple(model.data["classes"]) for model in models])
    labels = [sorted(zip(m.images.names, m.images.labels.tolist(), strict=True)) for m in models]
    _check_same("labels", titles, [tuple(label for _, label in some) for some in labels])
    _check_same("pictures (fingerprint)", titles, [model.data["fingerprint"] for model in models])


def _places(models: Sequence[_Model]) -> Axis:
    """What all models have rows of, the clean images first, levels ascending.

    Raises:
      ValueError: if one has others, or another number of trials.
    """
    every = {place for model in models for place in model.trials}
    found: list[Place] = []
    for norm in dict.fromkeys(["none", *(place[0] for model in models for place in model.trials)]):
        levels = sorted({place[1] for place in every if place[0] == norm})
        regions = {place[2] for place in every if place[0] == norm}
        regions = sorted(regions, key=REGIONS.index)
        here = [(norm, level, region) for level in levels for region in regions]
        told = {
            f"{model.title} at level {place[1]:g} ({place[2]})": model.trials.get(place, 0)
            for model in models
            for place in here
        }
        _check_same(f"trials under {norm} noise", [*told], [*told.values()])
        found += here
    return Axis(PLACE, tuple(found))


def _check_same(what: str, titles: Sequence[str], values: Sequence[Any]) -> None:
    for title, value in zip(titles, values, strict=True):
        if value != values[0]:
            raise ValueError(
                f"{what}: {title} has {short(str(value), 80)}, {titles[0]} has "
                f"{short(str(values[0]), 80)}; only runs on the same examples under the same noise "
                "can be compared: finish the one that has less, or report them separately"
            )
