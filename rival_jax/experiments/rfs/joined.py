"""Finished runs read back and joined: every model on the same images under the same noise."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
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
    """One model of a run; the images and places are in an order of its own."""

    title: str
    folder: Path
    data: Mapping[str, Any]
    card: Mapping[str, Any]
    names: tuple[str, ...]  # of the images
    labels: np.ndarray
    places: tuple[Place, ...]
    means: Mapping[str, np.ndarray]  # over trials [image, place], by column
    by_trial: np.ndarray  # accuracy [place, trial], NaN where there is no such trial
    settings: Mapping[tuple[str, float], tuple[tuple[str, ...], int]]
    """(norm, level) -> (regions, number of trials)"""


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
    first, once = models[0], Counter(model.title for model in models)
    titles = [m.title if once[m.title] == 1 else f"{m.title} ({m.folder})" for m in models]
    models = [m._replace(title=title) for m, title in zip(models, titles, strict=True)]
    _check_same("data set", titles, [model.data["name"] for model in models])
    order = [_order(model, first) for model in models]
    _check_same("classes", titles, [tuple(model.data["classes"]) for model in models])
    labels = [model.labels[mine] for model, mine in zip(models, order, strict=True)]
    _check_same("labels", titles, [tuple(mine) for mine in labels])
    _check_same("pictures (fingerprint)", titles, [model.data["fingerprint"] for model in models])
    places = _places(models)
    where = [[model.places.index(place) for place in places] for model in models]
    named = Axis(("model",), tuple((title,) for title in titles)), Axis(PLACE, places)
    names, values = Axis(("example",), tuple((name,) for name in first.names)), {}
    for column in COLUMNS:
        every = zip(models, order, where, strict=True)
        means = [model.means[column][np.ix_(mine, there)] for model, mine, there in every]
        values[column] = per_image(np.stack(means, 1), (names, *named))
    notices = [notice for model in models for notice in model.data.get("notices", [])]
    return Joined(
        Images(values, first.labels, tuple(first.data["classes"])),
        _by_trial(models, titles, [place for place in places if place[0] != "none"]),
        {**first.data, "notices": list(dict.fromkeys(notices))},
        [{**model.card, "name": model.title} for model in models],
        [*dict.fromkeys(model.folder for model in models)],
    )


def _by_trial(models: Sequence[_Model], titles: Sequence[str], noisy: Sequence[Place]) -> Named:
    """[trial, model, place]"""
    accuracy = [model.by_trial[[model.places.index(place) for place in noisy]] for model in models]
    values = np.stack([one[:, np.isfinite(one).all(0)].T for one in accuracy], 1)
    trials = Axis(("trial",), tuple((trial,) for trial in range(len(values))))
    names = Axis(("model",), tuple((title,) for title in titles))
    return per_image(values, (trials, names, Axis(PLACE, tuple(noisy))))


def _read_run(path: Path) -> list[_Model]:
    data, cards, units = (read_json(path / f"{name}.json") for name in ("data", "models", "units"))
    if not isinstance(units, dict):
        raise ValueError(f"{path / 'units.json'} names no units; run the same command again")
    models = []
    for card in cards:
        name, classes = card["name"], data["classes"]
        files = [path / file for unit, file in units.items() if unit.rpartition("/")[0] == name]
        if f"{name}/clean" not in units:
            raise ValueError(
                f"{path}: no rows for the clean images of model {name}; the run is not finished: "
                "run the same command again"
            )
        found = read_images(files, (PLACE, "trial"), COLUMNS, classes)
        settings = _settings(f"{path}: model {name}", found)
        values = {column: np.asarray(one.values) for column, one in found.values.items()}
        means = {column: np.nanmean(one, 2) for column, one in values.items()}
        of_class = statistics.class_means(values["correct"], found.labels, len(classes))
        by_trial = of_class[np.unique(found.labels)].mean(0)
        places = found.values["correct"].axes[1].keys
        facts = (name, path, data, card, found.names, found.labels, places)
        models.append(_Model(*facts, means, by_trial, settings))
    return models


def _settings(model: str, found: Images) -> dict[tuple[str, float], tuple[tuple[str, ...], int]]:
    """See `_Model.settings`. Raises ValueError if an image lacks a trial that others have."""
    correct, settings = found.values["correct"], {}
    places: Sequence[Place] = correct.axes[1].keys
    for norm, level in dict.fromkeys(place[:2] for place in places):
        where = [i for i, place in enumerate(places) if place[:2] == (norm, level)]
        there = np.isfinite(correct.values[:, where])
        trials, count = int(there.any((0, 1)).sum()), int(there.sum())
        if count < (size := len(found.names) * len(where) * trials):
            raise ValueError(
                f"{model}, {norm} {level:g} has {count} of {size} rows ({len(where)} regions x "
                f"{trials} trials x {len(found.names)} examples); delete its file and run the same "
                "command again"
            )
        regions = sorted((places[i][2] for i in where), key=REGIONS.index)
        settings[norm, level] = tuple(regions), trials
    return settings


def _order(model: _Model, first: _Model) -> list[int]:
    """The positions of the first model's images. Raises ValueError if they are others."""
    if odd := sorted(set(model.names) ^ set(first.names)):
        raise ValueError(
            f"model {model.title}: {len(model.names)} examples where the first model has "
            f"{len(first.names)} ({odd[0]} is in one of them only); models are compared on the "
            "same examples, so report these runs separately"
        )
    place = {name: i for i, name in enumerate(model.names)}
    return [place[name] for name in first.names]


def _places(models: Sequence[_Model]) -> tuple[Place, ...]:
    """What all models have rows of, the clean images first, levels ascending.

    Raises:
      ValueError: if one has others, or another number of trials.
    """
    norms = ["none", *(norm for model in models for norm, _ in model.settings)]
    every = {level for model in models for level in model.settings}
    levels = sorted(every, key=lambda level: (norms.index(level[0]), level[1]))
    for model in models:
        if missing := [level for level in levels if level not in model.settings]:
            raise ValueError(
                f"{model.folder}: model {model.title} has no rows for {missing[0][0]} noise of "
                f"level {missing[0][1]:g}, others do; finish that run (the same command again), or "
                "leave it out"
            )
    for norm in dict.fromkeys(norms):
        mine = [(m, level) for m in models for level in levels if level[0] == norm]
        titles = [f"{model.title} at level {level:g}" for model, (_, level) in mine]
        for i, what in enumerate(("regions", "trials")):
            told = [model.settings[level][i] for model, level in mine]
            _check_same(f"{what} under {norm} noise", titles, told)
    return tuple((*level, region) for level in levels for region in models[0].settings[level][0])


def _check_same(what: str, titles: Sequence[str], values: Sequence[Any]) -> None:
    for title, value in zip(titles, values, strict=True):
        if value != values[0]:
            raise ValueError(
                f"{what}: {title} has {short(str(value), 80)}, {titles[0]} has "
                f"{short(str(values[0]), 80)}; only runs on the same examples under the same noise "
                "can be compared, report them separately"
            )
