"""Finished runs, and what the papers call the networks and data sets in them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rival_jax import data
from rival_jax.configs.groups import groups
from rival_jax.data.rival10 import SYNSETS
from rival_jax.experiments.claims.tables import entries, network, word
from rival_jax.experiments.cures import cure
from rival_jax.report.results import PARQUET, Results, Row
from rival_jax.runtime.plugins import no_such
from rival_jax.runtime.results import parsed

RUNS = Path("runs")  # where main puts work directories that are not named


class Finished(NamedTuple):
    """One finished run."""

    path: Path
    config: Mapping[str, Any]
    data: Mapping[str, Any]
    cards: Sequence[Mapping[str, Any]]
    rows: Sequence[Row]  # results; networks have the papers' names, then blanks and what was done

    @property
    def experiment(self) -> str:
        """Its experiment."""
        return self.config["experiment"]

    @property
    def begun(self) -> frozenset[str]:
        """Its networks, each without what was done to it."""
        every = [row["network"] for row in self.rows if row["network"]]
        return frozenset(name.split(" ")[0] for names in every for name in names)

    @property
    def rival10(self) -> bool:
        """Whether its photos are RIVAL10's."""
        named = self.data.get("name") in ("rival10", "tfds")
        return named and set(self.data.get("classes", ())) == set(SYNSETS)

    def at(self, key: str) -> Any:
        """A value of its config, such as "noise.trials"; None if there is no such key."""
        found: Any = self.config
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found


def read(folders: Sequence[str], told: Sequence[str]) -> list[Finished]:
    """Finished runs, the newest first.

    Args:
      folders: their work directories; (): all below `RUNS`.
      told: what networks are called in results, "vit_b ours annotated=my_vit,my_other".

    Raises:
      FileNotFoundError: for a folder that is no finished run.
      ValueError: for a network that the papers do not have.
    """
    known = groups(told)
    for name in known:
        if name.split(" ")[0] not in entries():
            raise ValueError("config.networks: " + no_such(name.split(" ")[0], entries()))
    names = {model: network(name) for name, models in known.items() for model in models}
    paths = [Path(folder) for folder in folders]
    paths = paths or [file.parent for file in RUNS.rglob(PARQUET)]
    found = [(path, parsed(path / "config.json"), Results.read(path)) for path in paths]
    found.sort(key=lambda run: -(run[0] / PARQUET).stat().st_mtime)
    return [_run(*run, names) for run in found if run[1]["experiment"] != "claims"]


def _run(
    path: Path, config: Mapping[str, Any], results: Results, names: Mapping[str, str]
) -> Finished:
    facts, cards = (parsed(path / f"{name}.json") for name in ("data", "models"))
    cured = {}
    for model in config.get("models", ()):
        if one := cure(model):
            begun = parsed(one.run / "models.json")[0]["name"]
            cured[Path(model).name] = _after(names.get(begun, begun), one.variant)
    tuned = config["experiment"] == "finetune"
    rows = _as_robustness(results, cards[0]["name"]) if tuned else results
    rows = _as_published(results) if config["experiment"] == "segmentation" else rows
    known, members = {**cured, **names}, groups(config.get("groups", ()))
    named = functools.partial(_named, known, members, _sets(config))
    return Finished(path, config, facts, cards, [named(row) for row in rows])


def _sets(config: Mapping[str, Any]) -> dict[str, str]:
    """The paper's words for the data sets of a run of robustness, by name in results.

    If a set is there in several forms, it is the first.
    """
    found: dict[str, str] = {}
    for one in map(data.named, config.get("sets", ())):
        part = f" kind={one.options['kind']}" if "kind" in one.options else ""
        ours = word("set", one.kind + part)
        matched = one.options.get("variant", "matched-frequency") == "matched-frequency"
        if ours and matched and ours not in found.values():
            found[one.name] = ours
    return found


def _after(begun: str, variant: str) -> str:
    """A network after a variant of config finetune."""
    return begun if variant == "original" else f"{begun} {word('variant', variant)}"


def _as_published(rows: Results) -> Iterator[Row]:
    """Results of config segmentation as the paper has them: relevance, cut at its mean."""
    for row in rows.where(method=(None, "relevance"), rule=(None, "mean"), level=None):
        yield {**row, "method": None, "rule": None}


def _as_robustness(rows: Results, begun: str) -> Iterator[Row]:
    """Results of config finetune as those of robustness and segmentation; means over seeds."""
    first = next(iter(rows.of("test")), None)
    for row in rows.where(alpha=1, seed=None, **{"class": None}):
        if not row.get("variant") or row.get("test") is None:
            continue
        contrast = f"minus {begun}" if row["contrast"] else ""
        told = {**{name: row[name] for name in ("estimate", "low", "high", "p")}}
        told |= {"model": _after(begun, row["variant"]), "contrast": contrast}
        if row["measure"] == "accuracy":
            told |= {"study": "robustness", "set": row["test"], "average": "micro"}
            part = {"class": row["set"]} if row.get("set") else {}
            told |= {"measure": "class_accuracy" if part else "accuracy", "protocol": "full"}
            yield {**told, **part}
        elif (measure := word("maps", row["measure"])) and row["test"] == first:
            yield {**told, "study": "segmentation", "measure": measure}


def _named(
    known: Mapping[str, str],
    members: Mapping[str, Sequence[str]],
    sets: Mapping[str, str],
    row: Row,
) -> Row:
    """A row with "network", a set of names, in the place of "model" and "group"."""

    def those(name: str | None) -> frozenset[str] | None:
        return frozenset(map(network_of, members.get(name, [name]))) if name else None

    def network_of(name: str) -> str:
        begun, blank, done = name.partition(" ")  # what was done to it is known already
        return network(known.get(begun, begun)) + blank + done

    told = {key: value for key, value in row.items() if key not in ("model", "group")}
    if row.get("set"):
        told["set"] = sets.get(row["set"], row["set"])
    other = row["contrast"].removeprefix("minus ")
    told["network"] = those(row.get("model") or row.get("group"))
    told["minus"] = those(other) if other != row["contrast"] else None
    return told
