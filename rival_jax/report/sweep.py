"""Finished noise runs as arrays: every model on the same examples, clean and under noise."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rival_jax.report import rows


@dataclasses.dataclass(frozen=True)
class Noise:
    """What noise of one norm did to every model; averaged over trials unless it says otherwise."""

    norm: str  # "linf" | "l2"
    levels: np.ndarray  # float64 [l], ascending; linf: sigma in pixel units, l2: eps
    regions: tuple[str, ...]  # "foreground", "background" and possibly "all"
    probability: np.ndarray  # float32 [m, l, r, n], of the true class
    correct: np.ndarray  # float32 [m, l, r, n], share of the trials
    by_trial: np.ndarray  # float32 [t, m, l, r, c], accuracy of each class in each trial alone

    @property
    def trials(self) -> int:
        """Noise draws per image, region and level."""
        return len(self.by_trial)

    @property
    def accuracy(self) -> np.ndarray:
        """[m, l, r, c]: correct answers over the trials x images of a class."""
        return self.by_trial.mean(0)

    def region(self, values: np.ndarray, name: str) -> np.ndarray:
        """One region of `values` [m, l, r, ...]: [m, l, ...]."""
        return values[:, :, self.regions.index(name)]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """One or more finished rfs runs, joined."""

    dataset: str
    models: tuple[str, ...]
    classes: tuple[str, ...]  # those with at least one example
    names: tuple[str, ...]  # of the examples
    labels: np.ndarray  # int32 [n], into `classes`
    probability: np.ndarray  # float32 [m, n], of the true class, clean
    correct: np.ndarray  # float32 [m, n], clean
    noise: Mapping[str, Noise]  # by norm, in the order of the first run's config
    cards: tuple[Mapping[str, Any], ...]  # one per model: parameters, flops, input, head, group
    runs: tuple[Mapping[str, Any], ...]  # one per run: path, argv, config, environment, data

    @classmethod
    def read(cls, *workdirs: str | os.PathLike) -> Sweep:
        """Joins finished runs; a model that is in several of them gets its run's path appended.

        Raises:
          FileNotFoundError: for a folder without a finished run.
          ValueError: for no folder at all, runs on different examples, levels, regions or trials,
            and runs that stopped halfway; names the first difference.
        """
        if not workdirs:
            raise ValueError("no runs to read; name the workdir of at least one rfs run")
        runs = [_read_run(Path(workdir)) for workdir in workdirs]
        models = [model for run in runs for model in run.models]
        once = [model.name for model in models]
        titles = [m.name if once.count(m.name) == 1 else f"{m.name} ({m.run})" for m in models]
        clean = [model.units["none", 0.0] for model in models]
        first = clean[0]
        _check_same("data set", titles, [unit.dataset for unit in clean])
        clean = [unit.ordered(first.names) for unit in clean]
        _check_same("classes", titles, [model.classes for model in models])
        _check_same("labels", titles, [tuple(unit.labels) for unit in clean])
        _check_same("pictures (fingerprint)", titles, [model.fingerprint for model in models])
        present, labels = np.unique(first.labels, return_inverse=True)
        return cls(
            dataset=first.dataset,
            models=tuple(titles),
            classes=tuple(models[0].classes[i] for i in present),
            names=first.names,
            labels=labels.astype(np.int32),
            probability=np.stack([unit.probability[0] for unit in clean]),
            correct=np.stack([unit.correct[0] for unit in clean]),
            noise={
                norm: _stack(norm, titles, models, first.names, present)
                for norm in dict.fromkeys(norm for model in models for norm, _ in model.units)
                if norm != "none"
            },
            cards=tuple({**m.card, "name": title} for m, title in zip(models, titles, strict=True)),
            runs=tuple(run.facts for run in runs),
        )

    def groups(self, named: Mapping[str, Sequence[str]] | None = None) -> dict[str, list[str]]:
        """Models by group: the `named` ones, then those of the models' cards, then each alone.

        Raises:
          ValueError: for a group without models, or with one that is not in this sweep.
        """
        found = {name: list(members) for name, members in (named or {}).items()}
        for name, members in found.items():
            unknown = sorted(set(members) - set(self.models))
            if unknown or not members:
                raise ValueError(
                    f"group {name!r} names {', '.join(unknown) or 'no model'}; the models of this "
                    f"report are {', '.join(self.models)}"
                )
        grouped = {model for members in found.values() for model in members}
        for card in self.cards:
            if card["name"] not in grouped:
                found.setdefault(card.get("group") or card["name"], []).append(card["name"])
        for name in found.keys() & set(self.models):
            if found[name] != [name]:
                raise ValueError(f"group {name!r} has the name of a model; give it another")
        return found

    def averaged(self, groups: Mapping[str, Sequence[str]]) -> Sweep:
        """The same sweep with a group's average in the place of a model (study, figure 4)."""
        members = [[self.models.index(name) for name in names] for names in groups.values()]

        def mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
            return np.stack([values.take(m, axis).mean(axis) for m in members], axis)

        noise = {
            norm: dataclasses.replace(
                one,
                probability=mean(one.probability),
                correct=mean(one.correct),
                by_trial=mean(one.by_trial, axis=1),
            )
            for norm, one in self.noise.items()
        }
        return dataclasses.replace(
            self,
            models=tuple(groups),
            probability=mean(self.probability),
            correct=mean(self.correct),
            noise=noise,
            cards=tuple({"name": name} for name in groups),
        )


@dataclasses.dataclass(frozen=True)
class _Model:
    name: str
    run: str
    fingerprint: str
    classes: tuple[str, ...]
    card: Mapping[str, Any]
    units: dict[tuple[str, float], rows.Unit]  # by norm and level


@dataclasses.dataclass(frozen=True)
class _Run:
    facts: dict[str, Any]
    models: list[_Model]


def _read_run(path: Path) -> _Run:
    data = rows.read_json(path / "data.json")
    cards = {card["name"]: card for card in rows.read_json(path / "models.json")}
    units: dict[str, dict[tuple[str, float], rows.Unit]] = {name: {} for name in cards}
    classes = tuple(data["classes"])
    for unit in rows.read_units(path, classes):
        if unit.model in units:
            units[unit.model][unit.norm, unit.level] = unit
    for name, found in units.items():
        if ("none", 0.0) not in found:
            raise ValueError(
                f"{path}: no rows for the clean images of model {name}; the run is not finished: "
                "run the same command again"
            )
    facts = {"path": str(path), "argv": rows.read_argv(path), "data": data} | {
        name: rows.read_json(path / f"{name}.json") for name in ("config", "environment")
    }
    return _Run(
        facts,
        [
            _Model(name, str(path), data["fingerprint"], classes, cards[name], found)
            for name, found in units.items()
        ],
    )


def _stack(
    norm: str,
    titles: Sequence[str],
    models: Sequence[_Model],
    names: tuple[str, ...],
    present: np.ndarray,
) -> Noise:
    found = [{key[1]: u for key, u in model.units.items() if key[0] == norm} for model in models]
    levels = sorted(set().union(*found))
    for title, model, units in zip(titles, models, found, strict=True):
        if missing := [level for level in levels if level not in units]:
            raise ValueError(
                f"{model.run}: model {title} has no rows for {norm} noise of level {missing[0]:g}, "
                "others do; finish that run (the same command again), or leave it out"
            )
    grid = [[units[level].ordered(names) for level in levels] for units in found]
    every = [f"{title} at level {level:g}" for title in titles for level in levels]
    flat = [unit for line in grid for unit in line]
    _check_same(f"regions under {norm} noise", every, [unit.regions for unit in flat])
    _check_same(f"trials under {norm} noise", every, [len(unit.by_trial) for unit in flat])
    return Noise(
        norm=norm,
        levels=np.array(levels),
        regions=flat[0].regions,
        probability=np.stack([[unit.probability for unit in line] for line in grid]),
        correct=np.stack([[unit.correct for unit in line] for line in grid]),
        by_trial=np.moveaxis(
            np.stack([[unit.by_trial[..., present] for unit in line] for line in grid]), 2, 0
        ),
    )


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
