"""Judges every claim on printed numbers, on the paper's networks and on one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from rival_jax.configs import typed
from rival_jax.configs.claims import Config
from rival_jax.experiments.claims import tables
from rival_jax.experiments.claims.measured import Index, Measured, restricted
from rival_jax.experiments.claims.page import page
from rival_jax.experiments.claims.runs import Finished, read
from rival_jax.experiments.claims.tables import EXACT
from rival_jax.experiments.claims.values import Printed
from rival_jax.experiments.claims.verdicts import Judged, Verdict, judged, members
from rival_jax.experiments.groups import groups
from rival_jax.report.document import write_document
from rival_jax.report.results import Results, Row
from rival_jax.runtime.plugins import no_such
from rival_jax.runtime.results import Run

WHOLE = 5306  # photos of RIVAL10's test split
NOTHING = "No finished run was read."
ONE_PROCESS = True  # not for several hosts


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
    runs: Sequence[Finished], indices: dict[str, Index], own: dict[str, list[str]]
) -> Iterator[Judged]:
    """Every claim.

    Args:
      runs: the newest first.
      indices: the results that each paper's own claims are about.
      own: groups of own networks.

    Raises:
      ValueError: for a group that the paper does not have; runs of several confidences.
    """
    known = tables.sets("R10")["GROUPS"].members
    for name in own.keys() - set(known):
        raise ValueError("config.groups: " + no_such(name, known))
    levels = {run.at("statistics.confidence") for run in runs} - {None} or {0.95}
    if len(levels) > 1:
        raise ValueError(
            f"the runs have intervals of several confidences, {sorted(levels)}; name runs of one, "
            "--config.runs=\"('path/to/workdir',)\""
        )
    printed, every, (confidence,) = Printed(), Index(runs), levels
    for claim in tables.claims():
        index, sets, exact = indices[claim.paper], members(claim.paper), claim.kind in EXACT
        named, mine, some = Measured(index, exact=exact), Measured(every, exact=exact), sets
        if claim.kind == "dataset":  # of which there is no other
            mine = named
        else:
            some = restricted(tables.sets(claim.paper), every, claim.needs.split()[0], own)
        yield Judged(
            claim,
            printed=judged(claim, printed, sets),
            claimed=judged(claim, named, sets, confidence),
            own=judged(claim, mine, some, confidence),
            missing=tuple(named.missing),
        )


def rows(one: Judged) -> Iterator[Row]:
    """A claim's rows of results: its number, or else its margin, and the verdict."""
    for of in ("printed", "claimed", "own"):
        verdict: Verdict = getattr(one, of)
        told = verdict.value or verdict.margin
        ends = {end: getattr(told, end) for end in ("estimate", "low", "high")}
        finite = {end: x if abs(x) < float("inf") else float("nan") for end, x in ends.items()}
        named = {"study": "claims", "measure": "margin" if verdict.value is None else "number"}
        named |= {"claim": one.claim.id, "of": of, "verdict": verdict.word, "contrast": ""}
        yield {**named, **finite, "p": float("nan"), "images": None, "classes": None}


def about(runs: Sequence[Finished]) -> dict[str, Any]:
    """What the page says of data: those of the runs."""
    names = dict.fromkeys(f"{run.data['name']} ({run.path})" for run in runs)
    told = f"Those of {len(runs)} finished runs: {', '.join(names)}." if runs else NOTHING
    notices = [] if runs else [f"{NOTHING} What is told is what the papers print."]
    for run in (run for run in runs if run.rival10 and run.data["images"] < WHOLE):
        notices.append(
            f"{run.path} has {run.data['images']} photos of RIVAL10, which has {WHOLE} to test on: "
            "what is told of the papers' networks and data is of these photos alone."
        )
    nothing = {"name": "finished runs", "split": "all", "images": 0, "fingerprint": ""}
    return {**nothing, "sentence": told, "classes": [], "counts": [], "notices": notices}
