"""Finished runs read back and joined: every model on the same images under the same noise."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rival_jax import statistics
from rival_jax.experiments.groups import with_singles
from rival_jax.named import Axis, Counts, Named
from rival_jax.report.run_files import read_json
from rival_jax.report.study import Images, per_image, read_images

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
    """One model of a run; arrays [image, place, trial], clean images being trial 0."""

    title: str
    run: Path
    data: Mapping[str, Any]
    card: Mapping[str, Any]
    names: tuple[str, ...]  # of the images
    labels: np.ndarray
    places: tuple[Place, ...]
    probability: np.ndarray  # NaN where there is no row
    correct: np.ndarray

    def trials(self, place: Place) -> int:
        """How many there are."""
        return int(np.isfinite(self.correct[:, self.places.index(place)]).any(0).sum())

    def ordered(self, names: Sequence[str], places: Sequence[Place]) -> _Model:
        """The same with its images and places in this order."""
        if odd := sorted(set(self.names) ^ set(names)):
            raise ValueError(
                f"model {self.title}: {len(self.names)} examples where the first model has "
                f"{len(names)} ({odd[0]} is in one of them only); models are compared on the same "
                "examples, so report these runs separately"
            )
        position = {name: i for i, name in enumerate(self.names)}
        images, where = [position[n] for n in names], [self.places.index(p) for p in places]
        values = {name: getattr(self, name)[np.ix_(images, where)] for name in COLUMNS}
        labels = self.labels[images]
        return self._replace(names=names, labels=labels, places=tuple(places), **values)


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
    once = [m.title for m in models]
    titles = [m.title if once.count(m.title) == 1 else f"{m.title} ({m.run})" for m in models]
    models = [m._replace(title=title) for m, title in zip(models, titles, strict=True)]
    first = models[0]
    _check_same("data set", titles, [model.data["name"] for model in models])
    models = [model.ordered(first.names, model.places) for model in models]
    _check_same("classes", titles, [tuple(model.data["classes"]) for model in models])
    _check_same("labels", titles, [tuple(model.labels) for model in models])
    _check_same("pictures (fingerprint)", titles, [model.data["fingerprint"] for model in models])
    places = _places(models)
    models = [model.ordered(first.names, places) for model in models]
    notices = [notice for model in models for notice in model.data.get("notices", [])]
    axes = Axis(("model",), tuple((title,) for title in titles)), Axis(PLACE, places)
    return Joined(
        _images(models, axes),
        _by_trial(models, axes),
        {**first.data, "notices": list(dict.fromkeys(notices))},
        [{**model.card, "name": model.title} for model in models],
        [*dict.fromkeys(model.run for model in models)],
    )


def _read_run(path: Path) -> list[_Model]:
    data, cards, units = (read_json(path / f"{name}.json") for name in ("data", "models", "units"))
    if not isinstance(units, dict):
        raise ValueError(f"{path / 'units.json'} names no units; run the same command again")
    models = []
    for card in cards:
        name = card["name"]
        files = [path / file for unit, file in units.items() if unit.rpartition("/")[0] == name]
        if f"{name}/clean" not in units:
            raise ValueError(
                f"{path}: no rows for the clean images of model {name}; the run is not finished: "
                "run the same command again"
            )
        found = read_images(files, (PLACE, "trial"), COLUMNS, data["classes"])
        values = [np.asarray(found.values[column].values) for column in COLUMNS]
        places = found.values["correct"].axes[1].keys
        facts = (name, path, data, card, found.names, found.labels, places)
        models.append(_Model(*facts, *values))
        _check_complete(models[-1])
    return models


def _check_complete(model: _Model) -> None:
    """Raises ValueError if an image lacks a trial that others have."""
    for norm, level in dict.fromkeys(place[:2] for place in model.places):
        where = [i for i, place in enumerate(model.places) if place[:2] == (norm, level)]
        there = np.isfinite(model.correct[:, where])
        trials = int(there.any((0, 1)).sum())
        count, size = int(there.sum()), len(model.names) * len(where) * trials
        if count < size:
            raise ValueError(
                f"{model.run}: model {model.title}, {norm} {level:g} has {count} of {size} rows "
                f"({len(where)} regions x {trials} trials x {len(model.names)} examples); delete "
                "its file and run the same command again"
            )


def _places(models: Sequence[_Model]) -> tuple[Place, ...]:
    """What all models have rows of, the clean images first, levels ascending.

    Raises:
      ValueError: if one has others, or another number of trials.
    """
    norms = ["none", *(place[0] for model in models for place in model.places)]
    every = {place for model in models for place in model.places}
    order = sorted(every, key=lambda p: (norms.index(p[0]), p[1], REGIONS.index(p[2])))
    levels = [*dict.fromkeys(place[:2] for place in order)]
    for model in models:
        known = {place[:2] for place in model.places}
        if missing := [key for key in levels if key not in known]:
            raise ValueError(
                f"{model.run}: model {model.title} has no rows for {missing[0][0]} noise of level "
                f"{missing[0][1]:g}, others do; finish that run (the same command again), or leave "
                "it out"
            )
    for norm in dict.fromkeys(norms):
        regions, trials = {}, {}
        for model in models:
            for level in (level for name, level in levels if name == norm):
                mine = [place for place in model.places if place[:2] == (norm, level)]
                title = f"{model.title} at level {level:g}"
                regions[title] = tuple(place[2] for place in order if place in mine)
                trials[title] = model.trials(mine[0])
        _check_same(f"regions under {norm} noise", [*regions], [*regions.values()])
        _check_same(f"trials under {norm} noise", [*trials], [*trials.values()])
    return tuple(order)


def _images(models: Sequence[_Model], axes: tuple[Axis, Axis]) -> Images:
    names = Axis(("example",), tuple((name,) for name in models[0].names))
    means = {c: np.stack([np.nanmean(getattr(m, c), 2) for m in models], 1) for c in COLUMNS}
    values = {column: per_image(mean, (names, *axes)) for column, mean in means.items()}
    return Images(values, models[0].labels, tuple(models[0].data["classes"]))


def _by_trial(models: Sequence[_Model], axes: tuple[Axis, Axis]) -> Named:
    """Under noise alone: [trial, model, place]."""
    noisy = [i for i, place in enumerate(models[0].places) if place[0] != "none"]
    found = []
    for model in models:
        means = statistics.class_means(model.correct, model.labels, len(model.data["classes"]))
        means = means[np.unique(model.labels)].mean(0)[noisy]
        found.append(means[:, np.isfinite(means).all(0)].T)
    trials = Axis(("trial",), tuple((trial,) for trial in range(len(found[0]))))
    places = Axis(PLACE, tuple(models[0].places[i] for i in noisy))
    values = np.stack(found, axis=1)
    return Named(values, (trials, axes[0], places), Counts(*[np.ones(values.shape, int)] * 4))


def _check_same(what: str, titles: Sequence[str], values: Sequence[Any]) -> None:
    for title, value in zip(titles, values, strict=True):
        if value != values[0]:
            raise ValueError(
                f"{what}: {title} has {_short(value)}, {titles[0]} has {_short(values[0])}; only "
                "runs on the same examples under the same noise can be compared, report them "
                "separately"
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
