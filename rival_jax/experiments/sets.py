"""Data sets that photos are streamed from, as a config's `sets` names them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from rival_jax import data, protocols
from rival_jax.configs import options
from rival_jax.data import class_maps
from rival_jax.data.evaluation import PUBLISHED, WAYS, protocols_of
from rival_jax.data.source import check_names
from rival_jax.images import Images, by_unit
from rival_jax.named import Named
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import percent
from rival_jax.runtime.finite import refuse_nan
from rival_jax.runtime.results import Category, Columns
from rival_jax.scoring import Protocols
from rival_jax.types import Array


@dataclasses.dataclass(frozen=True, eq=False)
class Set:
    """One data set.

    Attributes:
      name: its name in tables.
      kind: its source's name.
      options: given with its name.
      source: see `EvaluationSource`; the set has no more than its source.
      protocols: how predictions are scored.
      positions: places of the scored photos in the source, int [n].
    """

    name: str
    kind: str
    options: Mapping[str, Any]
    source: Any
    protocols: Protocols
    positions: np.ndarray

    @functools.cached_property
    def names(self) -> list[str]:
        """The scored photos' names."""
        return [self.source.names[i] for i in self.positions]

    @functools.cached_property
    def units(self) -> list[str]:
        """Each photo's unit in resampling; a unit of several classes counts as one in each."""
        if not self.clustered:
            return self.names
        units, labels = self.source.units, self.source.labels
        return [f"{units[i]} {labels[i]}" for i in self.positions]

    @property
    def clustered(self) -> bool:
        """Whether some photos are resampled together."""
        return getattr(self.source, "units", None) is not None

    def drawn(self, found: Images, values: dict[str, Named]) -> Images:
        """Values of its photos; those that are resampled together are one."""
        some = found._replace(values=values)
        units = dict(zip(self.names, self.units, strict=True))
        return by_unit(some, [units[name] for name in found.names]) if self.clustered else some

    def named(self, names: Sequence[str]) -> np.ndarray:
        """bool [classes], which of them have a given name or synset."""
        classes, wnids = self.source.classes, self.source.class_wnids
        called = [
            {name, *some} for name, some in zip(classes, wnids or [()] * len(classes), strict=True)
        ]
        return np.array([bool(some & set(names)) for some in called])

    @functools.cached_property
    def published(self) -> dict[str, str]:
        """The keys in `PUBLISHED` for the set: {name: protocol}; may be empty."""
        if self.options.get("variant", "matched-frequency") != "matched-frequency":
            return {}
        return {name: key[1] for key, name in PUBLISHED.items() if key[0] == self.kind}

    def called(self, word: str) -> str:
        """A class or output in words; for a synset its name."""
        index = class_maps.index_of().get(word)
        return word if index is None else class_maps.imagenet()[index].name

    @functools.cached_property
    def factors(self) -> dict[str, list[str]]:
        """Name -> a word for each scored photo."""
        found = getattr(self.source, "factors", {})
        return {name: [str(words[i]) for i in self.positions] for name, words in found.items()}

    def words(self, names: Sequence[str]) -> dict[str, list[str]]:
        """The factors of some photos, by their names."""
        places = {name: place for place, name in enumerate(self.names)}
        return {f: [words[places[n]] for n in names] for f, words in self.factors.items()}

    def identity(self, rows: range) -> dict[str, Any]:
        """What, besides the logits, determines the columns of some photos; JSON-able."""
        told = [self.units[rows.start : rows.stop]]
        told += [[name, words[rows.start : rows.stop]] for name, words in self.factors.items()]
        real = self._real(self.positions[rows.start : rows.stop]) if self.protocols.real else []
        return {"set": self.name, "protocols": repr(self.protocols), "told": told, "real": real}

    def columns(self, model: str, rows: np.ndarray, logits: np.ndarray) -> Columns:
        """Tidy columns of the photos `rows` [b], places among the scored ones.

        Raises:
          ValueError: if the network gives NaN.
        """
        bad = np.isnan(logits).any(1)
        refuse_nan(model, bad, lambda i: self.names[rows[i]], f"photos of {self.name}")
        labels = np.asarray(self.source.labels)[self.positions[rows]]
        real = self._real(self.positions[rows]) if self.protocols.real else [[]] * len(rows)
        real = protocols.accepts(real, self.protocols.ways)
        scores: dict[str, Array] = jax.device_get(self.protocols.scores(logits, labels, real))
        outputs = [one.wnid for one in class_maps.imagenet()]
        outputs = outputs if self.protocols.ways == WAYS else list(self.source.classes)
        words = {"example": self.names, "unit": self.units, **self.factors}
        return {
            "model": Category(0 * rows, [model]),
            "set": Category(0 * rows, [self.name]),
            **{n: Category.of([column[i] for i in rows]) for n, column in words.items()},
            "label": Category(labels, list(self.source.classes)),
            **scores,
            "predicted": Category(np.asarray(scores["predicted"]), outputs),
        }

    def _real(self, positions: np.ndarray) -> list[list[int]]:
        return [list(self.source.real[i]) for i in positions]


def load(config: Any, ways: int) -> list[Set]:
    """The sets of a config, for networks with `ways` outputs; nothing is decoded.

    Args:
      config: has `sets`, see `data.named`, and `data`, with the default `root` and `split`, and
        blocks of options.
      ways: outputs of the networks.

    Raises:
      ValueError: naming what is wrong with one; for two with one name.
    """
    found = [_load(text, config.data, ways) for text in config.sets]
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        raise ValueError(f"config.sets: two have one name, {names}; add as=NAME to one")
    return found


def _load(text: str, common: Any, ways: int) -> Set:
    kind, name, root, split, given = data.named(text)
    block = options(common, kind.replace(".", "_"))
    place = root or common.root, split or common.split
    source = data.load(kind, *place, **{**block, **given})
    check_names(source)
    rules, labels = protocols_of(name, kind, source, ways), np.asarray(source.labels)
    if not 0 <= labels.min() <= labels.max() < len(source.classes):
        raise ValueError(f"{name}: a label is none of its {len(source.classes)} classes")
    positions = np.flatnonzero(np.array([bool(some) for some in rules.outputs])[labels])
    if not len(positions):
        raise ValueError(f"{name}: no photo is of a class that the networks have an output for")
    taken = {"example", "unit", "label", "model", "set", "predicted", "class", *rules.names}
    if both := taken & {*getattr(source, "factors", {})}:
        raise ValueError(f"{name}: factor {min(both)} has the name of a column; call it otherwise")
    return Set(name, kind, given, source, rules, positions)


def families(sets: Sequence[Set]) -> list[list[Set]]:
    """Sets of the same photos in other forms together."""
    found: dict[Any, list[Set]] = {}
    for one in sets:
        key = one.kind, one.protocols, tuple(one.names), one.source.classes
        found.setdefault(key, []).append(one)
    return list(found.values())


def places(sets: Sequence[Set]) -> dict[str, tuple[str, str]]:
    """The key of each published accuracy that some set is for -> (set, protocol)."""
    return {
        key: (one.name, protocol)
        for one in sets
        for key, protocol in one.published.items()
        if protocol in one.protocols.names
    }


def beside_published(sets: Sequence[Set], row: Row) -> str:
    """An accuracy in percent, and what timm publishes of the network by the row's protocol."""
    known = class_maps.published().get(row["model"].removeprefix("timm/"), {})
    keys = [k for k, place in places(sets).items() if place == (row["set"], row["protocol"])]
    return percent(row) + "".join(f" (timm {100 * known[key]:.1f})" for key in keys if key in known)


def varied(sets: Sequence[Set], results: Results) -> Iterator[tuple[str, str, Results]]:
    """Kinds whose sets differ in one number alone.

    Yields:
      the kind, the option, and the results of its sets by their first protocol, with the option's
      value in a column of its name.
    """
    for kind in dict.fromkeys(one.kind for one in sets):
        mine = {one.name: one.options for one in sets if one.kind == kind}
        keys = dict.fromkeys(key for given in mine.values() for key in given)
        differ = [key for key in keys if len({str(given.get(key)) for given in mine.values()}) > 1]
        values = {name: given.get(differ[0]) for name, given in mine.items()} if differ else {}
        if len(differ) == 1 and all(type(value) in (int, float) for value in values.values()):
            found = results.where(set=list(values))
            rows = found.where(protocol=found.of("protocol")[0])
            yield kind, differ[0], Results({**r, differ[0]: values[r["set"]]} for r in rows)
