"""What claims may speak of: quantities of the two papers, from printed numbers or from results."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from rival_jax.experiments.claims import numbers, tables
from rival_jax.experiments.claims.definitions import deviation
from rival_jax.experiments.claims.facts import FACTS
from rival_jax.experiments.claims.measured import CELLS, Measured
from rival_jax.experiments.claims.numbers import UNKNOWN, Number, number
from rival_jax.experiments.claims.tables import Sets

PRINTED = ("abl", "table4", "printed_change", "printed_mean_change")  # numbers beside `CELLS`
TOLD = ("models_with_baselines",)  # facts beside `FACTS`


class Printed:
    """The numbers that the papers print, as exact ones."""

    def __init__(self) -> None:
        self.known = {(one.quantity, *one.arguments): one.value for one in tables.published()}

    def get(self, quantity: str, *arguments: Any) -> Number:
        """See `Measured.get`."""
        name = "table4" if quantity == "abl" else quantity
        found = self.known.get((name, *map(str, arguments)))
        return UNKNOWN if found is None else number(float(found))

    def group(self, quantity: str, members: tuple[str, ...], *arguments: Any) -> None:
        """None: of groups nothing is printed."""

    def fact(self, name: str, *arguments: Any) -> Any:
        """See `Measured.fact`."""
        found = self.known.get((name, *map(str, arguments)))
        if found is None:
            return UNKNOWN
        try:
            return number(float(found))
        except ValueError:
            return tuple(found.split())

    def minus(self, first: Number, second: Number) -> Number:
        """See `Measured.minus`."""
        return first - second


Values = Measured | Printed


def vocabulary(values: Values, sets: Sets) -> dict[str, Any]:
    """All names that claims use, and what they stand for."""
    found: dict[str, Any] = dict(sets)
    for name in (*CELLS, *PRINTED):
        found[name] = functools.partial(_number, values, sets, name)
    for name in (*FACTS, *TOLD):
        found[name] = functools.partial(values.fact, name)
    return found | _rival10(found) | _robustvit(values, sets)


def _number(values: Values, sets: Sets, quantity: str, *arguments: Any) -> Number:
    """One number; of a group as a run averaged it, else the mean over its members."""
    name, *more = arguments or ("",)
    if name not in sets.get("GROUPS", ()):
        return values.get(quantity, *arguments)
    found = values.group(quantity, sets[name], *more)
    return found or numbers.mean(values.get(quantity, one, *more) for one in sets[name])


def _rival10(names: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    sigmas = names.get("SIGMAS", ())

    def robustness(name: str) -> Number:
        return numbers.mean(names["acc_overall"](name, r) for r in ("foreground", "background"))

    def slope(name: str) -> Number:
        middle = sum(sigmas) / max(len(sigmas), 1)
        scale = sum((sigma - middle) ** 2 for sigma in sigmas)
        parts = [names["rfs_at"](name, s) * ((s - middle) / scale) for s in sigmas if scale]
        return sum(parts, number(0.0)) if parts else UNKNOWN

    def measured(name: str) -> Number:
        return UNKNOWN if _unknown(names["acc_clean"](name)) else number(True)

    def same(words: Any, wanted: str) -> Number:
        given = (words,) if isinstance(words, str) else words
        return UNKNOWN if isinstance(given, Number) else number(set(given) == set(wanted.split()))

    return {
        "robustness": robustness,
        "slope": slope,
        "measured": measured,
        "same": same,
        "deviation": lambda name: number(deviation(name)),
    }


def _robustvit(values: Values, sets: Sets) -> dict[str, Callable[..., Any]]:
    def acc(model: str, method: str, masks: str, dataset: str, metric: str = "top1") -> Number:
        return values.get("acc", model, method, masks, dataset, metric)

    def against(model: str, method: str, masks: str, dataset: str, metric: str) -> Number:
        before = acc(model, "original", "none", dataset, metric)
        return values.minus(acc(model, method, masks, dataset, metric), before)

    def change(model: str, masks: str, dataset: str, metric: str = "top1") -> Number:
        return against(model, "ours", masks, dataset, metric)

    def change_baseline(model: str, name: str, dataset: str, metric: str = "top1") -> Number:
        return against(model, name, "annotated", dataset, metric)

    def mean_change(masks: str, dataset: str, metric: str = "top1") -> Number:
        return numbers.mean(change(model, masks, dataset, metric) for model in sets["MODELS"])

    def set_change(part: str, dataset: str) -> Number:
        return numbers.mean(values.get("set_change", m, part, dataset) for m in sets["BASE_MODELS"])

    def complete(masks: str, dataset: str, metric: str) -> bool:
        return not _unknown(mean_change(masks, dataset, metric))

    return {
        "acc": acc,
        "change": change,
        "change_baseline": change_baseline,
        "mean_change": mean_change,
        "set_change": set_change,
        "complete": complete,
    }


def _unknown(value: Number) -> bool:
    return value.estimate != value.estimate
