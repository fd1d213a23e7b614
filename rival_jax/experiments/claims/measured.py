"""The papers' quantities as filters over results of finished runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rival_jax.experiments.claims import facts, numbers
from rival_jax.experiments.claims.numbers import UNKNOWN, Number, number
from rival_jax.experiments.claims.runs import Finished
from rival_jax.experiments.claims.tables import Set, Sets, network
from rival_jax.report.results import FIRST, LAST, Row


class Cell(NamedTuple):
    """Which results a quantity is."""

    study: str
    measure: str
    arguments: tuple[str, ...]  # columns that its arguments are the values of
    fixed: Mapping[str, Hashable] = {}
    scale: float = 1.0


LINF = {"norm": "linf"}
GREY = {"treatment": "grey", "region": "background"}
MAPS = {"filed": "true", "subset": "all"}
CELLS = {
    "acc_clean": Cell("rfs", "accuracy", ("network",), {"region": "clean"}, 100),
    "acc_noisy": Cell("rfs", "accuracy", ("network", "region", "level"), LINF, 100),
    "acc_overall": Cell("rfs", "accuracy", ("network", "region"), LINF, 100),
    "rfs": Cell("rfs", "rfs_of_means", ("network",), LINF),
    "rfs_l2": Cell("rfs", "rfs_of_means", ("network",), {"norm": "l2"}),
    "rfs_at": Cell("rfs", "rfs", ("network", "level"), LINF),
    "rfs_class": Cell("rfs", "rfs_of_means", ("network", "class"), LINF),
    "irfs_class": Cell("rfs", "irfs", ("network", "class"), LINF),
    "share_neg": Cell("rfs", "irfs_negative", ("network",), LINF),
    "share_neg_class": Cell("rfs", "irfs_negative", ("network", "class"), LINF),
    "share_neg_at": Cell("rfs", "irfs_negative", ("network", "level"), LINF),
    "acc_photo": Cell(
        *("background", "accuracy", ("network",)),
        {"treatment": "none", "region": "none", "head": "normal"},
        100,
    ),
    "acc_gray": Cell("background", "accuracy", ("network", "head"), GREY, 100),
    "drop_gray": Cell("background", "accuracy_drop", ("network",), {**GREY, "head": "normal"}, 100),
    "iou": Cell("saliency", "iou", ("network",), {**MAPS, "method": "gradcam"}),
    "iou_class": Cell("saliency", "iou", ("class",), MAPS),
    "node_iou": Cell("neurons", "iou", ("network", "class", "attribute")),
    "attribute_probe_accuracy": Cell("attributes", "classifier_accuracy", (), {}, 100),
    "acc": Cell(
        "robustness", "accuracy", ("network", "set", "protocol"), {"average": "micro"}, 100
    ),
    "set_change": Cell(
        *("robustness", "class_accuracy", ("network", "class", "set", "protocol")),
        {"average": "micro"},
        100,
    ),
    "seg": Cell("segmentation", "", ("network",), {}, 100),
}
PROTOCOLS = {"objectnet": "first"}  # of the paper's tables, where it is not "full"
HEADS = {"normal": "normal", "refit": "grey"}
Key = tuple[str, str, frozenset, frozenset | None, frozenset | None]


class Missing(NamedTuple):
    """A number that no run has."""

    study: str
    network: str  # "" where it is of none
    other: str  # of what else: "imagenet_a", "level 0.2353"


class Index:
    """All results of some runs by what they are of."""

    def __init__(self, runs: Sequence[Finished]):
        self.runs = runs
        self.rows: dict[Key, list[Row]] = {}  # of the newest run that has some
        self.words: dict[tuple[str, str], dict[Hashable, None]] = {}
        noisy = (row for run in runs for row in run.rows if row.get("norm") == "linf")
        levels = {
            _rounded(row["level"]) for row in noisy if row["study"] == "rfs" and row.get("level")
        }
        self.levels = tuple(sorted(levels))
        self.tests: dict[str, list[str]] = {"trained": [], "shifted": []}  # own, of finetunings
        for run in (run for run in runs if run.experiment == "finetune"):
            self.tests["trained"].append(run.at("data.test_name"))
            self.tests["shifted"] += [run.at("shifted.test_name")] if run.at("shifted.name") else []
        for run in runs:
            mine: dict[Key, list[Row]] = {}
            for row in run.rows:
                mine.setdefault(self._key(row), []).append(row)
            self.rows = {**mine, **self.rows}

    def _key(self, row: Row) -> Key:
        skipped = (*FIRST, *LAST, "network", "minus")
        details = {k: _rounded(v) for k, v in row.items() if k not in skipped and v is not None}
        if row["minus"] is None and row["contrast"]:
            details["contrast"] = row["contrast"]
        for name, value in details.items():
            self.words.setdefault((row["study"], name), {})[value] = None
        if row["network"] and len(row["network"]) == 1:
            self.words.setdefault((row["study"], "network"), {})[min(row["network"])] = None
        of = row["network"], row["minus"]
        return (row["study"], row["measure"], frozenset(details.items()), *of)

    def seen(self, study: str, column: str) -> list[Any]:
        """The values of a column of a study, in their order."""
        return list(self.words.get((study, column), ()))


class Measured:
    """Quantities of one claim.

    Args:
      index: of results.
      exact: whether the claim is about what is, so that estimates are all there is to it.

    Attributes:
      missing: what was asked for and no run has, in order.
    """

    def __init__(self, index: Index, *, exact: bool = False):
        self.index, self.exact, self.missing = index, exact, dict[Missing, None]()

    def get(self, quantity: str, *arguments: Any) -> Number:
        """One number, `UNKNOWN` if it is not there; then what is missing is remembered."""
        if quantity not in (*CELLS, "abl"):
            self.missing[Missing("", "", facts.PRINTED)] = None
            return UNKNOWN
        cell, name, details, minus = _place(quantity, arguments)
        found = self._find(cell, _set(name), details, _set(minus))
        if found is None:
            others = [
                f"{value:g}" if isinstance(value, float) else str(value)
                for key, value in details.items()
                if key not in cell.fixed
            ]
            self.missing[Missing(cell.study, name or "", " ".join(others))] = None
            return UNKNOWN
        return found

    def group(self, quantity: str, members: tuple[str, ...], *arguments: Any) -> Number | None:
        """The number of some networks' average, None if no run has it."""
        cell, _, details, minus = _place(quantity, ("", *arguments))
        return self._find(cell, frozenset(map(network, members)), details, _set(minus))

    def fact(self, name: str, *arguments: Any) -> Any:
        """What is no measurement: a number, words or numbers in a tuple, or `UNKNOWN`."""
        tell, lacking = facts.FACTS.get(name, (None, facts.PRINTED))
        found = tell(self.index.runs, *arguments) if tell else None
        if found is None:
            lacking = lacking.format(*arguments) if name == "setting" else lacking
            self.missing[Missing("", "", lacking)] = None
            return UNKNOWN
        return number(found) if isinstance(found, (int, float)) else found

    def minus(self, first: Number, second: Number) -> Number:
        """A difference, with the interval and p of its own where a run has tested it."""
        if first.key and second.key and first.key[:2] == second.key[:2]:
            (cell, details, a), b = first.key, second.key[2]
            for one, other, sign in ((a, b, 1), (b, a, -1)):
                found = self._find(cell, one, dict(details), other)
                if found is not None:
                    return found if sign > 0 else -found
        return first - second

    def protocols(self, number: Number) -> Iterator[tuple[str, Number]]:
        """The same accuracy by other protocols, by their names."""
        cell, places, of = number.key or (CELLS["acc"], (), None)
        mine = dict(places)
        for name in self.index.seen(cell.study, "protocol"):
            found = self._find(cell, of, {**mine, "protocol": name}, None)
            if found and name != mine["protocol"]:
                yield name, found

    def _find(
        self, cell: Cell, of: frozenset | None, details: Mapping[str, Any], minus: frozenset | None
    ) -> Number | None:
        places = tuple(sorted((name, _rounded(value)) for name, value in details.items()))
        rows = self.index.rows.get((cell.study, cell.measure, frozenset(places), of, minus))
        if not rows:
            return None
        found = [self._number(row) for row in rows]
        one = found[0] if len(found) == 1 else numbers.mean(found)  # over seeds
        key = None if minus else (cell, places, of)
        return dataclasses.replace(one, key=key).scaled(cell.scale)

    def _number(self, row: Row) -> Number:
        estimate, low, high, p = (row[name] for name in ("estimate", "low", "high", "p"))
        if self.exact or estimate != estimate:
            return number(estimate) if estimate == estimate else UNKNOWN
        if low != low:
            low, high = -math.inf, math.inf
        return Number(estimate, low, high, p)


def _place(
    quantity: str, arguments: Sequence[Any]
) -> tuple[Cell, str | None, dict[str, Any], str | None]:
    """A quantity's cell, network, further columns, and the network it is a difference from."""
    minus, given = None, list(arguments)
    if quantity == "abl":
        model, variant, where = given
        masks = "none" if variant == "original" else "annotated"
        quantity, given = "acc", [model, variant, masks, where, "top1"]
    cell = CELLS[quantity]
    if quantity == "acc":
        model, method, masks, where, metric = given
        protocol = PROTOCOLS.get(where, "full") + "_5" * (metric == "top5")
        given = [_after(model, method, masks), where, protocol]
    elif quantity == "set_change":
        minus, part, where = given
        given = [_after(minus, "ours", "annotated"), part, where, PROTOCOLS.get(where, "full")]
    elif quantity == "seg":
        model, method, metric = given
        cell, given = cell._replace(measure=metric), [_after(model, method, "annotated")]
    elif quantity == "acc_gray":
        given[1] = HEADS[given[1]]
    told = dict(zip(cell.arguments, given, strict=True))
    network = told.pop("network", None)
    return cell, network, {**cell.fixed, **told}, minus


def _after(model: str, method: str, masks: str) -> str:
    """What a network is called after a method with some masks."""
    return model if method == "original" else f"{model} {method} {masks}"


def _set(name: str | None) -> frozenset[str] | None:
    return None if name is None else frozenset((network(name),))


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def restricted(
    sets: Mapping[str, Set], index: Index, study: str, own: Mapping[str, Sequence[str]]
) -> Sets:
    """A paper's sets with what was measured in their place, as `Set.own` says.

    Args:
      index: of results.
      study: that the claim needs.
      own: groups of one's own networks by the paper's names for groups.
    """
    study = "robustness" if study == "finetune" else study  # where its results are told
    networks = index.seen(study, "network")
    bases = list(dict.fromkeys(name.split(" ")[0] for name in networks))
    done = {part for name in networks for part in name.split(" ")[1:]}
    there = {word for name in ("set", "class") for word in index.seen(study, name)}
    found: dict[str, tuple[Any, ...]] = {}
    for name, one in sets.items():
        kind, *words = one.own.split() or ("",)
        if kind == "networks":
            some = [n.split(" ")[0] for n in networks if not words or {*n.split(" ")} & {*words}]
            found[name] = tuple(dict.fromkeys(some))
        elif kind == "groups":
            found[name] = tuple(group for group in one.members if found.get(group))
        elif kind == "classes":
            found[name] = tuple(index.seen(study, "class")) or one.members
        elif kind == "levels":
            found[name] = index.levels or one.members
        elif kind == "words":
            mine = [word for word in one.members if word in there | done]
            found[name] = (*mine, *(t for word in words for t in index.tests[word]))
        else:
            members = own.get(name, one.members)
            found[name] = tuple(member for member in members if network(member) in bases)
    return found
