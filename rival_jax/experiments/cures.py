"""Which network came from which, and what a cure changes in classes with masks and without."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rival_jax.images import Images, by_class
from rival_jax.named import Named, stacked
from rival_jax.report.results import Results
from rival_jax.report.study import Means, Measure, Study
from rival_jax.runtime.results import parsed

Pair = tuple[str, str]
"""Names of two networks; reported is the second's number minus the first's."""
Pairs = Sequence[Pair]


class Cure(NamedTuple):
    """What a run of config finetune did to a network."""

    original: str  # as in its config.models
    masked: tuple[str, ...]  # classes whose masks it was trained with, set A
    variant: str  # of that run
    run: Path  # its folder


class Compared(NamedTuple):
    """Networks that are compared, and the classes whose masks cured ones were trained with."""

    pairs: Sequence[Pair]
    masks: Mapping[str, Sequence[str]]


def compared_networks(named: Sequence[str], models: Mapping[str, str]) -> Compared:
    """See `pairs`; cured networks are recognised by their folders, see `cure`."""
    cures = {name: one for path, name in models.items() if (one := cure(path))}
    masks = {name: one.masked for name, one in cures.items()}
    return Compared(pairs(named, models, cures), masks)


def by_masks(
    study: str,
    hit: Named,
    found: Images,
    known: Compared,
    named: Callable[[Sequence[str]], np.ndarray],
    **options: Any,
) -> Results:
    """What a cure changes in classes with masks (A) and without (B), and the difference of both.

    Classes are resampled, as if they were images. Rows with the measure "class_accuracy".

    Args:
      hit: 1 or 0 per image, NaN without an answer; axes example and model.
      found: labels and classes of the images.
      named: which of the classes have one of the given names, bool [classes].
      options: of `statistics.bootstrap`.
    """
    results = Results([])
    for pair in known.pairs:
        groups = np.where(named(known.masks.get(pair[1], ())), "A", "B")
        parts = by_class(hit, found, groups.tolist())
        if len(parts.classes) == 2:
            results += Study(study, (), (), _by_masks).results(parts, pair, **options)
    return results


def _by_masks(means: Means, pair: Pair) -> Iterator[Measure]:
    change = means["share"].where(model=pair).differences("model")
    parts = {name: change.at(**{"class": name}) for name in ("A", "B")}
    parts["A minus B"] = parts["A"] - parts["B"]
    yield Measure("class_accuracy", stacked("class", parts))


def cure(path: str) -> Cure | None:
    """The cure of a network's folder, if it still lies in the run of config finetune that made it.

    Raises:
      ValueError: if that run's files are damaged.
    """
    folder = Path(path)
    file = Path(*folder.parts[:-3], "networks.json")
    if len(folder.parts) > 3 and file.is_file():
        for card in parsed(file):
            if folder.name in (Path(card.get(kind, "")).name for kind in ("best", "last")):
                original = str(parsed(file.parent / "config.json")["models"][0])
                told = tuple(card.get("masked", ())), str(card.get("variant", ""))
                return Cure(original, *told, file.parent)
    return None


def pairs(named: Sequence[str], models: Mapping[str, str], cures: Mapping[str, Cure]) -> list[Pair]:
    """Pairs of networks to compare.

    Args:
      named: "original=finetuned" each, by their names in config.models or results; (): every cured
        network with its original, if both are there, else all pairs.
      models: config.models, with each one's name in results.
      cures: see `cure`, by the networks' names in results.

    Raises:
      ValueError: for a missing network, or one named before its original.
    """
    known, order = {**models, **{name: name for name in models.values()}}, list(models.values())
    found = [(known.get(one.original, ""), name) for name, one in cures.items()]
    found = [pair for pair in found if pair[0]]
    if named:
        found = []
        for text in named:
            words = [word.strip() for word in text.split("=")]
            if len(words) != 2 or not known.keys() >= set(words):
                raise ValueError(
                    f"config.pairs: got {text!r}, expected 'original=finetuned', two of "
                    f"{', '.join(order)}"
                )
            found.append((known[words[0]], known[words[1]]))
    for before, after in found:
        if order.index(before) >= order.index(after):
            raise ValueError(
                f"config.models: name {before} before {after}, which is compared to it"
            )
    return found or list(itertools.combinations(order, 2))


def crossed_between(name: str, level: Named, pairs: Pairs) -> Iterator[Measure]:
    """Both networks of each pair by their own maps and the other's; one by one, so no "model".

    Args:
      level: has the fields "model", and "map": whose maps were used, "own" or a network's name.
    """
    for before, after in pairs:
        for model, other in ((before, after), (after, before)):
            told = f"{model}: own maps minus those of {other}"
            mine = level.at(model=model, map="own") - level.at(model=model, map=other)
            yield Measure(name, mine, told)
        told = f"{after} minus {before}, by the maps of {before}"
        fixed = level.at(model=after, map=before) - level.at(model=before, map="own")
        yield Measure(name, fixed, told)
