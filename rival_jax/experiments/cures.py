"""Which network came from which: pairs of an original and a cured network, and set A."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rival_jax.report.run_files import read_json

Pair = tuple[str, str]
"""Names of two networks; reported is the second's number minus the first's."""


class Cure(NamedTuple):
    """What a run of config finetune did to a network."""

    original: str  # as in its config.models
    masked: tuple[str, ...]  # classes whose masks it was trained with, set A


def cure(path: str) -> Cure | None:
    """The cure of a network's folder, if it still lies in the run of config finetune that made it.

    Raises:
      ValueError: if that run's files are damaged.
    """
    folder = Path(path)
    file = Path(*folder.parts[:-3], "networks.json")
    if len(folder.parts) > 3 and file.is_file():
        for card in read_json(file):
            if folder.name in (Path(card.get(kind, "")).name for kind in ("best", "last")):
                original = str(read_json(file.parent / "config.json")["models"][0])
                return Cure(original, tuple(card["masked"]))
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
