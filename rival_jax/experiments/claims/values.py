"""The papers' quantities, from what they print or from results of finished runs."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rival_jax.experiments.claims import facts, numbers, tables
from rival_jax.experiments.claims.numbers import UNKNOWN, Number, number
from rival_jax.experiments.claims.runs import Finished
from rival_jax.experiments.claims.tables import Quantity, Set, Sets, network
from rival_jax.report.results import FIRST, LAST, Row

NETWORKS = ("network", "minus")  # columns of sets of networks
Key = tuple[str, str, frozenset]  # study, measure, (column, value) of all others


class Missing(NamedTuple):
    """A number that is in no run."""

    study: str
    network: str  # "" if it is not about a network
    other: str  # what else it is about: "imagenet_a", "level 0.2353"


class Printed:
    """The numbers that the papers print, as exact ones."""

    def __init__(self) -> None:
        self.known = {(one.quantity, *one.arguments): one.value for one in tables.published()}

    def get(self, name: str, *arguments: Any) -> Any:
        """See `Measured.get`."""
        found = self.known.get(("table4" if name == "abl" else name, *map(str, arguments)))
        if found is None:
            return UNKNOWN
        try:
            return number(float(found))
        except ValueError:
            return tuple(found.split())

    def group(self, name: str, members: tuple[str, ...], *arguments: Any) -> None:
        """None: nothing is printed about groups."""

    def minus(self, first: Number, second: Number) -> Number:
        """See `Measured.minus`."""
        return first - second


class Index:
    """All results of some runs by what they are of."""

    def __init__(self, runs: Sequence[Finished]):
        self.runs = runs
        self.rows: dict[Key, list[Row]] = {}  # each from the newest run that has it
        self.words: dict[tuple[str, str], dict[Hashable, None]] = {}
        for run in runs:
            mine: dict[Key, list[Row]] = {}
            for row in run.rows:
                mine.setdefault(self._key(row), []).append(row)
            self.rows = {**mine, **self.rows}
        noisy = (row for run in runs for row in run.rows if row.get("norm") == "linf")
        levels = (row.get("level") for row in noisy if row["study"] == "rfs")
        self.levels = {_rounded(level) for level in levels if level}
        tunings = [run for run in runs if run.experiment == "finetune"]
        shifted = [run.at("shifted.test_name") for run in tunings if run.at("shifted.name")]
        # Data sets of finetunings' own, in the place of the papers'.
        self.tests = {"trained": [t.at("data.test_name") for t in tunings], "shifted": shifted}

    def _key(self, row: Row) -> Key:
        skipped = (*FIRST, *LAST)
        told = {k: _rounded(v) for k, v in row.items() if k not in skipped and v is not None}
        if "minus" not in told and row["contrast"]:
            told["contrast"] = row["contrast"]
        for name, value in told.items():
            if name != "network":
                self.words.setdefault((row["study"], name), {})[value] = None
            elif len(value) == 1:
                self.words.setdefault((row["study"], name), {})[min(value)] = None
        return row["study"], row["measure"], frozenset(told.items())

    def seen(self, study: str, column: str) -> list[Any]:
        """The values of a column of a study, in their order."""
        return list(self.words.get((study, column), ()))


class Measured:
    """Quantities of one claim.

    Args:
      index: of results.
      exact: whether the claim is about facts, so that estimates have no intervals.

    Attributes:
      missing: what was asked for and is in no run, in order.
    """

    def __init__(self, index: Index, *, exact: bool = False):
        self.index, self.exact, self.missing = index, exact, dict[Missing, None]()

    def get(self, name: str, *arguments: Any) -> Any:
        """A number, or a fact: a number or a tuple; if it is `UNKNOWN`, `missing` says why."""
        one = tables.quantities()[name]
        if not one.study:
            return self._fact(one, arguments)
        told = one.places(arguments)
        found = self._find(one, told)
        if found is None:
            (of,) = told.get("network", ("",))
            asked = (_rounded(told[column]) for column in one.columns if column in one.asked)
            words = [f"{x:g}" if isinstance(x, float) else str(x) for x in asked]
            self.missing[Missing(one.study, of, " ".join(words))] = None
        return found or UNKNOWN

    def group(self, name: str, members: tuple[str, ...], *arguments: Any) -> Number | None:
        """The number of some networks' average, None if no run has it."""
        one = tables.quantities()[name]
        return self._find(one, {**one.places(("", *arguments)), "network": members})

    def minus(self, first: Number, second: Number) -> Number:
        """A difference; if a run has tested it, with that test's interval and p."""
        if first.key and second.key:
            (one, a), (other, b) = first.key, second.key
            if one == other and {**a, "network": ()} == {**b, "network": ()}:
                for later, earlier, sign in ((a, b, 1), (b, a, -1)):
                    found = self._find(one, {**later, "minus": earlier.get("network", ())})
                    if found is not None:
                        return found if sign > 0 else -found
        return first - second

    def protocols(self, number: Number) -> Iterator[tuple[str, Number]]:
        """The same accuracy by other protocols, by their names."""
        one, told = number.key or (tables.quantities()["acc"], {})
        for name in self.index.seen(one.study, "protocol"):
            found = self._find(one, {**told, "protocol": name}) if told else None
            if found and name != told.get("protocol"):
                yield name, found

    def _fact(self, one: Quantity, arguments: Sequence[Any]) -> Any:
        tell = getattr(facts, one.name, None)
        found = tell(self.index.runs, *arguments) if tell else None
        if found is None:
            self.missing[Missing("", "", one.lacking.format(**one.given(arguments)))] = None
            return UNKNOWN
        return number(found) if isinstance(found, (int, float)) else found

    def _find(self, one: Quantity, told: Mapping[str, Any]) -> Number | None:
        named = {
            key: frozenset(map(network, value)) if key in NETWORKS else _rounded(value)
            for key, value in told.items()
            if key != "measure"
        }
        rows = self.index.rows.get((one.study, told["measure"], frozenset(named.items())))
        if not rows:
            return None
        found = numbers.mean(map(self._number, rows)) if rows[1:] else self._number(rows[0])
        key = None if "minus" in told else (one, told)
        return dataclasses.replace(found, key=key).scaled(one.scale)

    def _number(self, row: Row) -> Number:
        estimate, low, high, p = (row[name] for name in ("estimate", "low", "high", "p"))
        if self.exact or estimate != estimate:
            return number(estimate) if estimate == estimate else UNKNOWN
        return Number(estimate, *((low, high) if low == low else (-math.inf, math.inf)), p)


def vocabulary(values: Measured | Printed, sets: Sets) -> dict[str, Any]:
    """All names that claims use, and what they stand for."""
    found: dict[str, Any] = dict(sets)
    for name, one in tables.quantities().items():
        asked = functools.partial(_of_network_or_group, values, sets, one)
        found[name] = one if one.definition else asked
    return found


def _of_network_or_group(
    values: Measured | Printed, sets: Sets, one: Quantity, *arguments: Any
) -> Any:
    """A quantity; for a group, a run's average if there is one, else its members' mean."""
    first, *more = given = tuple(one.given(arguments).values()) or ("",)
    if not one.study or first not in sets.get("GROUPS", ()):
        return values.get(one.name, *(given if one.parameters else ()))
    found = values.group(one.name, sets[first], *more)
    return found or numbers.mean(values.get(one.name, name, *more) for name in sets[first])


def _rounded(value: Any) -> Any:
    value = value.estimate if isinstance(value, Number) else value  # the largest of some levels
    return round(value, 4) if isinstance(value, float) else value


def restricted(
    sets: Mapping[str, Set], index: Index, study: str, own: Mapping[str, Sequence[str]]
) -> Sets:
    """A paper's sets, with what the user measured in place of their members (see `Set.own`).

    Args:
      index: of results.
      study: that the claim needs.
      own: groups of one's own networks by the paper's names for groups.
    """
    study = "robustness" if study == "finetune" else study  # where its results are told
    every = [name.split(" ") for name in index.seen(study, "network")]
    done = {part for _, *parts in every for part in parts}
    there = done.union(*(index.seen(study, name) for name in ("set", "class")))
    found: dict[str, tuple[Any, ...]] = {}
    for name, one in sets.items():
        kind, *words = one.own.split() or ("",)
        match kind:
            case "networks":
                some = [parts[0] for parts in every if not words or {*parts} & {*words}]
            case "groups":
                some = [group for group in one.members if found.get(group)]
            case "classes":
                some = index.seen(study, "class") or one.members
            case "levels":
                some = sorted(index.levels) or one.members
            case "words":
                some = [word for word in one.members if word in there]
                some += [test for word in words for test in index.tests[word]]
            case _:
                bases = {parts[0] for parts in every}
                some = [n for n in own.get(name, one.members) if network(n) in bases]
        found[name] = tuple(dict.fromkeys(some))
    return found
