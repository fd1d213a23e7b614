"""Accuracy on shifted data sets, by the protocols of each, before and after a cure.

Sets x shards of photos x networks; a shard of a set by one network is a unit of work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rival_jax.configs import options, typed
from rival_jax.configs.robustness import Config
from rival_jax.data.shard import framed
from rival_jax.experiments.cures import cure, pairs
from rival_jax.experiments.robustness.numbers import LIKELIHOOD, Teller, accuracies
from rival_jax.experiments.robustness.page import Wrong, page
from rival_jax.experiments.runner import Bench, Unit
from rival_jax.experiments.sets import Set
from rival_jax.experiments.streamed import Streamed
from rival_jax.protocols import FITS
from rival_jax.report.document import Document
from rival_jax.report.images import Images
from rival_jax.report.results import Results
from rival_jax.report.study import Study
from rival_jax.runtime.plugins import no_such
from rival_jax.runtime.results import Run, read_rows

SHOWN = 6  # photos of a gallery


class Experiment:
    """Networks and data sets, checked."""

    counted = "photos"

    def __init__(self, config: Any, console: Console):
        self.config = config = typed(Config, config)
        self.subject = Streamed(config, console)
        self.models = [network.model.name for network in self.subject.networks]
        called = dict(zip(config.models, self.models, strict=True))
        found = {name: cure(path) for path, name in called.items()}
        cures = {name: one for name, one in found.items() if one}
        masks = {name: one.masked for name, one in cures.items()}
        compared = pairs(config.pairs, called, cures)
        told = options(config, "statistics")
        self.teller = Teller(compared, masks, config.protocols, told)
        known = {name for one in self.subject.sets for name in one.protocols.names}
        if config.protocols and not known & set(config.protocols):
            raise ValueError("config.protocols: " + no_such(config.protocols[0], known))
        self.units: dict[tuple[str, str], list[str]] = {}  # of each set and network

    def total(self) -> int:
        """Photos that networks are shown."""
        return sum(len(one.positions) for one in self.subject.sets) * len(self.models)

    def costs(self) -> Iterator[tuple[str, float]]:
        """What each network's forward passes would cost."""
        photos = self.total() // len(self.models)
        for network in self.subject.networks:
            told = f"{network.model.name}: {photos:,} photos of {len(self.subject.sets)} sets"
            yield told, photos * network.cost().seconds / self.subject.mesh.size

    def work(self, bench: Bench) -> Iterator[Unit]:
        """The units of every set."""
        plans = self.subject.plans(bench)
        for one in self.subject.sets:
            for name, unit in self.subject.units(one, plans):
                self.units.setdefault((one.name, name), []).append(unit.name)
                yield unit

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it."""
        results, seen, sets = Results([]), {}, self.subject.sets
        for family in _alike(sets):
            units = [
                u for one in family for name in self.models for u in self.units[one.name, name]
            ]
            columns = (*family[0].protocols.names, "confidence", *LIKELIHOOD)
            study = Study("robustness", ("set", "model"), columns, accuracies)
            found = study.read([files[unit] for unit in units], family[0].source.classes)
            results += self.teller.family(family, found)
            seen |= {one.name: found for one in family}
        results += self._lines(seen)
        self.subject.left_out({name: found.names for name, found in seen.items()})
        run.save_json("data.json", self.subject.facts())
        wrong = {one.name: self._wrong(one, files) for one in sets}
        return results, page(self.config, results, sets, wrong)

    def _lines(self, seen: Mapping[str, Images]) -> Results:
        """Effective robustness, where a set and the one that it is expected from were run."""
        known = {}
        for one in self.subject.sets:
            for key, protocol in one.published.items():
                if protocol in (values := seen[one.name].values):
                    hit = values[protocol].at(set=one.name)
                    known[key] = one.name, protocol, (seen[one.name], hit)
        results = Results([])
        for key, fit in FITS.items():
            if key in known and fit.base in known:
                name, protocol, hits = known[key]
                words = {"set": name, "protocol": protocol, "average": "micro"}
                told = self.teller.line(key, hits, known[fit.base][2])
                results += told.changed(lambda row, words=words: {**row, **words})
        return results

    def _wrong(self, one: Set, files: Mapping[str, Path]) -> Wrong:
        """Photos that the first network is most confident of, and wrong about."""
        rows = read_rows(*(files[unit] for unit in self.units[one.name, self.models[0]]))
        right = rows[one.protocols.names[0]].to_numpy().astype(float)
        order = np.argsort(2 * right - rows["confidence"].to_numpy(), kind="stable")[:SHOWN]
        geometry, found = self.subject.networks[0].geometry, []
        for row in rows.take(order[right[order] == 0]).to_pylist():
            picture = framed(one.source, one.source.names.index(row["example"]), geometry)
            title = f"{one.called(row['label'])}: {one.called(row['predicted'])}"
            found.append((title, row["example"], {f"{row['confidence']:.2f}": picture}))
        return found


def _alike(sets: Sequence[Set]) -> list[list[Set]]:
    """Sets of the same photos in other forms together."""
    found: dict[Any, list[Set]] = {}
    for one in sets:
        key = one.kind, one.protocols, tuple(one.names), one.source.classes
        found.setdefault(key, []).append(one)
    return list(found.values())
