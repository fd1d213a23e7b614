"""Judges every claim on printed numbers, on the paper's networks and on one's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console

from rival_jax.configs import typed
from rival_jax.configs.claims import Config
from rival_jax.configs.groups import groups
from rival_jax.experiments.claims import tables
from rival_jax.experiments.claims.language import Reader
from rival_jax.experiments.claims.numbers import UNKNOWN, Number
from rival_jax.experiments.claims.page import FAILS, HOLDS, OPEN, VIEWS, page
from rival_jax.experiments.claims.runs import Finished, read
from rival_jax.experiments.claims.tables import EXACT, Claim, Sets
from rival_jax.experiments.claims.values import (
    Index,
    Measured,
    Missing,
    Printed,
    restricted,
    vocabulary,
)
from rival_jax.report.document import write_document
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import counted
from rival_jax.runtime.plugins import no_such
from rival_jax.runtime.results import Run

WHOLE = 5306  # photos of RIVAL10's test split
NOTHING = "No finished run was read."
ONE_PROCESS = True  # not for several hosts


class Verdict(NamedTuple):
    """What can be said of a claim."""

    word: str  # HOLDS | FAILS | OPEN
    margin: Number  # by how much it holds
    value: Number | None = None  # the number that the claim compares with a constant, if it does


class Judged(NamedTuple):
    """A claim and what can be said of it."""

    claim: Claim
    printed: Verdict  # on the papers' numbers
    claimed: Verdict  # on the user's numbers of the papers' networks and data
    own: Verdict  # on the networks and data at hand, in the place of theirs
    missing: tuple[Missing, ...]  # for `claimed`


def run(config: Any, run: Run, console: Console) -> None:
    """Reads the runs and writes the verdicts: table of results, tables and page."""
    config = typed(Config, config)
    runs = read(config.runs, config.networks)
    indices = theirs(runs)
    found = list(judge(runs, indices, groups(config.groups)))
    run.save_json("data.json", about(runs))
    run.save_json("models.json", list({c["name"]: c for one in runs for c in one.cards}.values()))
    Results(row for one in found for row in rows(one)).write(run.path)
    write_document(run, console, page(found, runs, indices))


def dry_run(config: Any, console: Console) -> None:
    """Says which runs would be read."""
    config = typed(Config, config)
    for one in read(config.runs, config.networks):
        console.print(f"{one.path}: {one.experiment}, {one.data['name']}", markup=False)
    console.print(f"{len(tables.claims())} claims; nothing was written")


def theirs(runs: Sequence[Finished]) -> dict[str, Index]:
    """The results that each paper's own claims are about: of its photos, or of its networks."""
    cured = {tables.network(name) for name in tables.sets("RVT")["MODELS"].members}
    return {
        "R10": Index([run for run in runs if run.rival10]),
        "RVT": Index([run for run in runs if run.begun & cured]),
    }


def judge(
    runs: Sequence[Finished], indices: Mapping[str, Index], own: Mapping[str, Sequence[str]]
) -> Iterator[Judged]:
    """Every claim.

    Args:
      runs: the newest first.
      indices: the results that each paper's own claims are about.
      own: groups of own networks.

    Raises:
      ValueError: for a group that the paper does not have; runs of several confidences.
    """
    groups = tables.sets("R10")["GROUPS"].members
    for name in own.keys() - set(groups):
        raise ValueError("config.groups: " + no_such(name, groups))
    levels = {run.at("statistics.confidence") for run in runs} - {None} or {0.95}
    if len(levels) > 1:
        raise ValueError(
            f"the runs have intervals of several confidences, {sorted(levels)}; name runs of one, "
            "--config.runs=\"('path/to/workdir',)\""
        )
    every, (confidence,) = Index(runs), levels
    for claim in tables.claims():
        named = tables.sets(claim.paper)
        theirs = {name: one.members for name, one in named.items()}
        claimed, mine = (
            Measured(index, exact=claim.kind in EXACT) for index in (indices[claim.paper], every)
        )
        others = restricted(named, every, claim.needs.split()[0], own)
        if claim.kind == "dataset":  # of which there is no other
            mine, others = claimed, theirs
        yield Judged(
            claim,
            printed=judged(claim, Printed(), theirs),
            claimed=judged(claim, claimed, theirs, confidence),
            own=judged(claim, mine, others, confidence),
            missing=tuple(claimed.missing),
        )


def judged(
    claim: Claim, values: Measured | Printed, sets: Sets, confidence: float = 0.95
) -> Verdict:
    """A claim on some numbers.

    A comparison holds if the interval of the difference lies wholly on its side, at a level
    adjusted for how many comparisons the claim consists of (Bonferroni, of intervals and of p).
    """
    if not claim.relation:
        return Verdict(OPEN, UNKNOWN)
    names = vocabulary(values, sets)
    reader = Reader(names, values.minus, confidence)
    margin, value = reader(claim.relation)
    count = reader.compared
    if count > 1 and not margin.low <= 0 <= margin.high:  # else it is open at any level
        margin, value = Reader(names, values.minus, confidence, count)(claim.relation)
    word = HOLDS if margin.low > 0 else FAILS if margin.high < 0 else OPEN
    return Verdict(word, margin, value)


def rows(one: Judged) -> Iterator[Row]:
    """A claim's rows of results: its number, or else its margin, and the verdict."""
    for of in VIEWS:
        verdict: Verdict = getattr(one, of)
        told = verdict.value or verdict.margin
        ends = zip(("estimate", "low", "high"), told.ends, strict=True)
        finite = {end: x if abs(x) < float("inf") else float("nan") for end, x in ends}
        named = {"study": "claims", "measure": "margin" if verdict.value is None else "number"}
        named |= {"claim": one.claim.id, "of": of, "verdict": verdict.word, "contrast": ""}
        yield {**named, **finite, "p": float("nan"), "images": None, "classes": None}


def about(runs: Sequence[Finished]) -> dict[str, Any]:
    """What the page says of data: those of the runs."""
    names = dict.fromkeys(f"{run.data['name']} ({run.path})" for run in runs)
    told = (
        f"Those of {counted(len(runs), 'finished run')}: {', '.join(names)}." if runs else NOTHING
    )
    notices = [] if runs else [f"{NOTHING} Only what the papers print is shown."]
    for run in (run for run in runs if run.rival10 and run.data["images"] < WHOLE):
        notices.append(
            f"{run.path} has {run.data['images']} photos of RIVAL10, which has {WHOLE} to test on: "
            "verdicts on the papers' networks and data are for these photos only."
        )
    nothing = {"name": "finished runs", "split": "all", "images": 0, "fingerprint": ""}
    return {**nothing, "sentence": told, "classes": [], "counts": [], "notices": notices}
