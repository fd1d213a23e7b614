"""Finished runs read and joined: every model on the same images under the same noise."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rival_jax import statistics
from rival_jax.configs.groups import with_singles
from rival_jax.experiments.paired import pairs, titled
from rival_jax.images import Images, per_image
from rival_jax.named import Axis, Named
from rival_jax.report.tables import counted
from rival_jax.runtime.names import short
from rival_jax.runtime.results import parsed
from rival_jax.runtime.row_arrays import read_images

PLACE = ("norm", "level", "region")
COLUMNS = ("probability", "correct")
REGIONS = ("clean", "foreground", "background", "all")


class Joined(NamedTuple):
    """One or more finished runs."""

    images: Images  # "probability" of the true class and "correct": means over trials
    by_trial: Named  # accuracy of every trial alone, NaN if missing; axes: trial, model, `PLACE`
    data: Mapping[str, Any]  # data.json of the first, with what all of them have to say
    cards: Sequence[Mapping[str, Any]]  # models.json of all, by title
    folders: Sequence[Path]
    pairs: Sequence[tuple[str, str]] = ()  # of two runs, models before and after

    @property
    def models(self) -> tuple[str, ...]:
        """Titles of the models."""
        return tuple(card["name"] for card in self.cards)

    def trials(self, **wanted: Any) -> str:
        """Noise draws per image, region and level, in words: "10 trials", "2 to 4 trials".

        Args:
          wanted: of which norm, level and model.
        """
        counts = np.isfinite(self.by_trial.where(**wanted).values).sum(0)
        fewest, most = int(counts.min()), counted(int(counts.max()), "trial")
        return most if fewest == counts.max() else f"{fewest} to {most}"

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


def read(*workdirs: str | os.PathLike) -> Joined:
    """Joins finished runs; of a model that is in several, each says what differs in their paths.

    One model is read at a time, so that trials never pile up in memory.

    Raises:
      FileNotFoundError: for a folder without a finished run.
      ValueError: for no folder at all, runs on different examples, levels, regions or trials, and
        runs that stopped halfway; names the first difference.
    """
    if not workdirs:
        raise ValueError("no runs to read; name the workdir of at least one rfs run")
    parts = [part for workdir in workdirs for part in _read_run(Path(workdir))]
    models = [(part.folders[0], name) for part in parts for name in part.models]
    titles = titled(models)
    _check_images(parts, titles)
    first, (places, trials) = parts[0], _settings(parts, titles)
    noisy = places._replace(keys=tuple(key for key in places.keys if key[0] != "none"))
    values = {}
    for column, one in first.images.values.items():
        some = [part.images.values[column] for part in parts]
        values[column] = _side_by_side(some, titles, one.axes[0], places)
    by_trial = _side_by_side(
        [_filled(part.by_trial, trials) for part in parts], titles, trials, noisy
    )
    notices = [notice for part in parts for notice in part.data.get("notices", [])]
    cards = [card for part in parts for card in part.cards]
    return Joined(
        first.images._replace(values=values),
        by_trial,
        {**first.data, "notices": list(dict.fromkeys(notices))},
        [{**card, "name": title} for card, title in zip(cards, titles, strict=True)],
        [*dict.fromkeys(part.folders[0] for part in parts)],
        pairs(models),
    )


def _side_by_side(parts: Sequence[Named], titles: Sequence[str], *axes: Axis) -> Named:
    """The models of all parts on the second axis; the first and the third become `axes`."""
    alike = [functools.reduce(Named.reordered, axes, part).values for part in parts]
    models = Axis(("model",), tuple((title,) for title in titles))
    return per_image(np.concatenate(alike, 1), (axes[0], models, axes[1]))


def _filled(by_trial: Named, trials: Axis) -> Named:
    """With all of the trials: NaN for those that are not there."""
    noisy = by_trial.where(trial=[trial for (trial,) in trials.keys])
    values = np.full((len(trials.keys), *noisy.values.shape[1:]), np.nan)
    values[list(noisy.of("trial"))] = noisy.values
    return per_image(values, (trials, *noisy.axes[1:]))


def _read_run(path: Path) -> Iterator[Joined]:
    """Each model of a run alone, with images and places in an order of its own."""
    data, cards, units = (parsed(path / f"{name}.json") for name in ("data", "models", "units"))
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
        found = read_images(files, ("model", PLACE, "trial"), COLUMNS, classes)
        correct = found.values["correct"]
        _check_trials(f"{path}: model {name}", correct)
        means = {
            column: per_image(np.nanmean(one.values, 3), one.axes[:3])
            for column, one in found.values.items()
        }
        of_class = statistics.class_means(np.asarray(correct.values), found.labels, len(classes))
        accuracy = np.moveaxis(of_class[np.unique(found.labels)].mean(0), 2, 0)
        by_trial = per_image(accuracy, (correct.axes[3], *correct.axes[1:3]))
        yield Joined(found._replace(values=means), by_trial, data, [card], [path])


def _check_trials(model: str, correct: Named) -> None:
    """Raises ValueError if an image lacks a trial that others have."""
    images = np.isfinite(correct.values).sum((0, 1))  # [place, trial]
    every = len(correct.values)
    for place, trial in np.argwhere((images > 0) & (images < every))[:1]:
        norm, level, region = correct.axes[2].keys[place]
        raise ValueError(
            f"{model}, {norm} {level:g} {region}: trial {correct.axes[3].keys[trial][0]} has "
            f"{images[place, trial]} of {every} images; delete its file and run the same command "
            "again"
        )


def _check_images(parts: Sequence[Joined], titles: Sequence[str]) -> None:
    """Raises ValueError if models were measured on different images or classes."""
    for what in ("name", "classes"):
        _check_same(f"data's {what}", titles, [part.data[what] for part in parts])
    first: set[tuple[str, str]] = set()
    for title, images in zip(titles, (part.images for part in parts), strict=True):
        words = (images.classes[label] for label in images.labels)
        mine = set(zip(images.names, words, strict=True))
        first = first or mine
        if odd := first ^ mine:
            raise ValueError(
                f"model {title}: {len(mine)} examples where the first model has {len(first)} "
                f"({' of class '.join(min(odd))} is in one of them only); models are compared on "
                "the same examples, so report these runs separately"
            )
    _check_same("pictures (fingerprint)", titles, [part.data["fingerprint"] for part in parts])


def _settings(parts: Sequence[Joined], titles: Sequence[str]) -> tuple[Axis, Axis]:
    """What all models have rows of: places, the clean images first, levels ascending; and trials.

    Their numbers of trials may differ, and those of levels, see `trials.Spread`.

    Raises:
      ValueError: if one has other places.
    """
    counts = [
        dict(zip(one.axes[2].keys, np.isfinite(one.values).sum((0, 1)).tolist(), strict=True))
        for one in (part.by_trial for part in parts)
    ]
    every = dict.fromkeys(place for count in counts for place in count)
    norms = ["none", *(norm for norm, _, _ in every)]
    every = sorted(every, key=lambda p: (norms.index(p[0]), p[1], REGIONS.index(p[2])))
    for norm, level, region in every:
        named = [f"{title} at level {level:g} ({region})" for title in titles]
        rows = ["rows" if count.get((norm, level, region)) else "none" for count in counts]
        _check_same(f"rows under {norm} noise", named, rows)
    noisy = (n for count in counts for place, n in count.items() if place[0] != "none")
    trials = max(noisy, default=0)
    return Axis(PLACE, tuple(every)), Axis(("trial",), tuple((trial,) for trial in range(trials)))


def _check_same(what: str, titles: Sequence[str], values: Sequence[Any]) -> None:
    for title, value in zip(titles, values, strict=True):
        if value != values[0]:
            raise ValueError(
                f"{what}: {title} has {short(str(value), 80)}, {titles[0]} has "
                f"{short(str(values[0]), 80)}; only runs on the same examples under the same noise "
                "can be compared: finish the one that has less, or report them separately"
            )
