"""The page of claims: verdicts, printed numbers beside one's own, how presets differ."""

from __future__ import annotations

import json
import math
import pkgutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rival_jax import configs
from rival_jax.experiments.claims import tables
from rival_jax.experiments.claims.numbers import TINY, Number
from rival_jax.experiments.claims.runs import Finished
from rival_jax.experiments.claims.values import Index, Measured, Missing
from rival_jax.report.document import Document, Section
from rival_jax.report.html import config_table
from rival_jax.report.tables import Table, counted
from rival_jax.report.words import Words
from rival_jax.runtime.plugins import plugin

WORDS = Words(__package__)
HOLDS, FAILS, OPEN = "holds", "fails", "cannot tell"
PRESETS = ("paper", "released", "clean")
SHOWN = 4  # networks or data sets that a sentence names
VIEWS = {"printed": "printed", "claimed": "paper's networks", "own": "own"}


def page(found: Sequence[Any], runs: Sequence[Finished], indices: Mapping[str, Index]) -> Document:
    """All verdicts, and the numbers behind them."""
    beside = printed_table(indices)
    return Document(
        title=WORDS.text("title"),
        subtitle=f"{counted(len(found), 'claim')}, {counted(len(runs), 'run')}",
        headline=[_headline(found, name) for name in ("claimed", "own")],
        sections=[
            Section(
                "Claims",
                [WORDS.text("verdicts"), WORDS.text("numbers")],
                tables=[counts(found), *(verdicts(paper, found) for paper in tables.PAPERS)],
            ),
            Section(
                "Printed numbers beside your own",
                [WORDS.text("beside")] if beside.rows else [],
                tables=[beside] if beside.rows else [],
            ),
            Section("Presets", [WORDS.text("presets")], tables=[differences()]),
            Section("Runs", tables=[_runs(runs)] if runs else []),
        ],
        method=WORDS.texts("method"),
        caveats=WORDS.caveats(),
        source=WORDS.text("source"),
    )


def _headline(found: Sequence[Any], view: str) -> str:
    counts = Counter(getattr(one, view).word for one in found)
    told = {
        "claimed": "On the papers' networks and data",
        "own": "On the networks and data at hand",
    }
    return (
        f"{told[view]}: {counts[HOLDS]} of {len(found)} claims hold, {counts[FAILS]} fail, and "
        f"your runs cannot decide {counts[OPEN]}."
    )


def counts(found: Sequence[Any]) -> Table:
    """How many claims of each paper hold."""
    rows = []
    for paper, name in tables.PAPERS.items():
        for view, title in VIEWS.items():
            mine = Counter(getattr(one, view).word for one in found if one.claim.paper == paper)
            rows.append((name, title, *(str(mine[word]) for word in (HOLDS, FAILS, OPEN))))
    return Table("Verdicts", ("paper", "numbers", HOLDS, FAILS, OPEN), rows)


def verdicts(paper: str, found: Sequence[Any]) -> Table:
    """Every claim of a paper, those that the user's runs decide first."""
    mine = [one for one in found if one.claim.paper == paper]
    mine.sort(key=lambda one: one.claimed.word == one.own.word == OPEN)
    rows = [
        (
            one.claim.id,
            one.claim.section,
            *(told(getattr(one, view)) for view in VIEWS),
            why(one),
            one.claim.claim + (" (ours)" if one.claim.threshold == "assumed" else ""),
        )
        for one in mine
    ]
    header = ("claim", "section", *VIEWS.values(), "missing for the paper's", "in words")
    return Table(f"Claims of {tables.PAPERS[paper]}", header, rows)


def told(verdict: Any) -> str:
    """A verdict with its number: "holds: +0.42 [+0.31, +0.51]"."""
    number = verdict.margin if verdict.value is None else verdict.value
    if not math.isfinite(number.estimate):
        return verdict.word
    if verdict.value is None and abs(number.estimate) < 2 * TINY:
        return verdict.word  # exactly as claimed
    by = "by " if verdict.value is None else ""
    return f"{verdict.word}: {by}{written(number)}"


def written(number: Number) -> str:
    """A number and its interval, if it has one that ends: "0.3 [0.2, 0.4]", "26,484"."""
    known = math.isfinite(number.high - number.low) and number.low < number.high
    ends = f" [{_digits(number.low)}, {_digits(number.high)}]" if known else ""
    return _digits(number.estimate) + ends


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value + 0.0:.4g}"


def why(one: Any) -> str:
    """Why a claim cannot be decided for the paper's networks; "" if it can."""
    if one.claimed.word != OPEN:
        return ""
    if not one.claim.relation:
        known = one.claim.needs in ("reading", "annotation")
        reason = WORDS.text(one.claim.needs if known else "appendix")
        return f"{reason}; {one.claim.note}" if one.claim.note else reason
    if one.missing:
        return "; ".join(lacking(one.missing))
    margin = one.claimed.margin
    if not (math.isfinite(margin.low) and math.isfinite(margin.high)):
        return "one of its numbers has no interval"
    return f"the interval includes the threshold: by {written(margin)}"


def lacking(missing: Sequence[Missing]) -> Iterator[str]:
    """What is missing, by experiment: "rfs of resnet18, resnet50 and 15 more"."""
    for study in dict.fromkeys(one.study for one in missing):
        mine = [one for one in missing if one.study == study]
        names, others = (
            list(dict.fromkeys(getattr(one, field) for one in mine if getattr(one, field)))
            for field in ("network", "other")
        )
        if not study:
            yield from others
            continue
        of = f" of {_some(names)}" if names else ""
        yield f"{study}{of}" + (f" ({_some(others)})" if others else "")


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def printed_table(indices: Mapping[str, Index]) -> Table:
    """Every printed number that the user has measured too, by all protocols."""
    rows = []
    for one in tables.published():
        measured = Measured(indices["R10" if one.source == "RIVAL10" else "RVT"])
        own = measured.get("abl" if one.quantity == "table4" else one.quantity, *one.arguments)
        if isinstance(own, Number) and math.isfinite(own.estimate):
            gap = f"{round(own.estimate - float(one.value), 6):+.5g}"
            others = ", ".join(f"{k} {written(v)}" for k, v in measured.protocols(own))
            what = " ".join((one.quantity, *one.arguments))
            rows.append((what, one.source, one.value, written(own), gap, others))
    header = ("number", "printed in", "printed", "own", "own - printed", "by other protocols")
    return Table("Printed numbers beside your own", header, rows)


def differences() -> Table:
    """Every key that two of `PRESETS` set to different values, of every config that has them."""
    names = [module.name for module in pkgutil.iter_modules(configs.__path__)]
    rows = []
    for name in (name for name in names if name not in configs.PARTS):
        module = plugin("configs", name)
        if set(PRESETS) <= set(module.PRESETS):
            every = [json.loads(module.get_config(one).to_json()) for one in PRESETS]
            rows += [
                (name, key, *values)
                for key, values in config_table(every)
                if len(set(values)) > 1 and key != "preset"
            ]
    return Table("Presets of each config: values that differ", ("config", "key", *PRESETS), rows)


def _runs(runs: Sequence[Finished]) -> Table:
    rows = [
        (
            str(run.path),
            run.experiment,
            str(run.at("preset") or ""),
            str(run.data["name"]),
            str(run.data["images"]),
            _some(sorted(run.begun)),
        )
        for run in runs
    ]
    header = ("run", "experiment", "preset", "data", "images", "networks")
    return Table("Finished runs, the newest first", header, rows)
